"""The walk and torch's grad modes."""

from __future__ import annotations

import pytest
import torch

import tapegrad
from tests.helpers import ours, randn

pytestmark = pytest.mark.usefixtures("road")


def test_nothing_is_recorded_under_no_grad():
    x = ours(randn(3))
    with torch.no_grad():
        y = x * 2
        with torch.enable_grad():
            z = x * 3
    assert not y.requires_grad
    assert y.is_leaf
    assert z.requires_grad


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_grad_modes_as_decorators(mode):
    x = ours(randn(3))

    @mode()
    def evaluate():
        return x * 2

    assert not evaluate().requires_grad


def test_backward_works_under_no_grad():
    x = ours(randn(3))
    y = (x * 2).sum()
    with torch.no_grad():
        y.backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_backward_leaves_the_grad_mode_alone():
    x = ours(randn(3))
    y = (x * 2).sum()
    y.backward(retain_graph=True)
    assert torch.is_grad_enabled()
    with torch.no_grad():
        tapegrad.grad(y, x, create_graph=True)
        assert not torch.is_grad_enabled()
