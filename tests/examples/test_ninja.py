"""The lecture's notebooks: they are current, the solution is right, and typical wrong answers get a hint that fits."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import tapegrad
from examples.makemore.names import DEFAULT_LIST
from tests.helpers import ROOT
from tests.teaching.run import cells, executed, markdown

pytest.importorskip("nbformat", reason="notebooks are written with the nbformat package: pip install nbformat")

FOLDER = ROOT / "examples" / "makemore"
NINJA, SOLUTION = FOLDER / "ninja.ipynb", FOLDER / "ninja_solution.ipynb"
TRAINED = "for i in range(steps):"  # the cell that trains, which takes longer than all others together


def test_they_are_current():
    command = [sys.executable, "-m", "examples.makemore.make_ninja", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def quick(sources, steps=200):
    """The cells, with few steps of training, and without the pictures."""
    kept = [source for source in sources if "tapegrad.viz" not in source]
    return [source.replace("steps, g = 20_000", f"steps, g = {steps}") for source in kept]


@pytest.fixture
def no_names(tmp_path, monkeypatch):
    """Where there is no names.txt beside the notebook."""
    monkeypatch.chdir(tmp_path)


def test_the_solution(no_names, capsys):
    space = {"__name__": "__main__"}
    values = executed(quick(cells(SOLUTION)), space)
    assert space["vocab_size"] == 27  # every letter occurs in the few names
    *_, last = [v for v in values if isinstance(v, tapegrad.Checks) and len(v) == 26]
    assert last.exact
    assert all(v.approximate for v in values if isinstance(v, tapegrad.Checks))
    derived = [v for v in values if isinstance(v, tapegrad.Derivation)]
    assert len(derived) == 2
    assert all(d.check() for d in derived)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("300 names")
    assert len(printed) == 1 + 1 + 1 + 20  # the names, a loss, the loss on new names, and twenty of them


def test_the_exercise_says_kindly_what_is_blank(no_names, capsys):
    checks = [v for v in executed(quick(cells(NINJA))) if isinstance(v, tapegrad.Checks)]
    assert len(checks) == 26 + 1 + 2 + 1
    assert all(row.hint == "it is still to be written" for table in checks for row in table)
    assert "nothing is trained" in capsys.readouterr().out


def test_with_the_names_beside_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "names.txt").write_bytes(DEFAULT_LIST.read_bytes())
    monkeypatch.chdir(tmp_path)
    executed(cells(SOLUTION)[:3])
    assert capsys.readouterr().out.startswith("32,469 names")


def test_no_outputs_are_stored():
    for path in (NINJA, SOLUTION):
        assert not any(c.get("outputs") for c in json.loads(path.read_text())["cells"])


# --- wrong answers ---

SCATTERED = """dC = torch.zeros_like(C)
dC[Xb] = demb"""

# Of exercise 1: whose gradient, what a student writes, and what the hint has to say.
WRONG = [
    ("bnmeani", "dbndiff.sum(0, keepdim=True)", "the sign is wrong"),
    ("bndiff2", "1.0 / n * torch.ones_like(bndiff2) * dbnvar", "1/n stands where 1/(n-1) belongs"),
    ("counts_sum_inv", "counts * dprobs", "it is not summed over dim 1"),
    ("bngain", "(bnraw * dhpreact).sum(0)", "keepdim=True keeps the dimension"),
    ("W2", "dlogits.T @ h", "it is transposed"),
    (
        "logits",
        "dnorm_logits.clone()",
        "a branch is forgotten: this is the part through norm_logits alone, and logit_maxes",
    ),
    ("counts", "counts_sum_inv * dprobs", "a branch is forgotten: this is the part through probs alone"),
    ("hprebn", "dbndiff.clone()", "a branch is forgotten: this is the part through bndiff alone"),
    ("hpreact", "dh", "this is the gradient of h: the step from h to hpreact is missing"),
    ("hpreact", "dh * (1 - hpreact**2)", "the input stands where the output belongs"),
    ("hpreact", "1 - h**2", "this is the local derivative of h alone: multiply it by dh"),
    ("logprobs", "-torch.ones_like(logprobs) / n", "right where the gradient is not zero"),
    ("logprobs", "torch.zeros_like(logprobs).index_put((torch.arange(n), Yb), torch.tensor(-1.0))", "not divided by n"),
    ("b2", "dlogits", "it is not summed over dim 0"),
    ("b2", "dlogits.mean(0)", "divided by n = 32 once too often"),
    ("bnraw", "dhpreact * bnraw", "the other operand belongs here"),
    ("bnvar", "-0.5 * (bnvar + 1e-5) ** -1.5", "this is the local derivative of bnvar_inv alone"),
    ("bnbias", "dhpreact", "it is not summed over dim 0"),
    ("C", SCATTERED, "what an index takes twice was written, not added"),
    ("emb", "dembcat", "but its shape is (32, 30), and should be (32, 3, 10): reshape it"),
    ("probs", "dlogprobs", "this is the gradient of logprobs: the step from logprobs to probs is missing"),
    ("norm_logits", "dcounts", "this is the gradient of counts: the step from counts to norm_logits is missing"),
    ("h", "(dlogits @ W2.T).detach().requires_grad_().detach() * 2", "twice the gradient"),
]


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """The solution of exercise 1, run; the blanks of the student's notebook, by whose gradient they are."""
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("ninja"))
    try:
        space = {"__name__": "__main__"}
        sources = quick(cells(SOLUTION))
        end = next(i for i, source in enumerate(sources) if source.startswith("checks = "))
        executed(sources[: end + 1], space)
    finally:
        os.chdir(before)
    blanks = dict(
        zip([c.partition(" ")[0] for c in cells(NINJA, "blank")[:26]], cells(NINJA, "check")[:26], strict=True)
    )
    return space, blanks


