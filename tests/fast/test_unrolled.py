"""Roads that are written out do what the walk does, on tapes of their structure and on no others."""

from __future__ import annotations

import pytest
import torch
from torch.overrides import TorchFunctionMode

import tapegrad
from tapegrad.engine.table import rule
from tapegrad.fast import roads
from tests.fast.roads import written
from tests.helpers import assert_same, ours, randn, theirs


@rule(x=lambda g: torch.zeros_like(g))
def stopped(x):
    """Its rule says zeros."""
    return x * 1


def two_rows(x, y, c):
    return x * c[0] + y * c[0] + x


def taken_apart(x, y, c):
    a, b = x.split(2)
    first, *_, last = y.unbind(0)
    return (a * b).sum() + (first * last * c[0]).sum() + x[:, :2].sum() + x[1:].sum() + x[:1].sum()


def joined(x, y, c):
    return torch.cat([x, c, y, x], 0).exp() * torch.stack([x, y]).sum()


def mixed(x, y, c):
    return (x.float() * y + c.double()).sum() * x.half().double().mean()


def stops(x, y, c):
    stop = stopped if isinstance(x, tapegrad.Tensor) else torch.Tensor.detach
    return stop(x * 2) + stop(y) * y + c + x**0 + stop(x) * stop(y)


def changed(x, y, c):
    z = x * 2
    z += y
    z[0] = c[0]
    return z * z


def indexed(x, y, c):
    return (x[[0, 0, 1]] * y[torch.tensor([1, 1, 2])]).max(1).values + c[:3, 0]


def passed_on(x, y, c):
    return (x + y) + c


PROGRAMS = [two_rows, taken_apart, joined, mixed, stops, changed, indexed, passed_on]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("retain", [False, True])
def test_a_road_gives_the_gradients_of_the_walk(program, retain):
    """The first two walks are walked, the others written out; all add to the same gradients."""
    data = [randn(4, 3, seed=i) for i in range(3)]
    mine, yours = [ours(d) for d in data], [theirs(d) for d in data]
    for i in range(5):
        out = program(*mine)
        v = randn(*out.shape, seed=i, dtype=out.dtype)
        out.backward(v, retain_graph=retain)
        program(*yours).backward(v)
        for x, y in zip(mine, yours, strict=True):
            assert_same(x.grad, y.grad, "gradient")
        if retain:
            out.backward(v)
            program(*yours).backward(v)
        with pytest.raises(tapegrad.FreedTape):
            out.backward(v)
        assert written(out.record.op) == (i >= (1 if retain else 2))


def walks(out, *leaves):
    """Gradients of the leaves, added to some that are there already, so that the order of a sum shows."""
    for i, x in enumerate(leaves):
        x.grad = randn(*x.shape, seed=50 + i)
    out().sum().backward()
    return [x.grad.clone() for x in leaves]


a, b, c = ours(randn(3)), ours(randn(3, seed=1)), ours(randn(3, seed=2))


PAIRS = {
    "the same leaf twice": (lambda: a * b, lambda: a * a),
    "the same record twice": (lambda: a.exp() * b.exp(), lambda: (e := a.exp()) * e),
    "two records for one": (lambda: (e := a.exp()) * e, lambda: a.exp() * a.exp()),
    "the same leaf twice, and once more": (lambda: a * b + c, lambda: a * a + a),
    "a constant": (lambda: a * b, lambda: a * b.detach()),
    "a leaf for a record": (lambda: a * b.exp(), lambda: a * b),
    "a record for a leaf": (lambda: a * b, lambda: a * b.exp()),
    "another op": (lambda: a.exp() * b, lambda: a.sin() * b),
    "more tensors": (lambda: torch.cat([a, b]), lambda: torch.cat([a, b, c])),
    "fewer tensors": (lambda: torch.cat([a, b, c]), lambda: torch.cat([a, b])),
    "other places among tensors": (lambda: torch.cat([a, b.detach()]), lambda: torch.cat([a.detach(), b])),
    "another shape": (lambda: a * 2 + b, lambda: a[:1] * 2 + b),
    "another number": (lambda: a**2, lambda: a**3),
    "a number for a tensor": (lambda: a * b.detach(), lambda: a * 2),
    "a deeper tape": (lambda: a.exp(), lambda: a.exp().exp()),
}


@pytest.mark.parametrize("name", PAIRS)
def test_another_tape_is_not_taken_for_the_one_that_is_written(name):
    one, other = PAIRS[name]
    expected = walks(other, a, b, c)
    roads.forget()
    for _ in range(4):
        walks(one, a, b, c)
    assert any(written(op) for op in roads._met)
    for found, right in zip(walks(other, a, b, c), expected, strict=True):
        assert_same(found, right, name)


