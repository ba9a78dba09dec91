"""``tapegrad.grad``."""

from __future__ import annotations

import pytest
import torch

import tapegrad
from tapegrad import FreedTape
from tests.helpers import assert_same, ours, randn, same_bits, theirs

pytestmark = pytest.mark.usefixtures("road")


def test_grad_returns_and_leaves_grad_alone():
    x, y = ours(randn(3)), ours(randn(3, seed=1))
    gx, gy = tapegrad.grad((x * y).sum(), [x, y])
    assert same_bits(gx, y.data)
    assert same_bits(gy, x.data)
    assert x.grad is None
    assert y.grad is None
    assert type(gx) is torch.Tensor


def test_grad_of_one_input_is_a_tuple():
    x = ours(randn(3))
    (g,) = tapegrad.grad((x * 2).sum(), x)
    assert g.tolist() == [2.0, 2.0, 2.0]


def test_grad_of_a_repeated_input():
    x = ours(randn(3))
    a, b = tapegrad.grad((x * 2).sum(), [x, x])
    assert same_bits(a, b)


def test_grad_of_a_computed_input():
    x = ours(randn(3))
    y = x * 2
    gy, gx = tapegrad.grad(y.exp().sum(), [y, x])
    assert_same(gy, y.data.exp(), "gradient of y")
    assert_same(gx, gy * 2, "gradient of x")


def test_grad_of_the_output_itself():
    x = ours(randn())
    y = x * 2
    (g,) = tapegrad.grad(y, y)
    assert g.item() == 1.0


def test_grad_of_an_unused_input():
    x, y = ours(randn(3)), ours(randn(2, 2))
    with pytest.raises(RuntimeError, match=r"inputs\[1\], of shape \(2, 2\).*allow_unused=True"):
        tapegrad.grad((x * 2).sum(), [x, y])
    gx, gy = tapegrad.grad((x * 2).sum(), [x, y], allow_unused=True)
    assert gy is None
    assert gx is not None


def test_grad_of_several_outputs():
    mine, yours = ours(randn(3)), theirs(randn(3))
    v = [randn(3, seed=1), None]
    gradients = [
        module.grad([x * x, x.exp().sum()], [x], v)[0]
        for module, x in ((tapegrad, mine), (torch.autograd, yours))
    ]  # fmt: skip
    assert_same(*gradients, "gradient")


def test_grad_of_an_output_that_another_depends_on():
    mine, yours = ours(randn(3)), theirs(randn(3))
    results = []
    for module, x in ((tapegrad, mine), (torch.autograd, yours)):
        a = x * x
        b = a.exp()
        results.append(module.grad([a, b], [x, a], [randn(3, seed=1), randn(3, seed=2)]))
    assert_same(list(results[0]), list(results[1]), "gradients")


def test_grad_of_a_repeated_output():
    x = ours(randn())
    y = x * 3
    (g,) = tapegrad.grad([y, y], [x])
    assert g.item() == 6.0


def test_grad_outputs_must_match():
    x = ours(randn(3))
    with pytest.raises(RuntimeError, match="1 outputs but 2"):
        tapegrad.grad(x.sum(), x, [None, None])
    with pytest.raises(RuntimeError, match="expected"):
        tapegrad.grad(x * 2, x, torch.ones(2))


def test_grad_frees_the_tape_as_torch_does():
    x = ours(randn(3))
    y = (x * x).sum()
    tapegrad.grad(y, x)
    with pytest.raises(FreedTape):
        tapegrad.grad(y, x)
    y = (x * x).sum()
    tapegrad.grad(y, x, retain_graph=True)
    tapegrad.grad(y, x)


def test_results_of_grad_share_no_memory():
    x, y = ours(randn(3)), ours(randn(3))
    v = torch.ones(3, dtype=torch.float64)
    gx, gy = tapegrad.grad(x + y, [x, y], v)
    gx.zero_()
    assert gy.min() == v.min() == 1


@pytest.mark.parametrize("outputs", [torch.ones(2), ["loss"], "loss", {"loss": 1}, [None], torch.ones(2).double() + 1])
def test_outputs_that_are_no_tensors_of_ours(outputs):
    x = ours(randn(3))
    with pytest.raises(TypeError, match=r"^grad: an output is no Tensor of tapegrad's, but of <class '\w+(\.\w+)?'>$"):
        tapegrad.grad(outputs, x)


def test_no_outputs():
    x = ours(randn(3))
    with pytest.raises(RuntimeError, match=r"^grad: outputs is empty"):
        tapegrad.grad([], x)
