"""The checkpoint and the samples."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from examples.makemore import checkpoint, files, sample, trained
from examples.makemore import train as training
from tests.examples.small import CPU, config, parameters
from tests.helpers import ROOT


def test_checkpoint_round_trip(data, tmp_path):
    path = tmp_path / checkpoint.FILE_NAME
    stored = training.calibrate(data, training.train(data, config())[0], config())
    trained.save(stored, path)
    loaded = trained.load(path, CPU)
    assert (loaded.chars, loaded.config) == (stored.chars, stored.config)
    assert loaded.config["hidden"] == 12
    assert loaded.config["dtype"] == "torch.float32"
    assert torch.equal(loaded(data.test[0]), stored(data.test[0]))
    assert sample.sample(loaded, 5) == sample.sample(stored, 5)


def write_bad_checkpoint(path, kind):
    if kind == "text":
        path.write_text("not a checkpoint")
    elif kind == "empty":
        path.touch()
    elif kind == "directory":
        path.mkdir()
    elif kind == "cut short":
        torch.save({"tensors": {"C": torch.zeros(1000)}}, path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "code":
        torch.save({"tensors": SimpleNamespace()}, path)  # weights_only refuses to build the object
    else:
        torch.save({"dictionary": {"weight": torch.zeros(2)}, "list": [torch.zeros(2)]}[kind], path)


@pytest.mark.parametrize("kind", ["text", "empty", "directory", "cut short", "code", "dictionary", "list"])
def test_bad_checkpoint(run, tmp_path, kind):
    write_bad_checkpoint(tmp_path / checkpoint.FILE_NAME, kind)
    code, out, err = run("sample", "--out", tmp_path)
    assert (code, out) == (2, "")
    assert "is not a checkpoint of this example" in err
    assert err.count("\n") == 1


def test_sample_before_train(run, tmp_path):
    code, out, err = run("sample", "--out", tmp_path / "nothing")
    assert (code, out) == (2, "")
    assert "run `python -m examples.makemore train` first" in err
    assert not (tmp_path / "nothing").exists()


def test_a_name_that_never_ends_is_cut(data):
    start = parameters(data)[0]
    start[4] = torch.full_like(start[4], -1e4)
    start[4][1] = 1e4  # b2: always the first character
    calibrated = training.calibrate(data, start, config())
    assert sample.sample(calibrated, 0, count=2) == [data.chars[0] * sample.LONGEST] * 2


def test_samples_follow_the_probabilities(data):
    calibrated = training.calibrate(data, parameters(data)[0], config())
    first = calibrated(torch.zeros(1, 3, dtype=torch.long)).softmax(1)[0].tolist()
    drawn = [name[:1] for name in sample.sample(calibrated, 1, count=1500)]
    for i, char in enumerate(["", *data.chars]):
        assert drawn.count(char) / len(drawn) == pytest.approx(first[i], abs=0.05)


# --- nothing is lost ---


def start(small, out, *words):
    """A training of its own, that goes on until it is stopped, and has stored something by now."""
    command = [sys.executable, "-m", "examples.makemore", "train", "--names", small, "--out", out, "--hidden", 8]
    command += ["--save-every", 20, *words]
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # which is ignored in what a shell runs behind
    process = subprocess.Popen(
        [str(word) for word in command], cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    )
    for _ in range(1200):
        if (out / checkpoint.FILE_NAME).exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_was_trained(run, small, tmp_path, number):
    process = start(small, tmp_path)
    process.send_signal(number)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number
    assert "so far is in" in err.splitlines()[-1]
    assert "Traceback" not in err
    stored = checkpoint.load(tmp_path / checkpoint.FILE_NAME, CPU)
    assert f"after {stored['step']} steps" in err
    assert stored["step"] >= 20
    assert run("sample", "--out", tmp_path)[0] == 0


def test_kills_leave_the_last_checkpoint(run, small, tmp_path):
    for delay in (0.01, 0.13, 0.29):
        process = start(small, tmp_path)
        time.sleep(delay)
        process.kill()
        process.communicate()
        assert checkpoint.load(tmp_path / checkpoint.FILE_NAME, CPU)["step"] % 20 == 0
        assert run("sample", "--out", tmp_path)[0] == 0


def test_a_finished_model_outlives_a_run_that_dies(run, data, small, tmp_path):
    path = tmp_path / checkpoint.FILE_NAME
    trained.save(training.calibrate(data, training.train(data, config())[0], config()), path, "first", 20)
    before = path.read_bytes()
    for name in ("second", "third"):
        model = training.calibrate(data, training.train(data, config())[0], config())
        trained.save(model, path, name, 5, finished=False)
        assert (tmp_path / checkpoint.KEPT).read_bytes() == before


def test_two_runs_in_one_folder_keep_each_others(data, tmp_path):
    """They take turns; one is killed, and the other goes on to the end."""
    path = tmp_path / checkpoint.FILE_NAME
    model = training.calibrate(data, training.train(data, config())[0], config())
    for step in (20, 40, 60):
        trained.save(model, path, "one", step, finished=False)
        trained.save(model, path, "two", step, finished=False)
    kept = {p.name: checkpoint.load(p, CPU) for p in tmp_path.glob("*.pt")}
    assert {(k["run"], k["step"]) for k in kept.values()} == {("one", 60), ("two", 60), ("two", 40)}
    assert trained.load(tmp_path / "unfinished-one.pt", CPU).chars == data.chars
    trained.save(model, path, "two", 80)
    trained.save(model, path, "one", 80)  # it was not killed after all
    kept = {p.name: checkpoint.load(p, CPU) for p in tmp_path.glob("*.pt")}
    assert {name: (k["run"], k["step"]) for name, k in kept.items()} == {
        checkpoint.FILE_NAME: ("one", 80),
        checkpoint.KEPT: ("two", 80),
    }


def test_a_runs_name_is_no_path(data, tmp_path):
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / checkpoint.FILE_NAME
    model = training.calibrate(data, training.train(data, config())[0], config())
    trained.save(model, path, "x/../../../evil", 5, finished=False)
    trained.save(model, path, "next", 5, finished=False)
    assert {p.name for p in path.parent.iterdir()} == {checkpoint.FILE_NAME, checkpoint.KEPT}
    assert not list(tmp_path.glob("*.pt"))


DAMAGE = {
    "nan": lambda s: s["tensors"]["W1"].fill_(float("nan")),
    "infinite": lambda s: s["tensors"]["bnvar"].fill_(float("inf")),
    "negative variance": lambda s: s["tensors"]["bnvar"].fill_(-1.0),
    "shape": lambda s: s["tensors"].update(W2=torch.zeros(3, 3)),
    "no elements": lambda s: s["tensors"].update({k: v[:0] for k, v in s["tensors"].items()}),
    "integers": lambda s: s["tensors"].update(C=s["tensors"]["C"].long()),
    "half precision": lambda s: s["tensors"].update({k: v.half() for k, v in s["tensors"].items()}),
    "mixed dtypes": lambda s: s["tensors"].update(b2=s["tensors"]["b2"].double()),
    "complex": lambda s: s["tensors"].update({k: v + 0j for k, v in s["tensors"].items()}),
    "sparse": lambda s: s["tensors"].update(C=s["tensors"]["C"].to_sparse()),
    "meta": lambda s: s["tensors"].update(C=s["tensors"]["C"].to("meta")),
    "numbers": lambda s: s["tensors"].update(C=3.0),
    "one missing": lambda s: s["tensors"].pop("C"),
    "one too many": lambda s: s["tensors"].update(D=torch.zeros(1)),
    "alphabet too short": lambda s: s.update(chars=s["chars"][1:]),
    "alphabet too long": lambda s: s.update(chars=s["chars"] + "z"),
    "alphabet with repeats": lambda s: s.update(chars="a" * len(s["chars"])),
    "alphabet of another type": lambda s: s.update(chars=list(s["chars"])),
    "no alphabet": lambda s: s.pop("chars"),
    "settings": lambda s: s.update(config=None),
    "tensors": lambda s: s.update(tensors=[]),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_checkpoint_that_loads_but_is_wrong(run, data, tmp_path, capsys, kind):
    path = tmp_path / checkpoint.FILE_NAME
    trained.save(training.calibrate(data, training.train(data, config())[0], config()), path)
    stored = torch.load(path, weights_only=True)
    DAMAGE[kind](stored)
    torch.save(stored, path)
    capsys.readouterr()  # the bar of the training
    code, out, err = run("sample", "--out", tmp_path)
    assert (code, out) == (2, "")
    assert "is not a checkpoint of this example (" in err
    assert err.count("\n") == 1


def test_weights_too_large_for_probabilities(run, data, tmp_path, capsys):
    path = tmp_path / checkpoint.FILE_NAME
    trained.save(training.calibrate(data, training.train(data, config())[0], config()), path)
    stored = torch.load(path, weights_only=True)
    stored["tensors"]["W2"].fill_(3e38)
    torch.save(stored, path)
    capsys.readouterr()  # the bar of the training
    code, out, err = run("sample", "--out", tmp_path)
    assert (code, out) == (2, "")
    assert "train again" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("where", ["open", "fsync", "replace"])
def test_a_disk_that_is_full(run, small, tmp_path, monkeypatch, where):
    path = tmp_path / checkpoint.FILE_NAME
    assert run("train", "--names", small, "--steps", 2, "--hidden", 4, "--out", tmp_path)[0] == 0
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files if where == "open" else files.os, where, full, raising=False)
    code, _, err = run("train", "--names", small, "--steps", 2, "--hidden", 4, "--out", tmp_path)
    assert code == 2
    assert "No space left on device" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*.part"))
