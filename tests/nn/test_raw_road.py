"""torch.optim on the raw tensors of leaves: ``p.data.grad`` is ``p.grad``."""

from __future__ import annotations

from operator import methodcaller

import pytest
import torch

import tapegrad
from tests.helpers import randn


def descend(w, parameters, forget, copy, steps=30):
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    for _ in range(steps):
        forget(optimizer)
        (w * w).sum().backward()
        copy()
        optimizer.step()
    return w


def test_the_loop_that_drifted():
    """Gradients used to accumulate for ever: ``zero_grad`` saw one ``grad``, and ``backward`` another."""
    theirs = descend(t := randn(3).requires_grad_(), [t], lambda o: o.zero_grad(), lambda: None)
    for set_to_none in (True, False):
        w = tapegrad.tensor(randn(3), requires_grad=True)

        def copy(w=w):
            w.data.grad = w.grad

        for step in (copy, lambda: None):  # forgetting to copy trained nothing
            w.data = randn(3)
            w.grad = None
            descend(w, [w.data], methodcaller("zero_grad", set_to_none), step)
            assert torch.equal(w.data, theirs.detach())


def test_one_grad():
    t = randn(3)
    w = tapegrad.tensor(t, requires_grad=True)
    (w * 2).sum().backward()
    assert w.data.grad is w.grad
    w.data.grad = None
    assert w.grad is None
    w.grad = randn(3)
    assert w.data.grad is w.grad
    w.data = w.data.clone()
    assert w.data.grad is w.grad
    w.data = randn(4)
    assert w.grad is None is w.data.grad


def test_leaves_of_one_tensor_have_each_their_grad():
    t = randn(3)
    a, b = tapegrad.tensor(t, requires_grad=True), tapegrad.tensor(t)
    b.requires_grad_()
    b.data = a.data
    (a * 2 + b * 3).sum().backward()
    assert (a.grad[0], b.grad[0], t.grad) == (2, 3, None)
    assert a.data.data_ptr() == t.data_ptr() == b.data.data_ptr()


def test_a_fresh_leaf_for_each_step_starts_from_nothing():
    t = randn(3)
    for _ in range(3):
        w = tapegrad.tensor(t, requires_grad=True)
        (w * 2).sum().backward()
        assert w.grad.tolist() == [2.0] * 3


def test_switching_off_and_on_keeps_what_an_optimizer_holds():
    w = tapegrad.tensor(randn(3), requires_grad=True)
    held = w.data
    w.requires_grad_(False).requires_grad_(True)
    assert w.data is held


@pytest.mark.parametrize("inference", [False, True])
def test_a_grad_for_one_that_requires_none(inference):
    with torch.inference_mode(inference):
        w = tapegrad.tensor(randn(3))
        w.grad = randn(3)
        assert w.grad is w.data.grad
