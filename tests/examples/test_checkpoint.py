"""The checkpoint and the samples."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from examples.makemore import checkpoint, sample
from examples.makemore import train as training
from tests.examples.small import CPU, config, parameters


def test_checkpoint_round_trip(data, tmp_path):
    path = tmp_path / checkpoint.FILE_NAME
    stored = training.calibrate(data, training.train(data, config())[0], config())
    checkpoint.save(stored, path)
    loaded = checkpoint.load(path, CPU)
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
