"""Gradients of gradients."""

from __future__ import annotations

import pytest
import torch

import tapegrad
from tests.helpers import assert_same, ours, randn, raw, theirs

pytestmark = pytest.mark.usefixtures("road")


def test_create_graph():
    mine, yours = ours(randn(3)), theirs(randn(3))
    results = []
    for module, x in ((tapegrad, mine), (torch.autograd, yours)):
        (first,) = module.grad((x**3).sum(), x, create_graph=True)
        assert first.requires_grad
        (second,) = module.grad((first**2).sum(), x, create_graph=True)
        (third,) = module.grad(second.sum(), x)
        results.append([raw(first), raw(second), third])
    assert type(first) is torch.Tensor
    assert_same(*results, "derivatives", rtol=1e-12)


def test_create_graph_gives_tensors_even_of_constants():
    """The gradient of a linear function takes no gradient in its turn, and is a Tensor all the same."""
    x, y, unused = ours(randn(3)), ours(randn(3, seed=1)), ours(randn(3))
    gx, gy, none = tapegrad.grad((x * 2 + y.exp()).sum(), [x, y, unused], create_graph=True, allow_unused=True)
    assert type(gx) is type(gy) is tapegrad.Tensor
    assert not gx.requires_grad
    assert gy.requires_grad
    assert gx.tolist() == [2.0, 2.0, 2.0]
    assert none is None
    assert tapegrad.tape((gx * gy).sum()).leaves == [y]
    (itself,) = tapegrad.grad(x, x, torch.ones(3).double(), create_graph=True)
    assert type(itself) is tapegrad.Tensor
    (plain,) = tapegrad.grad((x * 2).sum(), x)
    assert type(plain) is torch.Tensor


def test_five_derivatives_of_a_sine():
    x = tapegrad.tensor(torch.tensor(0.7, dtype=torch.float64), requires_grad=True)
    y = x.sin()
    for expected in (0.7648421872844885, -0.644217687237691, -0.7648421872844885, 0.644217687237691):
        (y,) = tapegrad.grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(expected, rel=1e-12)


def test_create_graph_leaves_the_tape():
    x = ours(randn(3))
    y = (x**3).sum()
    tapegrad.grad(y, x, create_graph=True)
    y.backward()
    assert x.grad is not None


def test_a_gradient_penalty_reaches_the_weights():
    """The gradient's norm is part of the loss, as in a WGAN."""
    results = []
    for module, wrap in ((tapegrad, ours), (torch.autograd, theirs)):
        x, w = wrap(randn(4, 3)), wrap(randn(3, 2, seed=1))
        out = (x @ w).tanh().sum()
        (g,) = module.grad(out, x, create_graph=True)
        loss = ((g**2).sum(1).sqrt() - 1).square().mean() + out
        loss.backward()
        results.append([w.grad, x.grad])
    assert_same(*results, "gradients", rtol=1e-12)


def test_a_hessian_vector_product():
    mine = ours(randn(4))
    (g,) = tapegrad.grad((mine**4).sum(), mine, create_graph=True)
    (hv,) = tapegrad.grad(g, mine, torch.ones(4, dtype=torch.float64))
    assert_same(hv, 12 * mine.data**2, "12 x^2", rtol=1e-12)


def test_cotangents_are_differentiated():
    x, v = ours(randn(3)), ours(randn(3, seed=1))
    (g,) = tapegrad.grad(x.exp(), x, v, create_graph=True)
    (gv,) = tapegrad.grad(g.sum(), v)
    assert_same(gv, x.data.exp(), "d(v exp x)/dv")
