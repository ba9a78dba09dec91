"""Gradients add up in torch's order, on leaves that share no memory with anything else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

from tapegrad import compare
from tapegrad.engine.gradients import LARGE
from tests.helpers import assert_grads_agree, assert_program_agrees, assert_same, ours, randn, raw, same_bits, theirs

pytestmark = pytest.mark.usefixtures("road")


BINARY = [lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a - b, lambda a, b: a / (b * b + 1), lambda a, b: a @ b]
UNARY = [
    lambda a: a.tanh(), lambda a: a.exp() * 0.1, lambda a: -a, lambda a: a * a, lambda a: a.sum(0, keepdim=True) + a,
    lambda a: a - a.max(1, keepdim=True).values, lambda a: a[[0, 2, 2, 1]], lambda a: a.T, lambda a: a.clone(),
    lambda a: a.view(-1).view(4, 4), lambda a: a[:, :2].sum() + a, lambda a: a.mean(1) + a,
]  # fmt: skip
step = st.tuples(st.integers(0, len(BINARY) + len(UNARY) - 1), st.integers(0, 30), st.integers(0, 30))


@given(steps=st.lists(step, min_size=1, max_size=25), used=st.lists(st.integers(0, 30), min_size=1, max_size=4))
def test_random_graphs_accumulate_in_torchs_order(steps, used):
    """Sums of three or more floating point numbers depend on their order: equal bits mean the same order."""

    def program(*leaves):
        values = list(leaves)
        for which, i, j in steps:
            a, b = values[i % len(values)], values[j % len(values)]
            values.append(BINARY[which](a, b) if which < len(BINARY) else UNARY[which - len(BINARY)](a))
        total = values[-1]
        for k in used:
            total = total + values[k % len(values)]
        return total

    data = [randn(4, 4, dtype=torch.float32, seed=s) * 0.5 for s in (1, 2)]
    mine, yours = [ours(d) for d in data], [theirs(d) for d in data]
    a, b = program(*mine), program(*yours)
    assert_same(raw(a), raw(b), "value")
    v = randn(4, 4, dtype=torch.float32)
    a.backward(v)
    b.backward(v)
    assert_grads_agree(mine, yours)


def test_gradients_accumulate_over_backwards():
    mine, yours = ours(randn(3)), theirs(randn(3))
    for k in range(3):
        for x in (mine, yours):
            (x**2 * (k + 0.3)).sum().backward()
    assert same_bits(mine.grad, yours.grad)


def test_an_existing_gradient_is_added_to():
    x = ours(randn(3))
    x.grad = torch.full((3,), 10.0, dtype=torch.float64)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [12.0, 12.0, 12.0]


def test_a_gradient_is_a_plain_tensor():
    x = ours(randn(3))
    (x * 2).sum().backward()
    assert type(x.grad) is torch.Tensor
    assert not x.grad.requires_grad


ALIASING = {
    "identity": lambda x, y: x + y,
    "clone": lambda x, y: x.clone() + y.clone(),
    "expand": lambda x, y: (x.sum() + y.sum()).expand(3, 3),
    "view": lambda x, y: (x + y).view(9).view(3, 3),
    "transpose": lambda x, y: (x.T + y.T).T,
    "slices": lambda x, y: torch.cat([x[:1] + y[:1], (x + y)[1:]]),
    "cat": lambda x, y: torch.cat([x, y])[:3] + torch.cat([x, y])[3:],
    "stack": lambda x, y: torch.stack([x, y]).sum(0),
}


@pytest.mark.parametrize("name", ALIASING)
def test_no_gradient_shares_memory_with_another(name):
    """Two leaves, and the caller's cotangent: writing into one changes no other."""
    x, y = ours(randn(3, 3)), ours(randn(3, 3, seed=1))
    out = ALIASING[name](x, y)
    v = torch.ones(3, 3, dtype=torch.float64)
    out.backward(v)
    x.grad.add_(100)
    x.grad.mul_(3)
    assert v.max() == 1
    assert y.grad.max() <= 9
    y.grad.zero_()
    assert x.grad.min() >= 300
    v.zero_()
    assert x.grad.min() >= 300


@pytest.mark.parametrize("name", ALIASING)
def test_every_gradient_can_be_written_element_by_element(name):
    """No expanded view with strides of 0 is left on a leaf: ``p.grad[0, 0] = ...`` changes one element."""
    x, y = ours(randn(3, 3)), ours(randn(3, 3, seed=1))
    ALIASING[name](x, y).sum().backward()
    before = x.grad.clone()
    x.grad[0, 0] += 5
    assert (x.grad != before).sum() == 1


