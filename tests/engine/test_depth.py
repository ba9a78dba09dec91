"""Tapes as long or as wide as memory allows: nothing recurses, and work is linear."""

from __future__ import annotations

import sys
from weakref import ref

import pytest
import torch

import tapegrad
from tests.engine.networks import alive
from tests.helpers import ours, randn

pytestmark = pytest.mark.usefixtures("road", "no_collector")


@pytest.mark.parametrize("walk", [True, False])
def test_a_chain_of_a_hundred_thousand(walk):
    """Walking and dropping it recurse nowhere, also under a low recursion limit."""
    limit = sys.getrecursionlimit()
    x = tapegrad.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y * 1.0
    references = [ref(y), ref(y.data)]
    sys.setrecursionlimit(150)
    try:
        if walk:
            y.backward()
            assert x.grad.item() == 1.0
        del y
        assert alive(references) == 0
    finally:
        sys.setrecursionlimit(limit)


def test_a_chain_of_half_a_million():
    """Forward, back and gone, by reference counts alone."""
    chain(500_000)


def test_work_is_linear():
    """Ten times the ops take ten times the calls, of Python's functions and of C's."""

    def calls(ops):
        count = 0

        def called(frame, event, arg):
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(called)
        try:
            chain(ops)
        finally:
            sys.setprofile(None)
        return count

    chain(100)  # what the first walk makes
    assert calls(20_000) <= 10.5 * calls(2_000)


def chain(ops):
    """A multiplication by 1, again and again, and its backward pass."""
    x = tapegrad.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(ops):
        y = y * 1.0
    y.backward()
    assert x.grad.item() == 1.0


def test_a_fan_out_of_ten_thousand():
    x = ours(randn(3))
    h = x * 2
    total = sum((h * float(i % 7)).sum() for i in range(10_000))
    total.backward()
    assert torch.allclose(x.grad, torch.full_like(x.grad, 2.0 * sum(i % 7 for i in range(10_000))))


def test_a_ladder_of_diamonds():
    """2**500 paths, 1,000 records."""
    x = tapegrad.tensor(torch.tensor(1.0, dtype=torch.float64), requires_grad=True)
    y = x
    for _ in range(500):
        y = y * 0.5 + y * 0.5
    y.backward()
    assert x.grad.item() == 1.0
