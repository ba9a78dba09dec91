"""What a walk keeps alive, in bytes, is at most what torch's does.

The memory of whole processes depends on the allocator as well, and is measured by ``benchmarks/memory.py`` alone.
"""

from __future__ import annotations

import pytest
import torch

from benchmarks import memory
from tapegrad.engine.table import kernel
from tapegrad.rules import activations
from tests.alive import most_alive

pytestmark = pytest.mark.usefixtures("road")

MATRIX = 4 * 128 * 128  # bytes of one activation
SMALL = MATRIX // 16  # bytes that biases and scalars may add up to


def mlp(library):
    """Two steps of the benchmark's MLP, and a third."""
    forward = memory.mlp(library, 128)
    return lambda: forward().backward()


def tanh_chain(library):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(128, 128, generator=generator)
    w = memory.leaf(library, torch.randn(128, 128, generator=generator) / 128**0.5)

    def step():
        h = x
        for _ in range(10):
            h = torch.tanh(h @ w)
        h.sum().backward()
        w.grad = None

    return step


def sums(library):
    """Parts that are summed: into a computed tensor, into a leaf, and of a broadcast."""
    x = memory.leaf(library, torch.ones(128, 128))
    row = memory.leaf(library, torch.ones(128))

    def step():
        h = x.sin()
        h = (h * h).cos() * row
        h = (x * x + h * h).sin()
        (h.exp() + h * h).sum().backward()
        x.grad = row.grad = None

    return step


def nothing_saved(library):
    """Ops that save nothing, below one that does."""
    x = memory.leaf(library, torch.ones(128, 128))

    def step():
        h = x * 2.0 + 1.0
        for _ in range(3):
            h = (h - 3.0).repeat(2, 1)
        h.exp().sum().backward()
        x.grad = None

    return step


@pytest.mark.parametrize("work", [mlp, tanh_chain, sums, nothing_saved])
def test_no_more_is_alive_than_in_torch(work):
    mine, its = work("tapegrad"), work("torch")
    for _ in range(4):  # both roads
        mine()
    most = most_alive(its)
    assert most > 3 * MATRIX
    assert most_alive(mine) <= most + SMALL


def test_a_gradient_that_is_held_too_long_is_noticed():
    """A rule that keeps what it saw, as a walk would that forgot to let it go."""
    seen = []
    tanh = activations.tanh
    usual = tanh.kernels["input"]
    step = tanh_chain("tapegrad")
    usually = most_alive(step)

    def keeps(g, out):
        seen[:] = [*seen[-1:], g]
        return usual(g, out)

    kernel(tanh, input=keeps)
    try:
        assert most_alive(step) >= usually + MATRIX
    finally:
        kernel(tanh, input=usual)
        tanh.elementwise = True
