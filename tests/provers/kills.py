"""Kills a training of the example at random moments, resumes it each time, and sees whether anything was lost.

``python -m tests.provers.kills 50`` does so 50 times for a module and for the lecture's network.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from examples.makemore import checkpoint, cli, fitted, trained
from tests.examples.small import CPU, make_list

SAVE_EVERY = 10
STEPS = 100  # of the whole training, for each kill
LONGEST = 0.7  # seconds of a life: some are too short for a checkpoint, and some long enough for several
processes = multiprocessing.get_context("forkserver")  # has imported what follows, so that a life begins at once
processes.set_forkserver_preload(["examples.makemore.cli", "tapegrad", "tqdm", "torch._dynamo", "torch.utils.data"])


def run(words: list[str], environment: dict[str, str]) -> None:
    """One command, in a process of its own and without a word."""
    os.environ.update(environment)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.exit(cli.main(words))


def start(words: list[str], environment: dict[str, str] | None = None, **more: Any) -> Any:
    """Begins a training, or goes on with it, in a process of its own."""
    options = [word for name, value in more.items() for word in (f"--{name}", str(value))]
    process = processes.Process(target=run, args=(["train", "--resume", *words, *options], environment or {}))
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


def survive(folder: Path, times: int, *words: str, seed: int = 0) -> str:
    """Kills a training so many times; returns what happened, or raises an AssertionError if something was lost."""
    rng = random.Random(seed)
    steps = STEPS * times
    settings = {"names": make_list(folder / "names.txt"), "steps": steps, "save-every": SAVE_EVERY, "hidden": 8}
    whole = start([*words], out=folder / "whole", **settings)
    out, come, killed = folder / "killed", 0, 0
    for _ in range(times):
        life = start([*words], out=out, **settings)
        time.sleep(rng.uniform(0, LONGEST))
        killed += life.is_alive()
        life.kill()
        life.join()
        found = stored(out)
        step = 0 if found is None else found["step"]
        assert step >= come, f"{come} steps had been stored, and then {step}"
        assert step % SAVE_EVERY == 0
        come = step
    last = start([*words], out=out, **settings)
    for process in (whole, last):
        process.join()
        assert process.exitcode == 0
    one, other = stored(folder / "whole"), stored(out)
    assert one is not None
    assert other is not None
    del one["run"], other["run"]
    assert equal(one, other), "the training that was killed ends with other bits"
    assert not list(out.glob("*previous*")) + list(out.glob("unfinished*"))
    return f"killed {killed} times, the last at {come} of {steps} stored steps; nothing lost, the same bits at the end"


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
            print(*words, survive(Path(folder), int(sys.argv[1]), *words), sep=": ", flush=True)
