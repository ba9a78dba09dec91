"""Kernels of indexing: gradients are added to fresh zeros in place, and the zeros around a view are never written."""

from __future__ import annotations

from typing import Any

from tapegrad.engine.gradients import Part, zeros_for
from tapegrad.engine.table import kernel
from tapegrad.rules.indexing import (
    add_at_any_index,
    fits_index_put,
    gather,
    getitem,
    gives_view,
    index_select,
    lookup,
    row_gradients,
)

# --- brackets ---


def _getitem_kernel(g: Any, input_shape: Any, index: Any) -> Any:
    """``add_at_index`` in fewer calls, and without writing the zeros around a view."""
    entries = index if type(index) is tuple else (index,)
    if fits_index_put(entries):
        return zeros_for(g, input_shape).index_put_(entries, g, accumulate=True)
    return Part(g, index) if gives_view(index) else add_at_any_index(g, input_shape, index)


kernel(getitem, input=_getitem_kernel)


# --- reading at indices: the gradient is added where it was read ---


# Added in place to the zeros, which the formulas copy.
kernel(gather, input=lambda g, input_shape, dim, index: g.new_zeros(input_shape).scatter_add_(dim, index, g))
kernel(index_select, input=lambda g, input_shape, dim, index: g.new_zeros(input_shape).index_add_(dim, index, g))


# --- tables ---


def _lookup_kernel(g: Any, input: Any, weight_shape: Any, padding_idx: Any, scale_grad_by_freq: Any) -> Any:
    """In the order of the indices, as torch adds them up, however the gradient lies in memory."""
    input = input.contiguous()
    rows = row_gradients(g.contiguous(), input, padding_idx, scale_grad_by_freq)
    return zeros_for(g, weight_shape).index_put_((input,), rows, accumulate=True)


kernel(lookup, weight=_lookup_kernel)
