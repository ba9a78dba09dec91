"""``source(style="closed")``: the whole backward pass, every part of it in its cheapest form."""

from __future__ import annotations

import pytest
import torch

import tapegrad
from examples.makemore.model import PARAMETERS, forward, init_parameters
from tests.helpers import ours
from tests.provers.networks import each_program
from tests.provers.runs import DEPRECATED

pytestmark = DEPRECATED


def run(tape, names, style):
    """The gradients by the source of a style."""
    space = {}
    exec(tape.source(names=names, style=style), space)
    return space["backward"](**tape.bindings(names=names, style=style))


def lecture():
    generator = torch.Generator().manual_seed(1)
    start = init_parameters(27, 64, generator, torch.float32)
    parameters = [tapegrad.tensor(p, requires_grad=True) for p in start]
    X, Y = torch.randint(27, (32, 3), generator=generator), torch.randint(27, (32,), generator=generator)
    v = vars(forward(parameters, X, Y))
    names = {name: value for name, value in v.items() if name != "parameters"}
    return tapegrad.tape(v["loss"], names=names), names


def test_the_lecture_in_forty_lines():
    tape, names = lecture()
    text = tape.source(names=names, style="closed")
    assert len(text.splitlines()) <= 40
    assert "    dlogits = (probs - F.one_hot(Yb, 27)) / 32  # (32, 27)\n" in text
    assert "    db1 = torch.zeros(64)  # (64,)\n" in text
    assert "    # closed forms: equal to the gradients of the pass step by step, but for rounding\n" in text


def test_the_lectures_rows_are_approximately_the_same():
    tape, names = lecture()
    step_by_step = run(tape, names, "exact")
    closed = run(tape, names, "closed")
    assert {*PARAMETERS, "logits", "hprebn"} <= set(closed)
    for name, gradient in closed.items():
        assert tapegrad.Row.of(name, gradient, step_by_step[name]).approximate


@each_program
def test_programs(parameters, loss_of):
    leaves = {name: ours(value.double()) for name, value in parameters().items()}
    loss = loss_of(leaves)
    closed = run(tapegrad.tape(loss, names=leaves), leaves, "closed")
    found = tapegrad.grad(loss, list(leaves.values()), allow_unused=True)
    for (name, leaf), theirs in zip(leaves.items(), found, strict=True):
        if theirs is not None:
            torch.testing.assert_close(closed[name], getattr(theirs, "data", theirs), rtol=1e-7, atol=1e-9)
            assert closed[name].shape == leaf.shape


def test_an_output_that_is_no_number_is_given_its_gradient():
    x = tapegrad.tensor(torch.randn(3, 4), requires_grad=True)
    y = x.softmax(1)
    space: dict = {}
    exec(tapegrad.tape(y).source(style="closed"), space)
    g = torch.randn(3, 4)
    (theirs,) = tapegrad.grad(y, [x], g, retain_graph=True)
    torch.testing.assert_close(space["backward"](dy=g, **tapegrad.tape(y).bindings(style="closed"))["x"], theirs.data)


def test_what_it_does_not_do_is_said():
    x = tapegrad.tensor([1.0, 2.0], requires_grad=True)
    y, z = x.exp(), x.log()
    with pytest.raises(ValueError, match="one output"):
        tapegrad.tape(y, z).source(style="closed")
    with pytest.raises(ValueError, match="forward=True with style='plain'"):
        tapegrad.tape(y).source(style="closed", forward=True)
    with pytest.raises(ValueError, match="plain, exact, closed"):
        tapegrad.tape(y).source(style="shorter")
