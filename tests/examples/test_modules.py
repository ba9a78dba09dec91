"""Modules trained from the command line: they learn, end as torch's do, and go on from where they stopped."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch

from examples.makemore import checkpoint, fit, fitted, names
from examples.makemore.batches import Batches, Names, load
from examples.makemore.checkpoint import FILE_NAME
from examples.makemore.modules import LONGEST, MODULES
from examples.makemore.processes import Processes
from examples.makemore.sample import sample
from tests.examples.small import CPU
from tests.provers.kills import equal

EXACT = {"mlp", "wavenet", "bigram", "bow"}  # cells and attention are so within a bound
NUMBERS = [torch.float32, torch.float64, torch.bfloat16]
BOUNDS = {torch.float32: 1e-6, torch.float64: 1e-14, torch.bfloat16: 2e-2}  # of the largest gradient


def train(run, small, out, *words, model="mlp", steps=20):
    words = ("--names", small, "--out", out, "--model", model, "--steps", steps, "--hidden", 8, "--batch", 8, *words)
    code, said, error = run("train", *words)
    assert code == 0, error
    return torch.load(out / FILE_NAME, weights_only=True), said


def training(split, model="mlp", engine="tapegrad", steps=20, dtype=torch.float32, hidden=8, lr=3e-3):
    settings = fit.Settings(model, hidden, 8, steps, 1, engine, dtype, "adamw", lr, 1, split.digest)
    begun = fit.begin(settings, len(split.chars) + 1, CPU)
    fit.fit(begun, split, Processes(0, 1, CPU), lambda: None, steps + 1)
    return begun


@pytest.fixture
def split(small):
    return names.load_split(small)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("model", MODULES)
def test_gradients_are_torchs(split, model, dtype, request):
    if (model, dtype) == ("lstm", torch.bfloat16):  # oneDNN's, which torch would take, is not on every processor
        torch._C._set_mkldnn_enabled(False)
        request.addfinalizer(lambda: torch._C._set_mkldnn_enabled(True))
    engines = [training(split, model, engine, 1, dtype) for engine in ("tapegrad", "torch")]
    ours, theirs = ([p.grad for p in t.net.parameters()] for t in engines)
    if model in EXACT:
        assert engines[0].losses == engines[1].losses
        assert all(map(torch.equal, ours, theirs))
    largest = max(g.abs().max() for g in theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=BOUNDS[dtype] * float(largest))


def test_it_ends_in_torchs_bits(run, small, tmp_path):
    ours, theirs = (train(run, small, tmp_path / e, "--engine", e)[0] for e in ("tapegrad", "torch"))
    for key in ("model", "optimizer", "losses"):
        assert equal(ours[key], theirs[key])


@pytest.mark.parametrize("model", MODULES)
def test_it_learns_more_than_what_follows_what(tmp_path, model):
    """What follows an a depends on what came before it, in any order: only the bigram cannot learn that."""
    words = ["abacad", "dacaba"]
    path = tmp_path / "names.txt"
    path.write_text("\n".join(words * 20), encoding="utf-8")
    pairs = Counter(pair for word in words for pair in pairwise(f".{word}."))
    firsts = Counter(a for a, _ in pairs.elements())
    bigram = -sum(n * math.log(n / firsts[a]) for (a, _), n in pairs.items()) / pairs.total()
    split = names.load_split(path)
    net = training(split, model, steps=70, hidden=12, lr=0.05).net
    loss = fit.split_loss(net, split.train, split.chars, CPU)
    if model == "bigram":
        assert bigram - 0.02 < loss < 1.2 * bigram
    else:
        assert loss < 0.6 * bigram


@pytest.mark.parametrize("words", [(), ("--optimizer", "sgd", "--dtype", "bfloat16")])
def test_it_goes_on_to_the_same_bits(run, small, tmp_path, words):
    """With workers or without."""
    whole, _ = train(run, small, tmp_path / "whole", *words, steps=16)
    train(run, small, tmp_path / "parts", *words, steps=9)
    parts, _ = train(run, small, tmp_path / "parts", *words, "--resume", "--workers", len(words) // 2, steps=16)
    for key in ("model", "optimizer", "losses", "config"):
        assert equal(whole[key], parts[key])


@pytest.mark.parametrize("model", ["bigram", "transformer"])
def test_sample(run, small, tmp_path, model):
    train(run, small, tmp_path, model=model, steps=2)
    code, said, _ = run("sample", "--out", tmp_path)
    assert code == 0
    assert said.count("\n") == 20
    assert set(said) <= set("abcdefgh\n")
    assert run("sample", "--out", tmp_path)[1] == said


def test_a_name_that_never_ends_is_cut(split):
    net = training(split, "transformer", steps=1).net
    with torch.no_grad():
        net.head.bias[0] = -1e4
        assert fitted.Fitted(net, split.chars, CPU).next_logits([1] * (LONGEST - 1)).shape == (1, 9)
    assert [len(name) for name in sample(fitted.Fitted(net, split.chars, CPU), 0, count=1)] == [LONGEST]


def test_minibatches(split):
    """Every name comes once in each round, and processes share what one would take."""
    alone = list(Batches(10, 4, 7, 0, 5))
    assert sorted(i for batch in alone for i in batch) == sorted([*range(10)] * 2)
    assert list(Batches(10, 4, 7, 3, 5)) == alone[3:]
    halves = [list(Batches(10, 4, 7, 0, 5, (rank, 2))) for rank in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == [sorted(batch) for batch in alone]
    assert all(len(set(batch)) == 3 for batch in Batches(3, 6, 7, 0, 5))  # more than there are
    X, Y = next(iter(load(Names(["ab", "c"], "abc"), Batches(2, 2, 0, 0, 1), 0)))
    rows = {(tuple(x), tuple(y)) for x, y in zip(X.tolist(), Y.tolist(), strict=True)}
    assert rows == {((0, 1, 2), (1, 2, 0)), ((0, 3, 0), (3, 0, -100))}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hidden", 9], "argument --hidden: it was 8"),
        (["--model", "rnn"], "argument --model: it was mlp"),
        (["--model", "lecture"], "argument --model: it was mlp"),
        (["--dtype", "float64"], "argument --dtype: it was float32"),
        (["--lr", 0.1], "argument --lr: it was 0.003"),
        (["--steps", 2], "argument --steps: the training in"),
    ],
)
def test_what_cannot_be_resumed(run, small, tmp_path, words, message):
    train(run, small, tmp_path, steps=3)
    before = (tmp_path / FILE_NAME).read_bytes()
    settings = {"--names": small, "--out": tmp_path, "--model": "mlp", "--steps": 3, "--hidden": 8, "--batch": 8}
    settings |= {words[0]: words[1]}
    code, _, err = run("train", "--resume", *[word for item in settings.items() for word in item])
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert (tmp_path / FILE_NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lr", "0.1"], "argument --lr: the lecture has its own training"),
        (["--dtype", "bfloat16"], "argument --dtype: the lecture's network is float32 or float64"),
        (["--model", "gru", "--engine", "manual"], "argument --engine: nobody has derived gru by hand"),
        (["--model", "gru", "--lr", "nan"], "argument --lr: 'nan' is not a number above 0"),
        (["--model", "hmm"], "argument --model: invalid choice"),
    ],
)
def test_options_that_do_not_go_together(run, small, tmp_path, words, message):
    code, out, err = run("train", "--names", small, "--out", tmp_path, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_name_that_is_too_long(run, small, tmp_path):
    small.write_text(small.read_text() + "a" * (LONGEST + 1), encoding="utf-8")
    code, _, err = run("train", "--model", "mlp", "--names", small, "--out", tmp_path)
    assert code == 2
    assert f"one name has {LONGEST + 1} characters, and --model mlp takes {LONGEST}" in err


def test_divergence_keeps_the_checkpoint(run, small, tmp_path, monkeypatch):
    train(run, small, tmp_path, steps=3)
    before = (tmp_path / FILE_NAME).read_bytes()
    loss = fit.next_character_loss
    monkeypatch.setattr(fit, "next_character_loss", lambda *args: loss(*args) * float("inf"))
    words = ("--names", small, "--out", tmp_path, "--model", "mlp", "--steps", 9, "--hidden", 8, "--save-every", 1)
    code, _, err = run("train", *words)
    assert code == 2
    assert "the training diverged: try a larger --batch, a smaller --lr or another --seed" in err
    assert (tmp_path / FILE_NAME).read_bytes() == before


DAMAGE = {
    "model": lambda s: s["config"].update(model="markov"),
    "model of another type": lambda s: s["config"].update(model=["mlp"]),
    "hidden": lambda s: s["config"].update(hidden=10**9),
    "another width": lambda s: s["config"].update(hidden=9),
    "no parameters": lambda s: s.update(model=None),
    "one missing": lambda s: s["model"].pop("head.bias"),
    "nan": lambda s: s["model"]["head.bias"].fill_(float("nan")),
    "integers": lambda s: s["model"].update({k: v.long() for k, v in s["model"].items()}),
    "mixed dtypes": lambda s: s["model"].update({"head.bias": s["model"]["head.bias"].double()}),
    "numbers": lambda s: s["model"].update({"head.bias": 3.0}),
    "sparse": lambda s: s["model"].update({"head.bias": s["model"]["head.bias"].to_sparse()}),
    "meta": lambda s: s["model"].update({"head.bias": s["model"]["head.bias"].to("meta")}),
    "alphabet": lambda s: s.update(chars="aa"),
    "no alphabet": lambda s: s.pop("chars"),
}
PROGRESS = {
    "no losses": lambda s: s.pop("losses"),
    "fewer losses": lambda s: s.update(losses=s["losses"][:1]),
    "no name": lambda s: s.update(run=3),
    "no optimizer": lambda s: s.pop("optimizer"),
    "an optimizer of another kind": lambda s: s.update(optimizer={"state": {}, "param_groups": []}),
    "moments of another shape": lambda s: s["optimizer"]["state"][0].update(exp_avg=torch.zeros(2)),
    "moments that are none": lambda s: s["optimizer"]["state"][0].pop("exp_avg"),
    "moments that are not finite": lambda s: s["optimizer"]["state"][0]["exp_avg"].fill_(float("nan")),
}


@pytest.mark.parametrize(("kind", "command"), [(k, "sample") for k in DAMAGE] + [(k, "train") for k in PROGRESS])
def test_a_checkpoint_that_loads_but_is_wrong(run, small, split, tmp_path, capsys, kind, command):
    path = tmp_path / FILE_NAME
    fitted.save(training(split, steps=2), split.chars, path, "run")
    stored = checkpoint.load(path, CPU)
    (DAMAGE | PROGRESS)[kind](stored)
    torch.save(stored, path)
    capsys.readouterr()  # the bar of the training
    words = ("--names", small, "--model", "mlp", "--hidden", 8, "--batch", 8, "--steps", 3, "--seed", 1, "--resume")
    code, out, err = run(command, "--out", tmp_path, *(words if command == "train" else ()))
    assert (code, out) == (2, "")
    assert "is not a checkpoint of this example (" in err
    assert err.count("\n") == 1
