"""``tapegrad.derive``: its arguments, what it prints, what it refuses, and where it stops."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from docs.derivations import CASES
from tests.helpers import ROOT


def softmax():
    x = tapegrad.tensor(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), requires_grad=True)
    e = x.exp()
    s = e.sum(1, keepdim=True)
    y = e / s
    return {"x": x, "e": e, "s": s, "y": y}


def test_names_are_found_where_it_is_called():
    x, _, _, y = softmax().values()
    assert tapegrad.derive(y, of=x).formula == "(dy - (dy * y).sum(1, keepdim=True)) * y"
    assert tapegrad.derive(y, of="x").formula == tapegrad.derive(y, of=x).formula
    assert tapegrad.derive(y, "x", "out", {"x": x, "out": y}).formula.count("dout") == 2


def test_the_start_may_be_chosen():
    v = softmax()
    found = tapegrad.derive(v["y"], "x", start="e", names=v)
    assert found.given == "e"
    assert found.formula == "de * e"
    assert str(found).startswith("given de\n")
    assert tapegrad.derive(v["y"], v["x"], v["e"], v).formula == "de * e"


def test_it_prints_every_step_with_its_reason():
    found = CASES[0].derive(CASES[0].run(torch.Generator().manual_seed(7)))
    text = str(found)
    assert repr(found) == text
    assert f"```\n{text}\n```" in (ROOT / "README.md").read_text(encoding="utf-8")
    for line in found.lines:
        assert line.steps[0].reason
        assert all(step.reason for step in line.steps[1:])
    for reason in (
        "since counts_sum_inv = counts_sum**-1",
        "since each row of onehot(Yb) sums to 1",
        "since each row of probs sums to 1",
        "since probs = counts * counts_sum_inv",
    ):
        assert reason in text


def test_latex():
    v = softmax()
    found = tapegrad.derive(v["y"], "x", names=v)
    text = found.latex()
    assert text.startswith("\\begin{aligned}")
    assert text.count("{") == text.count("}")
    assert text.count(r"\left(") == text.count(r"\right)")
    assert found._repr_latex_() == f"$$\n{text}\n$$"


def test_a_loss_is_not_differentiated_again():
    v = softmax()
    tapegrad.derive(v["y"], "x", names=v)
    assert v["x"].grad is None
    v["y"].sum().backward()
    assert v["x"].grad is not None


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (lambda v: (torch.ones(2), "x"), TypeError, "loss must be a Tensor of tapegrad's, not torch.Tensor"),
        (lambda v: (v["y"], 3), TypeError, "of must be a Tensor of tapegrad's or a name, not int"),
        (lambda v: (v["y"], "q"), ValueError, "of='q' is no tensor of this tape; there are: e, s, x, y"),
        (lambda v: (v["y"], "x", "q"), ValueError, "start='q' is no tensor"),
        (lambda v: (v["y"], tapegrad.tensor([1.0])), ValueError, "loss does not depend on of, of shape"),
        (lambda v: (v["y"], "y"), ValueError, "is the loss itself"),
        (lambda v: (v["y"], "y", "x"), ValueError, "no gradient flows from start, 'x', to 'y'; leave start out"),
        (lambda v: (v["x"].detach(), "x"), ValueError, "does not require grad"),
    ],
)
def test_what_it_refuses(arguments, error, says):
    v = softmax()
    with pytest.raises(error, match=says):
        tapegrad.derive(*arguments(v), names=v)


def test_a_freed_tape():
    v = softmax()
    v["y"].sum().backward()
    with pytest.raises(tapegrad.FreedTape):
        tapegrad.derive(v["y"], "x", names=v)


def test_where_the_steps_divide_by_zero_the_closed_form_is_finite():
    logits = tapegrad.tensor(torch.tensor([[800.0, 0.0, 1.0]]), requires_grad=True)
    Yb = torch.tensor([1])
    counts = (logits - logits.max(1, keepdim=True).values).exp()
    probs = counts * counts.sum(1, keepdim=True) ** -1
    loss = -probs.log()[range(1), Yb].mean()
    found = tapegrad.derive(loss, logits)
    space: dict = {}
    exec(found.source(), space)
    assert not tapegrad.grad(loss, [logits], retain_graph=True)[0].data.isfinite().all()
    assert space["gradient"](**found.bindings()).equal(torch.tensor([[1.0, -1.0, 0.0]]))


def test_what_has_no_words_is_an_atom():
    x = tapegrad.tensor(torch.randn(4, 6), requires_grad=True)
    W = tapegrad.tensor(torch.randn(6, 6), requires_grad=True)
    for y in (x @ W, x.view(24), torch.relu(x), x[1:3], x[0], x[x.data > 0], x.cumsum(0), x.sort(1).values, x.amax(1)):
        found = tapegrad.derive(y, of=x)
        assert found.check()
        assert found.passes[1] <= found.passes[0]
        assert "def gradient(" in found.source()


def test_long_tapes_end():
    x = tapegrad.tensor(torch.rand(3, 4) + 0.5, requires_grad=True)
    y = x
    for _ in range(60):
        y = torch.tanh(y * 1.01 + 0.01 * x)
    began = time.process_time()
    assert tapegrad.derive(y.sum(), of=x).check()
    assert time.process_time() - began < 30


LONG = {
    "times a number": lambda y, x: y * 1.001,
    "times a tensor": lambda y, x: y * x,
    "plus a tensor": lambda y, x: y + x,
    "tanh": lambda y, x: y.tanh(),
    "normalized": lambda y, x: y / y.sum(1, keepdim=True),
    "squared": lambda y, x: y * y,
}


@pytest.mark.parametrize("kind", LONG)
@pytest.mark.parametrize("n", [300, 1000])
def test_very_long_tapes_neither_hang_nor_recurse(kind, n):
    if n > 300 and kind in ("tanh", "normalized"):
        n = 400
    x = tapegrad.tensor(torch.rand(3, 4) + 0.5, requires_grad=True)
    y = x
    for _ in range(n):
        y = LONG[kind](y, x)
    began = time.process_time()
    found = tapegrad.derive(y.sum(), of=x)
    assert found.source()
    assert found.latex()
    assert str(found)
    assert tapegrad.tape(y.sum()).source(style="closed")
    assert time.process_time() - began < 60


def test_nothing_is_wider_than_a_screen():
    for case in CASES:
        assert max(map(len, str(case.derive(case.run(torch.Generator().manual_seed(7)))).splitlines())) <= 120


def test_a_bias_before_batch_norm_is_called_so():
    case = next(c for c in CASES if c.title == "A bias before batch norm")
    text = str(case.derive(case.run(torch.Generator().manual_seed(7))))
    assert "db = 0: a bias before batch norm: bndiff is without the mean" in text
    assert "= (dbndiff - dbndiff.mean(0)).sum(0)" in text


def test_integer_targets_and_ignored_ones():
    x = tapegrad.tensor(torch.randn(4, 5), requires_grad=True)
    target = torch.tensor([1, -100, 0, 4])
    loss = F.cross_entropy(x, target)
    found = tapegrad.derive(loss, of=x)
    assert found.check()
    space: dict = {}
    exec(found.source(), space)
    theirs = tapegrad.grad(loss, [x], retain_graph=True)[0].data
    torch.testing.assert_close(space["gradient"](**found.bindings()), theirs)


def test_float64_and_other_dtypes():
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        x = tapegrad.tensor(torch.randn(4, 5).to(dtype), requires_grad=True)
        y = x.softmax(1)
        found = tapegrad.derive(y, of=x)
        assert found.check()
        space: dict = {}
        exec(found.source(), space)
        assert space["gradient"](**found.bindings(), dy=torch.ones(4, 5, dtype=dtype)).dtype == dtype