def test_a_leafs_gradient_survives_the_next_backward():
    x = ours(randn(3))
    (x * 2).sum().backward()
    first = x.grad
    kept = first.clone()
    x.grad = None
    (x * 5).sum().backward()
    assert same_bits(first, kept)
    assert x.grad is not first


def test_the_cotangent_of_a_leaf_is_copied():
    x = ours(randn(3))
    v = randn(3, seed=1)
    x.backward(v)
    v.zero_()
    assert x.grad.abs().min() > 0


@pytest.mark.parametrize("make", [lambda x: x.T, lambda x: x[:, ::2], lambda x: x.expand(2, 3, 4), lambda x: x])
def test_gradients_of_leaves_in_any_layout(make):
    assert_program_agrees(lambda x: x * 2 + x.sum(), make(randn(3, 4)))


@pytest.mark.parametrize(
    ("program", "copies"),
    [(lambda x, y: x * y, 0), (lambda x, y: x @ y, 0), (lambda x, y: x + y, 2), (lambda x, y: (x + y) * 2, 1)],
)
def test_a_leafs_gradient_is_copied_only_where_it_is_shared(program, copies):
    class Counting(TorchFunctionMode):
        clones = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.clones += func is torch.Tensor.clone
            return func(*args, **(kwargs or {}))

    x, y = ours(randn(3, 3)), ours(randn(3, 3))
    out = program(x, y)
    with Counting() as counting:
        out.backward(torch.ones(3, 3, dtype=out.dtype))
    assert counting.clones == copies
    assert x.grad.data_ptr() != y.grad.data_ptr()


def test_gradients_of_a_walk_in_inference_mode_share_nothing():
    x, y, w = ours(torch.ones(1, 2)), ours(torch.ones(2)), torch.tensor([3.0, 4.0])
    for _ in range(2):
        loss = ((x.view(2) + y) * w).sum()
        with torch.inference_mode():
            loss.backward()
    assert x.grad.tolist() == [[6.0, 8.0]]
    assert y.grad.tolist() == [6.0, 8.0]


def test_a_hook_that_removes_itself_keeps_a_gradient_of_its_own():
    x, seen = ours(randn(3)), []

    def hook(g):
        seen.append(g)
        handle.remove()

    handle = x.register_hook(hook)
    (x * 2).sum().backward()
    assert seen[0].data_ptr() != x.grad.data_ptr()


@pytest.mark.parametrize("size", [3, LARGE])
def test_a_sum_in_place_changes_nobody_elses_gradient(size):
    """Large sums are made in place where the buffer is nobody else's: here others hold it, each in its own way."""

    def program(x):
        d = x * 1.0
        centred = d - 3.0  # its gradient is passed on to d unchanged
        return d, centred, (centred**3 + centred).sum() + (d * d).sum()

    held = []
    x, y = ours(randn(size)), theirs(randn(size))
    for _ in range(4):
        d, centred, loss = program(x)
        their_d, their_centred, their_loss = program(y)
        their_centred.retain_grad()
        their_d.retain_grad()
        loss.backward(retain_graph=True)
        assert compare(loss, {"x": x, "d": d, "centred": centred}).exact
        centred.register_hook(held.append)
        d.register_hook(held.append)
        loss.backward()
        their_loss.backward(retain_graph=True)
        their_loss.backward()
        assert_same(held.pop() * 2, their_d.grad, "d")
        assert_same(held.pop() * 2, their_centred.grad, "centred")
        assert_same(x.grad, y.grad, "x")


@pytest.mark.parametrize("size", [3, LARGE])
def test_a_cotangent_of_the_users_is_not_added_to(size):
    x = ours(randn(size))
    for _ in range(4):
        v = randn(size, seed=1)
        (x.reshape(size) + x * 1.0).backward(v)
        assert_same(v, randn(size, seed=1), "the cotangent")


@pytest.mark.parametrize(
    "make", [lambda: torch.zeros(1).double().expand(3), "inference"], ids=["expanded", "inference"]
)
def test_a_gradient_that_cannot_be_added_to_leaves_all_as_they_were(make):
    a, b, c = ours(randn(3)), ours(randn(3)), ours(randn(3))
    a.grad = torch.zeros(3).double()
    if make == "inference":
        with torch.inference_mode():
            b.grad = torch.zeros(3).double()
    else:
        b.grad = make()
    with pytest.raises(RuntimeError, match=r"nothing can be added in place to grad.*set grad = grad.clone\(\) first"):
        (a + b + c).sum().backward()
    assert a.grad.tolist() == [0.0] * 3
    assert c.grad is None
    b.grad = b.grad.clone()
    (a + b + c).sum().backward()
    assert a.grad.tolist() == b.grad.tolist() == c.grad.tolist() == [1.0] * 3
