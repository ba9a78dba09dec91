"""Kernels of select and narrow: the gradient stays a part of the whole, and the zeros around it are never written."""

from __future__ import annotations

from tapegrad.engine.gradients import Part
from tapegrad.engine.table import kernel
from tapegrad.rules.slicing import index_along, narrow, select

# --- one part: the gradient goes where it came from, zeros elsewhere ---


# A Part stands for the gradient among its zeros, and writes none.
kernel(select, input=lambda g, input_shape, dim, index: Part(g, index_along(dim, index, len(input_shape))))
kernel(
    narrow,
    input=lambda g, input_shape, dim, start, length: Part(
        g, index_along(dim, slice(start, start + length), len(input_shape))
    ),
)
