"""Kernels of indexing: the mathematics of the rules, on raw tensors."""

from __future__ import annotations

from typing import Any

from tapegrad.engine.gradients import Part, zeros_for
from tapegrad.engine.table import kernel
from tapegrad.rules.indexing import gather, getitem, index_select, puttable, scattered, viewed

# --- brackets ---


def _getitem_kernel(g: Any, input_shape: Any, index: Any) -> Any:
    """The same with fewer calls, and without writing the zeros of a view."""
    entries = index if type(index) is tuple else (index,)
    if puttable(entries):
        return zeros_for(g, input_shape).index_put_(entries, g, accumulate=True)
    return Part(g, index) if viewed(index) else scattered(g, input_shape, index)


kernel(getitem, input=_getitem_kernel)


# --- reading at indices: the gradient is added where it was read ---


# The same, without a copy of the zeros.
kernel(gather, input=lambda g, input_shape, dim, index: g.new_zeros(input_shape).scatter_add_(dim, index, g))
kernel(index_select, input=lambda g, input_shape, dim, index: g.new_zeros(input_shape).index_add_(dim, index, g))
