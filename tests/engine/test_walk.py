"""The backward walk: every path counts once, and what it has passed is freed."""

from __future__ import annotations

import pytest
import torch

import tapegrad
from tapegrad import FreedTape
from tests.helpers import assert_program_agrees, assert_same, ours, randn, same_bits, theirs

pytestmark = pytest.mark.usefixtures("road")

# --- graphs ---


def fan_out_twice(a):
    b = a + a
    c = b + b
    return c * c


def diamond(x):
    a, b = x.exp(), x * 3
    return a * b + a / (b * b + 1)


def deep_diamond(x):
    for _ in range(20):
        x = x + x * 0.5 - x.tanh() * x
    return x


def shared_operand(x):
    return x * x + x**2 - x / (x * x + 2) + (x @ x.T).sum()


def skipping(x):
    a = x * 2
    b = a + x
    c = b * a
    return c + x + a


@pytest.mark.parametrize("program", [fan_out_twice, diamond, deep_diamond, shared_operand, skipping])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_path_counts_once(program, dtype):
    assert_program_agrees(program, randn(3, 4, dtype=dtype))


def test_doubling_by_hand():
    a = tapegrad.tensor([1.0, 2.0], requires_grad=True)
    b = a + a
    c = b + b
    c.sum().backward()
    assert a.grad.tolist() == [4.0, 4.0]


def test_a_fan_out_of_a_thousand():
    def program(x):
        y = x.tanh()
        total = y * 0
        for k in range(1000):
            total = total + y * (k / 1000)
        return total

    assert_program_agrees(program, randn(5, dtype=torch.float32))


def test_a_leaf_used_a_thousand_times():
    assert_program_agrees(lambda x: sum((x * k for k in range(1000)), x), randn(5, dtype=torch.float32))


def test_a_chain_of_ten_thousand():
    def program(x):
        for _ in range(5000):
            x = (x * 1.0001).sin()
        return x

    assert_program_agrees(program, randn(3))


def test_the_output_is_a_leaf():
    x = tapegrad.tensor(2.0, requires_grad=True)
    x.backward()
    x.backward()
    assert x.grad.item() == 2.0


def test_unused_leaves_get_no_gradient():
    x, y = ours(randn(3)), ours(randn(3))
    (x * 2).sum().backward()
    assert y.grad is None


def test_constants_get_no_gradient():
    x, c = ours(randn(3)), tapegrad.tensor(randn(3))
    (x * c).sum().backward()
    assert c.grad is None
    assert not c.requires_grad


# --- walking twice ---


def test_a_second_backward_says_what_to_do():
    x = ours(randn(3))
    y = (x * 2).exp().sum()
    y.backward()
    with pytest.raises(FreedTape, match="retain_graph=True"):
        y.backward()


def test_a_backward_into_a_freed_part():
    x = ours(randn(3))
    shared = (x * 2).exp()
    shared.sum().backward()
    with pytest.raises(FreedTape, match="exp"):
        (shared * 3).sum().backward()


def test_a_failed_second_backward_leaves_gradients_alone():
    x = ours(randn(3))
    y = (x * 2).exp().sum()
    y.backward()
    before = x.grad.clone()
    with pytest.raises(FreedTape):
        y.backward()
    assert same_bits(x.grad, before)


def test_retain_graph():
    mine, yours = ours(randn(3)), theirs(randn(3))
    for x in (mine, yours):
        y = (x * 2).exp().sum()
        y.backward(retain_graph=True)
        y.backward(retain_graph=True)
        y.backward()
    assert_same(mine.grad, yours.grad, "gradient")


def test_gradients_of_computed_tensors_do_not_survive():
    """A second walk starts from nothing: micrograd's sums went wrong here."""
    x = ours(randn(3))
    y = (x * 2).exp().sum()
    y.backward(retain_graph=True)
    first, x.grad = x.grad, None
    y.backward()
    assert same_bits(first, x.grad)
