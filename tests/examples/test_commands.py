"""The commands, end to end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import pytest
import torch

from examples.makemore import cli, model
from examples.makemore import train as training
from tests.examples.small import LECTURE_ORDER, PNG, ROW, make_list, parameters
from tests.helpers import ROOT


def check_pictures(out):
    assert (out / "graph.png").read_bytes().startswith(PNG)
    text = " ".join(ET.parse(out / "graph.svg").getroot().itertext())
    for name in [*LECTURE_ORDER, "loss"]:
        assert re.search(rf"\b{name}\b", text), name


@pytest.mark.parametrize("seed", [0, 2147483647])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", [64, 200])
def test_compare(run, data, small, hidden, dtype, seed):
    code, out, err = run("compare", "--names", small, "--hidden", hidden, "--dtype", dtype, "--seed", seed)
    assert (code, err) == (0, "")
    first, second, third, fourth = out.split("\n\nExercise")[:4]
    assert ROW.findall(first) == LECTURE_ORDER
    assert "False" not in first
    assert [ROW.findall(part) for part in (second, third, fourth)] == [["logits"], ["hprebn"], ["hprebn"]]
    for many_steps in re.findall(r"same to within (\S+)", out):
        assert float(many_steps) < 2e-8
    assert out.endswith("\n26 of 26 rows exact\n")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("hidden", "batch", "seed"), [(64, 32, 0), (200, 32, 1), (64, 2, 2), (3, 300, 3)])
def test_the_rows_hold_against_torch_run_apart_from_the_tape(data, dtype, hidden, batch, seed):
    from examples.makemore.compare import ROWS, lecture_pass

    ours = lecture_pass(data, hidden, batch, seed, dtype)
    start, g = parameters(data, hidden, seed, dtype)
    theirs = vars(model.forward([p.requires_grad_() for p in start], *model.draw_batch(data.train, batch, g)))
    assert list(ROWS) == LECTURE_ORDER
    for name in ROWS:
        ours[name].retain_grad()
        theirs[name].retain_grad()
    ours["loss"].backward()
    theirs["loss"].backward()
    for name in ROWS:
        assert torch.equal(ours[name].grad, theirs[name].grad), name


@pytest.mark.parametrize("batch", [2, 500])
def test_compare_takes_any_batch(run, small, batch):
    code, out, _ = run("compare", "--names", small, "--batch", batch)
    assert code == 0
    assert out.endswith("\n26 of 26 rows exact\n")


def test_compare_fails_on_one_wrong_row(run, small, monkeypatch):
    import tapegrad

    def distort(loss, names=None):
        return [SimpleNamespace(name=name, exact=name != "bnvar", approximate=True, maxdiff=0.0) for name in names]

    monkeypatch.setattr(tapegrad, "compare", distort)
    code, out, _ = run("compare", "--names", small)
    assert code == 1
    assert out.endswith("\n25 of 26 rows exact\n")


@pytest.mark.parametrize(("maxdiff", "expected"), [(1e-8, 0), (1.1e-8, 1), (float("nan"), 1)])
def test_compare_fails_on_an_inexact_step(run, small, monkeypatch, maxdiff, expected):
    import tapegrad

    def distort(loss, names=None):
        exact = len(names) > 1
        return [SimpleNamespace(name=name, exact=exact, approximate=True, maxdiff=maxdiff) for name in names]

    monkeypatch.setattr(tapegrad, "compare", distort)
    assert run("compare", "--names", small)[0] == expected


@pytest.mark.parametrize(
    ("style", "batch", "dtype"), [("plain", 32, "float32"), ("exact", 32, "float64"), ("exact", 5, "float32")]
)
def test_source(run, small, tmp_path, style, batch, dtype):
    words = ("--names", small, "--out", tmp_path, "--style", style, "--batch", batch, "--dtype", dtype)
    code, printed, err = run("source", *words)
    assert (code, err) == (0, "")
    assert ROW.findall(printed) == LECTURE_ORDER
    if style == "exact":
        assert "26 of 26 rows exact" in printed
    else:
        assert "26 approximate" in printed
    assert str(tmp_path / "backward.py") in printed
    text = (tmp_path / "backward.py").read_text(encoding="utf-8")
    assert "tapegrad" not in text
    for name in LECTURE_ORDER:
        assert re.search(rf"^    d{name} = ", text, re.MULTILINE)


def test_source_fails_on_one_wrong_row(run, small, tmp_path, monkeypatch):
    from tapegrad.inspect.tape import Tape

    written = Tape.source
    monkeypatch.setattr(Tape, "source", lambda *args, **kwargs: written(*args, **kwargs).replace("1 - h * h", "1 - h"))
    code, printed, _ = run("source", "--names", small, "--out", tmp_path)
    assert code == 1
    assert re.search(r"^hpreact .*approximate: False", printed, re.MULTILINE)
    assert re.search(r"^logprobs .*exact: True", printed, re.MULTILINE)


@pytest.mark.parametrize(("batch", "dtype"), [(32, "float32"), (5, "float64")])
def test_derive(run, small, tmp_path, batch, dtype):
    code, out, err = run("derive", "--names", small, "--batch", batch, "--dtype", dtype, "--out", tmp_path)
    assert (code, err) == (0, "")
    assert f"= (probs - onehot(Yb)) / {batch} " in out
    mean, variance = "dhpreact.mean(0)", f"(dhpreact * bnraw).sum(0) / {batch - 1} * bnraw"
    assert f"= bngain * bnvar_inv * (dhpreact - {mean} - {variance})" in out
    assert ROW.findall(out) == ["logits", "hprebn"]
    page = (tmp_path / "derivations.html").read_text(encoding="utf-8")
    assert page.count("<h1>") == 2
    assert "def gradient(" in page


def test_draw(run, small, tmp_path):
    out = tmp_path / "pictures"
    code, printed, err = run("draw", "--names", small, "--out", out)
    assert (code, err) == (0, "")
    check_pictures(out)
    assert "operations on 7 parameters" in printed
    assert str(out / "graph.svg") in printed
    assert str(out / "graph.png") in printed


def test_draw_without_a_renderer(run, small, tmp_path, monkeypatch):
    from tapegrad import viz

    def refuse(graph, path):
        raise viz.NoRenderer("install dot")

    monkeypatch.setattr(viz, "render", refuse)
    code, _, err = run("draw", "--names", small, "--out", tmp_path)
    assert (code, err) == (2, "python -m examples.makemore draw: error: install dot\n")


@pytest.mark.parametrize("engine", training.ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_train_then_sample(run, small, tmp_path, engine, dtype):
    words = ("--names", small, "--steps", 30, "--hidden", 10, "--engine", engine, "--dtype", dtype, "--out", tmp_path)
    code, out, err = run("train", *words)
    assert code == 0
    assert re.findall(r"^(\w+) +loss \d\.\d{4}$", out, re.MULTILINE) == ["train", "val", "test"]
    assert "30/30" in err  # the progress bar
    assert (tmp_path / "loss.png").read_bytes().startswith(PNG)
    stored = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert stored["config"]["engine"] == engine
    assert stored["tensors"]["W1"].dtype is getattr(torch, dtype)

    drawn = run("sample", "--out", tmp_path)
    assert drawn[0] == 0
    assert drawn[1].count("\n") == 20
    assert set(drawn[1]) <= set("abcdefgh\n")
    assert run("sample", "--out", tmp_path) == drawn
    assert run("sample", "--out", tmp_path, "--seed", 1)[1] != drawn[1]


def test_one_seed_one_training(run, small, tmp_path):
    words = ("train", "--engine", "manual", "--names", small, "--steps", 10, "--hidden", 5)
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(*words, "--seed", seed, "--out", tmp_path / out)[0] == 0
    a, b, c = (torch.load(tmp_path / out / "checkpoint.pt", weights_only=True)["tensors"] for out in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not any(torch.equal(a[name], c[name]) for name in a)


def test_fewer_examples_than_a_batch(run, tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("a\nb\na\nb\na\nb\n")
    words = ("--names", path, "--batch", 300, "--hidden", 4, "--steps", 5, "--out", tmp_path)
    assert run("train", *words)[0] == 0


def test_one_name_much_longer_than_the_rest(run, small, tmp_path):
    with small.open("a", encoding="utf-8") as file:
        file.write("gh" * 20_000 + "\n")
    assert run("train", "--names", small, "--hidden", 4, "--steps", 5, "--out", tmp_path)[0] == 0


def test_another_alphabet_on_a_terminal_that_lacks_it(tmp_path):
    path = make_list(tmp_path / "names.txt", alphabet="абвгд愛子é.")
    words = ("--names", path, "--steps", 5, "--hidden", 5, "--out", tmp_path)
    assert cli.main(["train", *map(str, words)]) == 0
    command = [sys.executable, "-m", "examples.makemore", "sample", "--out", str(tmp_path)]
    for encoding in ("utf-8", "ascii"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=True)
        drawn = done.stdout.decode("utf-8" if encoding == "utf-8" else "unicode-escape").replace("\r", "")
        assert set(drawn) <= set("абвгд愛子é.\n")
        assert set(drawn) & set("абвгд愛子")


def test_all_four_in_order(small, tmp_path):
    out = tmp_path / "out"
    words = ["--names", small, "--steps", "40", "--hidden", "16", "--batch", "8", "--out", out]
    command = [sys.executable, "-W", "error", "-m", "examples.makemore", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    headings = re.findall(r"^=== (\w+) ===$", done.stdout, re.MULTILINE)
    assert headings == ["compare", "draw", "train", "sample"]
    assert "26 of 26 rows exact" in done.stdout
    check_pictures(out)
    written = re.split(r"^Written:\n", done.stdout, flags=re.MULTILINE)[1].split()
    assert written == [str(out / name) for name in ("graph.svg", "graph.png", "loss.png", "checkpoint.pt")]
    assert sorted(path.name for path in out.iterdir()) == ["checkpoint.pt", "graph.png", "graph.svg", "loss.png"]