@pytest.mark.parametrize(("name", "written", "says"), WRONG)
def test_a_wrong_answer_gets_the_hint_that_names_it(studied, name, written, says):
    space, blanks = studied
    source = written if "\n" in written else f"d{name} = {written}"
    before = space[f"d{name}"]
    try:
        (checks,) = executed([source, blanks[f"d{name}"]], space)[1:]
    finally:
        space[f"d{name}"] = before
    assert not checks.exact
    assert says in checks[0].hint


# Of exercises 2 and 3, and of exercise 4: in the function, a line and what a student has instead.
LEAPS = [
    ("logits", "F.softmax(logits, 1) / n", "it is wrong at one place in each row"),
    ("logits", "F.softmax(logits, 1) - F.one_hot(Yb, vocab_size)", "it is not divided by n = 32"),
    ("logits", "(F.one_hot(Yb, vocab_size) - F.softmax(logits, 1)) / n", "the sign is wrong"),
    (
        "hprebn",
        "bngain * bnvar_inv * (dhpreact - bnraw * (dhpreact * bnraw).sum(0) / (n - 1))",
        "a branch is forgotten: this is the part through bndiff alone",
    ),
]


@pytest.mark.parametrize(("name", "written", "says"), LEAPS)
def test_a_wrong_leap(studied, name, written, says):
    space, blanks = studied
    before = space[f"d{name}"]
    (checks,) = executed([f"d{name} = {written}", blanks[f"d{name}"]], space)[1:]
    space[f"d{name}"] = before
    assert says in checks[0].hint


TRAINING = [
    ("db2 = dlogits.sum(0)", "db2 = dlogits.sum(1)", "b2", "its shape is (32,), and should be (27,)"),
    ("dlogits /= n", "pass", "W2", "it is not divided by n = 32"),
    ("dW1 = embcat.T @ dhprebn", "dW1 = dhprebn.T @ embcat", "W1", "it is transposed"),
    ("dbnbias = dhpreact.sum(0, keepdim=True)", "dbnbias = -dhpreact.sum(0, keepdim=True)", "bnbias", "the sign"),
]


@pytest.mark.parametrize(("line", "instead", "name", "says"), TRAINING)
def test_a_wrong_line_of_the_training(studied, line, instead, name, says):
    space, _ = studied
    sources = cells(SOLUTION)
    start = next(i for i, source in enumerate(sources) if source.startswith("def forward"))
    forward, gradients, check = sources[start : start + 3]
    assert line in gradients
    check = check.replace("assert checks.approximate\n", "")
    *_, checks = executed([forward, gradients.replace(line, instead), check], dict(space))
    (row,) = [row for row in checks if row.name == name]
    assert says in row.hint


def test_the_words_are_our_own():
    """The lecture's notebook has comments; not one of them stands here."""
    text = markdown(NINJA) + "\n".join(cells(NINJA))
    for theirs in ("YOUR CODE HERE", "concatenate the vectors", "for numerical stability", "swole"):
        assert theirs not in text
