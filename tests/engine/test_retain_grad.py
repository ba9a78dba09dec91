"""Gradients that computed tensors keep."""

from __future__ import annotations

import warnings

import pytest
import torch

import tapegrad
from tests.helpers import assert_same, ours, randn, theirs

pytestmark = pytest.mark.usefixtures("road")


def test_retain_grad():
    x = ours(randn(3))
    y = x * 2
    z = y.exp()
    y.retain_grad()
    assert y.retains_grad
    assert not z.retains_grad
    z.sum().backward()
    assert y.grad is not None
    with pytest.warns(UserWarning, match=r"only if you call retain_grad\(\) first"):
        assert z.grad is None
    assert_same(y.grad, z.data, "gradient of y")


def test_reading_a_gradient_that_no_walk_leaves_warns():
    """Where torch warns, and nowhere else."""
    for x, c in ((ours(randn(3)), ours(randn(3), False)), (theirs(randn(3)), theirs(randn(3), False))):
        y, z, constant = x * 2, x * 3, c * 2
        y.retain_grad()
        with pytest.warns(UserWarning, match="grad"):
            assert z.grad is None
        z.grad = torch.ones(3).double()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert all(t.grad is None for t in (x, c, y, constant))
            assert z.grad.tolist() == [1.0, 1.0, 1.0]


def test_retained_gradients_accumulate_as_torchs_do():
    mine, yours = ours(randn(3)), theirs(randn(3))
    grads = []
    for x in (mine, yours):
        y = x * 2
        y.retain_grad()
        z = y.exp().sum()
        z.backward(retain_graph=True)
        z.backward()
        grads.append(y.grad)
    assert_same(*grads, "retained gradient after two backwards")
    assert_same(mine.grad, yours.grad, "gradient of the leaf")


def test_retain_grad_after_use_and_twice():
    x = ours(randn(3))
    y = x * 2
    z = y.exp().sum()
    y.retain_grad()
    y.retain_grad()
    z.backward()
    assert_same(y.grad, y.data.exp(), "gradient of y")


def test_a_retained_gradient_shares_no_memory():
    x = ours(randn(3))
    a = x + 0.0
    b = a.clone()
    c = b + 0.0
    for t in (a, b, c):
        t.retain_grad()
    v = torch.ones(3, dtype=torch.float64)
    c.backward(v)
    a.grad.zero_()
    assert b.grad.min() == c.grad.min() == x.grad.min() == v.min() == 1


def test_retain_grad_of_a_dropped_tensor_costs_nothing():
    x = ours(randn(3))
    y = x * 2
    y.retain_grad()
    z = y.sum()
    del y
    z.backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_retain_grad_on_a_leaf_does_nothing():
    x = ours(randn(3))
    x.retain_grad()
    assert not x.retains_grad
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_retain_grad_needs_grad():
    with pytest.raises(RuntimeError, match="requires_grad"):
        tapegrad.tensor(1.0).retain_grad()


def test_the_loss_itself_can_retain_its_gradient():
    x = ours(randn(3))
    loss = (x * 2).sum()
    loss.retain_grad()
    loss.backward()
    assert loss.grad.item() == 1.0
