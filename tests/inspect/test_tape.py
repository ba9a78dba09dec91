"""A tape to study: its own backward keeps every gradient and the records, for all that looks at it afterwards."""

from __future__ import annotations

import itertools

import pytest
import torch

import tapegrad
from examples.makemore.compare import ROWS
from examples.makemore.model import forward, init_parameters
from tests.helpers import assert_same, ours, randn


def lecture():
    generator = torch.Generator().manual_seed(1)
    parameters = [tapegrad.tensor(p, requires_grad=True) for p in init_parameters(27, 8, generator, torch.float32)]
    Xb, Yb = torch.randint(0, 27, (8, 3), generator=generator), torch.randint(0, 27, (8,), generator=generator)
    return vars(forward(parameters, Xb, Yb))


def test_every_gradient_is_kept_and_equals_the_walk_s():
    v = lecture()
    wanted = [v[name] for name in ROWS]
    truth = tapegrad.grad(v["loss"], wanted, retain_graph=True)
    tape = tapegrad.tape(v["loss"], names=v)
    tape.backward()
    for name, theirs in zip(ROWS, truth, strict=True):
        assert_same(tape.grad(name), theirs, name)
        assert_same(tape.grad(v[name]), theirs, name)
    assert_same(v["C"].grad, truth[-1], "C")
    assert set(tape.gradients) == {*tape, *tape.leaves}


USES = {
    "print": lambda v, tape: str(tape),
    "draw": lambda v, tape: tapegrad.viz.draw(tape, names=v, values=True).source,
    "source": lambda v, tape: tape.source(names=v),
    "compare": lambda v, tape: str(tapegrad.compare(tape)),
    "derive": lambda v, tape: str(tapegrad.derive(tape, of="logits", names=v)),
}


@pytest.mark.parametrize("first", USES)
def test_all_that_reads_a_tape_reads_it_before_and_after_twice_in_any_order(first):
    v = lecture()
    tape = tapegrad.tape(v["loss"], names=v)
    before = {name: use(v, tape) for name, use in USES.items() if name in (first, "print")}
    tape.backward()
    order = [first, *[name for name in USES if name != first]]
    results = [{name: USES[name](v, tape) for name in some} for some in (order, order[::-1])]
    assert results[0] == results[1]
    tape.backward()
    assert before.keys() <= results[0].keys()
    assert "‖grad‖" in results[0]["print"]
    assert "exact: False" not in results[0]["compare"]


def test_grad_is_accumulated_as_ever_and_hooks_run():
    x = ours(randn(3))
    y = x * x
    seen = []
    y.register_hook(seen.append)
    y.retain_grad()
    tape = tapegrad.tape(y.sum())
    tape.backward()
    tape.backward()
    assert len(seen) == 2
    assert_same(x.grad, 4 * x.data, "x")
    assert_same(y.grad, torch.full((3,), 2.0, dtype=torch.float64), "y")
    assert_same(tape.grad(x), 2 * x.data, "x, of the tape")
    x.grad.zero_()
    assert tape.grad(x).any()


def test_several_outputs_and_cotangents():
    x = ours(randn(3))
    y, z = x.exp(), x.sin()
    tape = tapegrad.tape(y, z)
    g = [randn(3, seed=1), randn(3, seed=2)]
    tape.backward(g)
    assert_same(tape.grad(x), g[0] * x.data.exp() + g[1] * x.data.cos(), "x", rtol=1e-12)
    with pytest.raises(RuntimeError, match="2 outputs but 1"):
        tape.backward(g[:1])
    with pytest.raises(RuntimeError, match="scalar outputs"):
        tape.backward()
    with pytest.raises(RuntimeError, match="must match its tensor"):
        tape.backward([g[0], g[1].float()])


def test_what_is_not_there_is_said():
    x, other = ours(randn(3)), ours(randn(3))
    tape = tapegrad.tape(x.exp().sum())
    with pytest.raises(RuntimeError, match=r"backward\(\) first"):
        tape.grad("x")
    tape.backward()
    with pytest.raises(ValueError, match=r"called 'q'; there are: x"):
        tape.grad("q")
    with pytest.raises(ValueError, match="not on the tape"):
        tape.grad(other)
    with pytest.raises(TypeError, match="a name, not int"):
        tape.grad(3)


def test_after_loss_backward_the_tape_says_that_it_was_freed():
    x = ours(randn(3))
    loss = x.exp().sum()
    tape = tapegrad.tape(loss)
    loss.backward()
    for use in (tape.backward, tape.source, lambda: tapegrad.compare(tape)):
        with pytest.raises(tapegrad.FreedTape, match="freed by an earlier backward"):
            use()


def test_orders():
    x = ours(randn(2, 2))
    y = x.exp()
    loss = (y / y.sum(1, keepdim=True)).log().sum()
    for order in itertools.permutations([str, tapegrad.compare, lambda t: t.source(), lambda t: t.backward()]):
        tape = tapegrad.tape(loss)
        for use in (*order, *order):
            use(tape)
