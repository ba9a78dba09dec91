"""Planting a fault in a rule, to see that a prover finds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tapegrad.engine.op import Op
from tapegrad.engine.table import kernel


@contextmanager
def planted(op: Op, *, formulas: bool = True, **gradients: Any) -> Iterator[None]:
    """Within it the op has these gradients, in its kernels and, unless told otherwise, in its formulas."""
    before = dict(op.formulas), dict(op.kernels)
    if formulas:
        op.formulas.update(gradients)
    kernel(op, **gradients)
    try:
        yield
    finally:
        op.formulas.update(before[0])
        kernel(op, **before[1])
