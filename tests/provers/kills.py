"""Kills a training of the example at random moments, resumes it each time, and sees whether anything was lost.

``python -m tests.provers.kills 50`` does so 50 times for a module and for the lecture's network, and
``python -m tests.provers.kills 50 --interrupt`` sends Ctrl-C instead, and at every third time another right after it.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from examples.makemore import checkpoint, cli, fitted, trained
from tests.examples.small import CPU, make_list

SAVE_EVERY = 10
STEPS, FASTER = 100, 1000  # of the whole training, for each kill; the second of the lecture's, so that it lasts as long
LONGEST = 0.7  # seconds of a life: some are too short for a checkpoint, and some long enough for several
INTERRUPTED = 128 + signal.SIGINT
processes = multiprocessing.get_context("forkserver")  # has imported what follows, so that a life begins at once
processes.set_forkserver_preload(["examples.makemore.cli", "tapegrad", "tqdm", "torch._dynamo", "torch.utils.data"])


def run(words: list[str], environment: dict[str, str], log: str) -> None:
    """One command, in a process of its own; what it says goes to a file."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which is ignored in what a shell runs behind
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        code = cli.main(words)
    except KeyboardInterrupt:  # before there is anything to lose: `__main__` says so, too
        code = INTERRUPTED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # there is nothing to stop any more
    sys.exit(code)


def start(
    words: list[str], environment: dict[str, str] | None = None, log: str | Path = os.devnull, **more: Any
) -> Any:
    """Begins a training, or goes on with it, in a process of its own."""
    options = [word for name, value in more.items() for word in (f"--{name}", str(value))]
    arguments = (["train", "--resume", *words, *options], environment or {}, str(log))
    process = processes.Process(target=run, args=arguments)
    process.start()
    return process


def stored(out: Path) -> dict[str, Any] | None:
    """What has been stored, if anything has: a checkpoint that can be used."""
    path = out / checkpoint.FILE_NAME
    if not path.exists():
        return None
    found = checkpoint.load(path, CPU)
    if "tensors" in found:
        trained.model_of(found, path)
    else:
        fitted.load(found, path, CPU)
    return found


def survive(folder: Path, times: int, *words: str, interrupt: bool = False, seed: int = 0) -> str:
    """Stops a training so many times; returns what happened, or raises an AssertionError if something was lost.

    Args:
        folder: for the files; empty.
        times: how often it is stopped.
        words: more options of the training.
        interrupt: by Ctrl-C, after which what was trained is to be there up to the last step; else by a kill, after
            which it is to be there up to the last checkpoint.
        seed: of the moments.
    """
    rng = random.Random(seed)
    steps = (FASTER if "lecture" in words else STEPS) * times
    settings = {"names": make_list(folder / "names.txt"), "steps": steps, "save-every": SAVE_EVERY, "hidden": 8}
    whole = start([*words], out=folder / "whole", **settings)
    out, come, stopped, kept = folder / "stopped", 0, 0, 0
    for i in range(times):
        log = folder / f"{i}.log"
        life = start([*words], log=log, out=out, **settings)
        if interrupt:
            while not log.exists() and life.is_alive():  # Python itself is still on its way
                time.sleep(0.001)
        time.sleep(rng.uniform(0, LONGEST))
        stopped += life.is_alive()
        if interrupt:
            impatient = i % 3 == 2
            _interrupt(life, rng.uniform(0, 0.02) if impatient else None)
            life.join()
            said = told(life.exitcode, log)
            assert impatient or "Traceback" not in log.read_text()  # Python says so of the second, in a finalizer
            kept += said is not None
        else:
            life.kill()
            life.join()
            said = None
        found = stored(out)
        step = 0 if found is None else found["step"]
        assert step >= come, f"{come} steps had been stored, and then {step}"
        assert step == said if said is not None else interrupt or step % SAVE_EVERY == 0
        come = step
    last = start([*words], out=out, **settings)
    for process in (whole, last):
        process.join()
        assert process.exitcode == 0
    one, other = stored(folder / "whole"), stored(out)
    assert one is not None
    assert other is not None
    del one["run"], other["run"]
    assert equal(one, other), "the training that was stopped ends with other bits"
    assert not list(out.glob("*previous*")) + list(out.glob("unfinished*"))
    assert not interrupt or not list(out.glob(".*.part"))  # a kill lets nobody clear away what was half written
    how = f"interrupted {stopped} times, {kept} with all steps kept" if interrupt else f"killed {stopped} times"
    return f"{how}, the last at {come} of {steps} stored steps; nothing lost, the same bits at the end"


def _interrupt(life: Any, again: float | None) -> None:
    """Sends Ctrl-C, and another so many seconds later."""
    os.kill(life.pid, signal.SIGINT)
    if again is not None:
        time.sleep(again)
        os.kill(life.pid, signal.SIGINT)


def told(code: int, log: Path) -> int | None:
    """After how many steps a training that was interrupted says that it ended; None if before or after them."""
    text = log.read_text()
    assert code in (0, INTERRUPTED), f"it ended with {code}: {text}"
    found = re.search(r"after ([\d,]+) steps", text)
    return int(found[1].replace(",", "")) if found else None


def equal(a: Any, b: Any) -> bool:
    """Whether two trees of dicts and lists hold the same tensors, numbers and strings."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


if __name__ == "__main__":
    for words in (["--model", "gru"], ["--model", "lecture"]):
        with tempfile.TemporaryDirectory() as folder:
            found = survive(Path(folder), int(sys.argv[1]), *words, interrupt="--interrupt" in sys.argv)
            print(*words, found, sep=": ", flush=True)
