"""The command line, and what is wrong with it."""

from __future__ import annotations

import re
import sys

import pytest

from examples.makemore import cli


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--hidden", "0"], "--hidden: '0' is not a whole number from 1"),
        (["compare", "--hidden", "many"], "--hidden: 'many' is not"),
        (["draw", "--hidden", "1.5"], "--hidden: '1.5' is not"),
        (["train", "--hidden", "10000000000"], "from 1 to 65536"),
        (["train", "--batch", "1"], "--batch: '1' is not a whole number from 2"),
        (["train", "--steps", "-1"], "--steps: '-1' is not"),
        (["--steps", "0"], "--steps: '0' is not"),
        (["sample", "--seed", "-3"], "--seed: '-3' is not"),
        (["train", "--engine", "jax"], "--engine: invalid choice"),
        (["compare", "--dtype", "float16"], "--dtype: invalid choice"),
        (["train", "--device", "abacus"], "--device: torch cannot use 'abacus'"),
        (["sample", "--device", "meta"], "--device: torch cannot use 'meta'"),
        (["all", "--device", "cuda:99"], "--device: torch cannot use 'cuda:99'"),
        (["sample", "--steps", "5"], "unrecognized arguments: --steps 5"),
        (["compare", "--engine", "torch"], "unrecognized arguments: --engine torch"),
        (["bake"], "invalid choice: 'bake'"),
        (["--hidden"], "--hidden: expected one argument"),
    ],
)
def test_bad_options(run, words, message):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["draw", "train", "source", "all"])
@pytest.mark.parametrize("inside", ["", "deeper/still"])
def test_out_that_is_a_file(run, small, command, inside):
    code, out, err = run(command, "--names", small, "--out", small / inside)
    assert (code, out) == (2, "")
    assert f"--out: cannot write to {small / inside}" in err
    assert err.count("\n") == 1


def test_out_without_write_permission(run, small, tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(cli.tempfile, "TemporaryFile", refuse)  # the tests may run as root, who may write anywhere
    code, _, err = run("train", "--names", small, "--out", tmp_path)
    assert code == 2
    assert err.endswith(f"--out: cannot write to {tmp_path}: Permission denied\n")


def test_an_error_while_writing(run, small, tmp_path):
    (tmp_path / "loss.png").mkdir()
    code, _, err = run("train", "--engine", "torch", "--names", small, "--steps", 1, "--out", tmp_path)
    assert code == 2
    assert "loss.png" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize(("package", "words"), [("tqdm", ["train", "--engine", "torch"]), ("tapegrad", ["compare"])])
def test_a_missing_package_is_named(run, small, tmp_path, monkeypatch, package, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "examples.makemore.compare", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = run(*words, "--names", small)
    assert code == 2
    assert package in err
    assert "pip install" in err
    assert err.count("\n") == 1


def test_an_interrupt_ends_quietly(run, small, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "train", interrupt)
    code, _, err = run("train", "--names", small, "--out", tmp_path)
    assert code == 130
    assert err == "python -m examples.makemore train: error: interrupted\n"


@pytest.mark.parametrize("words", [["-h"], ["--help"], *([command, "-h"] for command in cli.COMMANDS)])
def test_help(run, words):
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    described = cli.COMMANDS if len(words) == 1 else [f"--{name}" for name in cli.COMMANDS[words[0]][1].split()]
    for word in described:
        assert re.search(rf"^ +{word}\b.*", out, re.MULTILINE)