def test_gradients_are_summed_in_the_order_of_the_tape_at_hand():
    """The same ops, but run in another order: three gradients of x, which do not add up to the same in any order."""
    data = torch.full((1,), 1.0, dtype=torch.float32)

    def program(x, order):
        made = {}
        for k in order:
            made[k] = x * (0.1, 1e8, -1e8)[k]
        return (made[0] + made[1]) + made[2]

    for order in [(0, 1, 2)] * 4 + [(2, 1, 0), (1, 0, 2), (0, 2, 1)]:
        x, y = ours(data), theirs(data)
        program(x, order).backward()
        program(y, order).backward()
        assert_same(x.grad, y.grad, f"order {order}")


def test_a_sequence_may_hold_what_stands_beside_it():
    @rule(xs=lambda g: [g, g * 2], y=lambda g: g * 3)
    def op(xs, y):
        return xs[0] + xs[1] * 2 + y * 3

    x, y = ours(randn(3)), ours(randn(3))
    h = lambda: x.exp()
    for program in (lambda: op([x, y], x), lambda: op([y, (e := h())], e), lambda: op([h(), y], h())):
        x.grad = y.grad = None
        program().sum().backward()
        expected = x.grad, y.grad
        for _ in range(4):
            x.grad = y.grad = None
            program().sum().backward()
            assert_same((x.grad, y.grad), expected, "gradients")


def test_hooks_run():
    x = ours(randn(3))
    seen = []
    for i in range(6):
        h = x.exp()
        out = (h * h).sum()
        if i > 3:
            h.register_hook(seen.append)
            x.register_hook(seen.append)
        out.backward()
    assert len(seen) == 2 + 3  # of the two records, and of the leaf, which keeps its first


def test_a_retained_gradient_is_left():
    x = ours(randn(3))
    for i in range(5):
        h = x.exp()
        if i == 4:
            h.retain_grad()
        (h * h).sum().backward()
    assert_same(h.grad, (2 * h).data, "h.grad")


def test_anomaly_mode_looks_on():
    x = tapegrad.tensor([0.0], requires_grad=True)
    for _ in range(4):
        x.sqrt().sum().backward()
    with pytest.raises(tapegrad.Anomaly, match="sqrt"), tapegrad.detect_anomaly():
        x.sqrt().sum().backward()


def test_inputs_are_the_walks_business():
    x, y = ours(randn(3)), ours(randn(3))
    for _ in range(4):
        (x * y).sum().backward()
    x.grad = y.grad = None
    (x * y).sum().backward(inputs=[x])
    assert y.grad is None


def test_a_change_in_place_is_noticed():
    x = ours(randn(3))
    for i in range(5):
        h = x * 2
        out = (h.exp() * h).sum()
        if i == 4:
            h.data += 1
            with pytest.raises(tapegrad.StaleTensor, match=r"mul needs its other, of shape \(3,\)"):
                out.backward()
        else:
            out.backward()


def test_a_leaf_that_takes_no_gradient_any_more_gets_none():
    x, y = ours(randn(3)), ours(randn(3))
    for i in range(5):
        x.grad = None
        out = (x * y).sum()
        x.requires_grad = i < 4
        out.backward()
        assert (x.grad is None) == (i == 4)
        x.requires_grad = True


def test_a_leaf_that_was_changed_in_place_is_refused():
    x, y = tapegrad.tensor(torch.ones(3), requires_grad=True), tapegrad.tensor(torch.ones(3), requires_grad=True)
    for i in range(5):
        out = (x * 2 + y).sum()
        if i == 4:
            x.requires_grad = False
            x += y
            with pytest.raises(RuntimeError, match="changed in place after it was used"):
                out.backward()
        else:
            out.backward()


def test_gradients_are_nobody_elses():
    x, y = ours(randn(3)), ours(randn(3))
    v = torch.ones(3, dtype=torch.float64)
    for _ in range(4):
        x.grad = y.grad = None
        (x + y).backward(v)
        x.grad += 1
        y.grad += 1
        assert v.tolist() == [1, 1, 1]
        assert x.grad.tolist() == y.grad.tolist() == [2, 2, 2]


@pytest.mark.parametrize("program", [torch.sum, torch.t])
def test_gradients_are_contiguous(program):
    x = ours(randn(3, 2))
    for _ in range(4):
        x.grad = None
        out = program(x)
        out.backward(torch.ones(out.shape, dtype=out.dtype))
        assert x.grad.is_contiguous()


def test_all_are_copied_before_any_is_left():
    x, y = ours(randn(2)), ours(randn(2))
    for _ in range(4):
        x.grad, y.grad = torch.ones(2, dtype=torch.float64), None
        (x + y).backward(x.grad)
        assert (x.grad.tolist(), y.grad.tolist()) == ([2, 2], [1, 1])


def test_nothing_is_copied_without_need():
    class Counting(TorchFunctionMode):
        clones = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.clones += func is torch.Tensor.clone
            return func(*args, **(kwargs or {}))

    @rule(xs=lambda g: [g * 2, g * 3])
    def op(xs):
        return xs[0] * 2 + xs[1] * 3

    x, y = ours(randn(3)), ours(randn(3))
    for _ in range(4):
        x.grad = y.grad = None
        out = (op([x, y]) + x * y).sum()
        with Counting() as counting:
            out.backward()
        assert counting.clones == 0
