"""Threads that share leaves lose no gradient."""

from __future__ import annotations

import threading

import pytest
import torch

import tapegrad
from tapegrad.engine import backward as engine_backward

THREADS, TIMES, SIZE = 8, 25, 100_000


def backward_in_threads(leaf) -> torch.Tensor:
    """The gradient of a leaf after many backward passes in several threads at once."""
    start = threading.Barrier(THREADS)

    def work():
        start.wait()
        for _ in range(TIMES):
            (leaf * 1.0).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return leaf.grad


@pytest.mark.parametrize("engine", ["ours", "torch"])
@pytest.mark.parametrize("round_", range(3))
def test_a_shared_leaf_gets_every_gradient(engine, round_):
    data = torch.zeros(SIZE)
    leaf = tapegrad.tensor(data, requires_grad=True) if engine == "ours" else data.requires_grad_()
    assert torch.equal(backward_in_threads(leaf), torch.full((SIZE,), float(THREADS * TIMES)))


def test_a_lost_update_would_be_found(monkeypatch):
    """Reading, adding and storing without a lock, as it was once."""

    def unlocked(gradients):
        for leaf, g in gradients.items():
            leaf.grad = g if leaf.grad is None else leaf.grad + g

    monkeypatch.setattr(engine_backward, "accumulate", unlocked)
    lost = 0
    for _ in range(5):
        leaf = tapegrad.tensor(torch.zeros(SIZE), requires_grad=True)
        lost += int(THREADS * TIMES - backward_in_threads(leaf).max().item())
    assert lost > 0
