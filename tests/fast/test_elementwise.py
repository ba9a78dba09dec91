"""Gradients of elementwise ops have the cotangent's shape, type and layout, which written roads rely on."""

from __future__ import annotations

import itertools

import pytest
import torch

import tapegrad
from tapegrad.engine.op import Op
from tapegrad.rules import activations, elementwise
from tests.fast.roads import FLOATS

OPS = {v for module in (activations, elementwise) for v in vars(module).values() if isinstance(v, Op)}
ELEMENTWISE = sorted([op for op in OPS if op.elementwise], key=lambda op: op.name)
VALUES = [
    *[torch.rand(shape, dtype=dtype) + 0.5 for shape in [(), (1,), (3, 1), (2, 3, 4)] for dtype in FLOATS],
    *[torch.ones(shape, dtype=dtype) for shape in [(), (4,)] for dtype in (torch.int64, torch.bool)],
    *[2, 2.5, 0, -1, True],
]


@pytest.mark.parametrize("op", ELEMENTWISE)
def test_the_gradients_of_elementwise_ops_are_like_the_cotangent(op):
    """Whatever the shapes and dtypes of the arguments, and which of them take a gradient."""
    seen = 0
    for values in itertools.product(VALUES, repeat=len(op.formulas)):
        tensors = [isinstance(v, torch.Tensor) and v.is_floating_point() for v in values]
        for wanted in itertools.product([False, True], repeat=len(values)):
            if not any(wanted) or not all(t for t, w in zip(tensors, wanted, strict=True) if w):
                continue
            arguments = [tapegrad.tensor(v, w) if w else v for v, w in zip(values, wanted, strict=True)]
            try:
                record = op(*arguments).record
                g = torch.ones(record.shape, dtype=record.dtype)
                pairs = zip(op.pullbacks, record.parents, strict=True)
                parts = [pullback(g, record.saved, parent) for pullback, parent in pairs if parent is not None]
            except (RuntimeError, TypeError):  # torch refuses it
                continue
            for part in parts:
                assert (type(part), part.shape, part.dtype) == (torch.Tensor, g.shape, g.dtype), arguments
                seen += 1
    assert seen >= len(FLOATS) * 4 * (10 if len(op.formulas) == 2 else 1)


def test_the_commonest_ops_are_among_them():
    assert {elementwise.add, elementwise.mul, activations.tanh} <= set(ELEMENTWISE)
