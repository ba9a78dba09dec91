"""Where a backward pass starts, and ``backward(inputs=)``."""

from __future__ import annotations

import pytest
import torch

import tapegrad
from tests.helpers import assert_same, ours, randn, same_bits, theirs

pytestmark = pytest.mark.usefixtures("road")


# --- starting points ---


def test_a_cotangent_can_be_given():
    mine, yours = ours(randn(2, 3)), theirs(randn(2, 3))
    v = randn(2, 3, seed=1)
    for x in (mine, yours):
        (x * x).backward(v)
    assert_same(mine.grad, yours.grad, "gradient")
    third = ours(randn(2, 3))
    (third * third).backward(gradient=tapegrad.tensor(v))
    assert_same(third.grad, yours.grad, "gradient from a Tensor as cotangent")


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_element_needs_no_cotangent(shape):
    x = ours(randn(*shape))
    (x * 3).backward()
    assert x.grad.flatten().tolist() == [3.0]
    assert x.grad.shape == shape


def test_several_elements_need_a_cotangent():
    with pytest.raises(RuntimeError, match=r"scalar outputs.*\(3,\)"):
        (ours(randn(3)) * 2).backward()


@pytest.mark.parametrize(
    "v", [torch.ones(2, dtype=torch.float64), torch.ones(3, 1, dtype=torch.float64), torch.ones(3, dtype=torch.float32)]
)
def test_a_cotangent_must_fit(v):
    with pytest.raises(RuntimeError, match=r"expected \(3,\) torch.float64"):
        (ours(randn(3)) * 2).backward(v)


def test_backward_from_a_constant():
    with pytest.raises(RuntimeError, match="does not require grad"):
        tapegrad.tensor(1.0).backward()
    with torch.no_grad():
        y = ours(randn(3)).sum()
    with pytest.raises(RuntimeError, match="does not require grad"):
        y.backward()


# --- backward(inputs=) ---


def test_inputs_get_gradients_and_others_do_not():
    x, y = ours(randn(3)), ours(randn(3))
    (x * y).sum().backward(inputs=[x])
    assert same_bits(x.grad, y.data)
    assert y.grad is None


def test_a_single_input():
    x, y = ours(randn(3)), ours(randn(3))
    (x * y).sum().backward(inputs=x)
    assert x.grad is not None
    assert y.grad is None


def test_computed_inputs_get_their_gradient():
    mine, yours = ours(randn(3)), theirs(randn(3))
    grads = []
    for x in (mine, yours):
        y = x * 2
        y.exp().sum().backward(inputs=[y])
        if x is yours:
            y.retain_grad()
        grads.append(y.grad if x is mine else torch.autograd.grad((y * 1).exp().sum(), y)[0])
    assert_same(*grads, "gradient of y")
    assert mine.grad is None


def test_a_computed_inputs_gradient_is_not_the_cotangent():
    x = ours(randn(3))
    y = x * 2
    v = torch.ones(3, dtype=torch.float64)
    y.backward(v, inputs=[y, x])
    v.zero_()
    y.grad.mul_(5)
    assert y.grad.tolist() == [5.0, 5.0, 5.0]
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_inputs_must_be_there_and_require_grad():
    x = ours(randn(3))
    with pytest.raises(RuntimeError, match="empty"):
        (x * 2).sum().backward(inputs=[])
    with pytest.raises(RuntimeError, match=r"inputs\[1\].*does not require grad"):
        (x * 2).sum().backward(inputs=[x, tapegrad.tensor(1.0)])


def test_only_the_paths_to_the_inputs_are_walked():
    """The rule of ``y``'s side would raise: it is never called."""

    @tapegrad.rule(x=lambda g: 1 / 0)
    def explosive(x):
        return x * 1

    x, y = ours(randn(3)), ours(randn(3))
    loss = (x * 2 + explosive(y)).sum()
    loss.backward(inputs=[x], retain_graph=True)
    assert x.grad.tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(ZeroDivisionError):
        loss.backward()
