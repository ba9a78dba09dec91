"""Graphs in different threads do not touch each other."""

from __future__ import annotations

import sys
import threading

import pytest
import torch

from tests.engine.networks import network
from tests.helpers import ours, randn

pytestmark = pytest.mark.usefixtures("road", "no_collector")


def test_graphs_of_different_threads_do_not_touch():
    results = {}

    def work(k):
        with torch.no_grad() if k == 0 else torch.enable_grad():
            x = ours(torch.full((5,), float(k)))
            for _ in range(20):
                y = (x * x).sum()
            results[k] = y.requires_grad
            if k:
                y.backward()
                results[k] = x.grad.tolist()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == {0: False} | {k: [2.0 * k] * 5 for k in range(1, 6)}


def train(seed):
    """A few steps of a network; the bits of what comes out."""
    x, w, b = (ours(randn(*shape, seed=seed + i)) for i, shape in enumerate([(3, 4), (4, 2), (2,)]))
    for _ in range(5):
        network(x, w, b).backward()
        with torch.no_grad():
            for p in (x, w, b):
                p -= 0.01 * p.grad
                p.grad = None
    return [p.data for p in (x, w, b)]


def test_threads_give_the_same_bits_as_one_after_another():
    alone = [train(10 * k) for k in range(8)]
    together: list = [None] * 8
    barrier = threading.Barrier(8)

    def work(k):
        barrier.wait()
        together[k] = train(10 * k)

    previous = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # switch threads as often as possible
    try:
        threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(previous)
    for one, other in zip(alone, together, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_grad_mode_belongs_to_a_thread():
    """Off here, it is on in a thread that begins, and what that one does to it is not felt here."""
    x, seen = ours(randn(3)), []

    def work():
        seen.append((x * 2).requires_grad)
        torch.set_grad_enabled(False)
        seen.append((x * 2).requires_grad)

    with torch.no_grad():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        seen.append((x * 2).requires_grad)
    seen.append((x * 2).requires_grad)
    assert seen == [True, False, False, True]


def test_two_walks_at_once_over_graphs_that_share_a_leaf():
    """Each adds to the leaf's gradient; none is lost where each has its own leaf object."""
    x = randn(1000)
    leaves = [ours(x) for _ in range(4)]

    def work(leaf):
        for _ in range(20):
            (leaf * leaf).sum().backward()

    threads = [threading.Thread(target=work, args=(leaf,)) for leaf in leaves]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for leaf in leaves:
        assert torch.equal(leaf.grad, leaves[0].grad)
        assert torch.allclose(leaf.grad, 40 * x)


def test_a_backward_in_another_thread():
    x = ours(randn(3))
    loss = (x * x).sum()
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join()
    assert torch.equal(x.grad, 2 * x.data)
