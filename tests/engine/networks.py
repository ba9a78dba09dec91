"""A small network, and what of its graph is still alive."""

from __future__ import annotations

from weakref import ref

import torch
import torch.nn.functional as F

import tapegrad
from tests.helpers import ours, randn


def network(x, w, b):
    h = torch.tanh(x @ w + b)
    h = (h - h.mean(0, keepdim=True)) / (h.var(0, keepdim=True) + 1e-5).sqrt()
    return F.cross_entropy(h, torch.tensor([0, 1, 1])) + h.max(1).values.sum() + torch.cat([h, h * 2])[[0, 0, 1]].sum()


def leaves():
    return ours(randn(3, 4)), ours(randn(4, 2)), ours(randn(2))


def watched(loss) -> list[ref]:
    """Weak references to what a graph is made of: its tensor and the buffers that it saved."""
    found = [ref(loss), ref(loss.data)]
    for record in tapegrad.tape(loss, names={}):
        found += [ref(v) for v in record.saved if isinstance(v, torch.Tensor)]
    return found


def alive(references: list[ref], *excepted: torch.Tensor) -> int:
    return sum(r() is not None and all(r() is not e for e in excepted) for r in references)
