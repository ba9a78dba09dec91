"""Kernels of slicing: the mathematics of the rules, on raw tensors."""

from __future__ import annotations

from tapegrad.engine.gradients import Part
from tapegrad.engine.table import kernel
from tapegrad.rules.slicing import at, narrow, select

# --- one part: the gradient goes where it came from, zeros elsewhere ---


# The same, without writing the zeros.
kernel(select, input=lambda g, input_shape, dim, index: Part(g, at(dim, index, len(input_shape))))
kernel(
    narrow,
    input=lambda g, input_shape, dim, start, length: Part(g, at(dim, slice(start, start + length), len(input_shape))),
)
