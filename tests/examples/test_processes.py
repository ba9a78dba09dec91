"""Two processes that train together."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext

import pytest
import torch

from examples.makemore import processes, runs
from examples.makemore.checkpoint import FILE_NAME
from tests.examples.small import CPU
from tests.helpers import ROOT
from tests.provers import kills

SMALL = {"hidden": 8, "batch": 8}


def start_two(out, *words, **settings):
    """What torchrun does, without the seconds that it takes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "test"}
    meet["GLOO_SOCKET_IFNAME"] = "lo"
    ranks = [{**meet, "RANK": rank, "LOCAL_RANK": rank} for rank in "01"]
    return [kills.start([*words], environment, out=out, **SMALL, **settings) for environment in ranks]


def codes(ranks):
    for rank in ranks:
        rank.join(60)
        rank.kill()  # if it hangs
    return [rank.exitcode for rank in ranks]


def load(out):
    return torch.load(out / FILE_NAME, weights_only=True)


def test_two_processes_end_where_torchs_do_after_a_stop(small, tmp_path):
    """Ours are stopped, by a signal to one of them, and resumed; the model is the one taken where none is named."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ranks = start_two(ours, names=small, **{"save-every": 5})
    for _ in range(1200):
        if (ours / FILE_NAME).exists() or not ranks[0].is_alive():
            break
        time.sleep(0.05)
    os.kill(ranks[1].pid, signal.SIGTERM)
    assert codes(ranks) == [128 + signal.SIGTERM] * 2
    stopped = load(ours)
    steps = stopped["step"] + 20
    assert codes(start_two(ours, "--model", "mlp", names=small, steps=steps)) == [0, 0]
    assert codes(start_two(theirs, "--model", "mlp", "--engine", "torch", names=small, steps=steps)) == [0, 0]
    a, b = load(ours), load(theirs)
    assert a["run"] == stopped["run"]
    assert a["config"]["processes"] == 2
    assert kills.equal((a["model"], a["optimizer"], a["losses"]), (b["model"], b["optimizer"], b["losses"]))


@pytest.mark.slow
def test_torchrun(small, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    command += ["-m", "examples.makemore", "train", "--names", small, "--out", tmp_path, "--hidden", 8, "--steps", 20]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(\w+) +loss \d", done.stdout, re.MULTILINE) == ["train", "val", "test"]  # one of them prints
    assert load(tmp_path)["config"]["model"] == "mlp"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "lecture"], "argument --model: the lecture's network trains in one process"),
        (["--model", "mlp", "--batch", "7"], "argument --batch: 7 names cannot be shared by 2 processes"),
    ],
)
def test_what_several_processes_cannot_do(run, small, tmp_path, monkeypatch, words, message):
    monkeypatch.setattr(processes, "launched", lambda: True)
    monkeypatch.setattr(runs, "together", lambda device: nullcontext(processes.Processes(0, 2, CPU)))
    code, _, err = run("train", "--names", small, "--out", tmp_path, *words)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
