"""Rules of parts of a tensor, and of tensors joined into one: gradients are put back among zeros, or taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch

from tapegrad.engine.table import rule

# --- one part: the gradient goes where it came from, zeros elsewhere ---


select = rule(
    torch.select,
    "input, dim, index",
    input=lambda g, input_shape, dim, index: torch.select_scatter(g.new_zeros(input_shape), g, dim, index),
)
narrow = rule(
    torch.narrow,
    "input, dim, start, length",
    input=lambda g, input_shape, dim, start, length: torch.slice_scatter(
        g.new_zeros(input_shape), g, dim, start, start + length
    ),
)
diagonal = rule(
    torch.diagonal,
    "input, offset=0, dim1=0, dim2=1",
    input=lambda g, input_shape, offset, dim1, dim2: torch.diagonal_scatter(
        g.new_zeros(input_shape), g, offset, dim1, dim2
    ),
)
diag_embed = rule(
    torch.diag_embed,
    "input, offset=0, dim1=-2, dim2=-1",
    input=lambda g, offset, dim1, dim2: g.diagonal(offset, dim1, dim2),
)
tril = rule(torch.tril, "input, diagonal=0", input=lambda g, diagonal: g.tril(diagonal))
triu = rule(torch.triu, "input, diagonal=0", input=lambda g, diagonal: g.triu(diagonal))


# --- one part replaced: what is overwritten gets no gradient ---


select_scatter = rule(
    torch.select_scatter,
    "input, src, dim, index",
    input=lambda g, dim, index: torch.select_scatter(g, torch.zeros_like(g.select(dim, index)), dim, index),
    src=lambda g, dim, index: g.select(dim, index),
)


def index_along(dim: int, index: Any, ndim: int) -> tuple[Any, ...]:
    """The index of a tensor of ``ndim`` dimensions that indexes one of them and takes the others whole."""
    return (slice(None),) * (dim % ndim) + (index,)


def along(input: Any, dim: int, index: Any) -> Any:
    """Index one dimension."""
    return input[index_along(dim, index, input.ndim)]


slice_scatter = rule(
    torch.slice_scatter,
    "input, src, dim=0, start=None, end=None, step=1",
    input=lambda g, dim, start, end, step: torch.slice_scatter(
        g, torch.zeros_like(along(g, dim, slice(start, end, step))), dim, start, end, step
    ),
    src=lambda g, dim, start, end, step: along(g, dim, slice(start, end, step)),
)
diagonal_scatter = rule(
    torch.diagonal_scatter,
    "input, src, offset=0, dim1=0, dim2=1",
    input=lambda g, offset, dim1, dim2: torch.diagonal_scatter(
        g, torch.zeros_like(g.diagonal(offset, dim1, dim2)), offset, dim1, dim2
    ),
    src=lambda g, offset, dim1, dim2: g.diagonal(offset, dim1, dim2),
)


# --- tensors joined: each gets its part ---


def split_back(g: Any, tensors_shape: list[torch.Size], dim: int) -> list[Any]:
    """Split a concatenation's gradient into those of the tensors that were joined."""
    skipped = [tuple(shape) == (0,) and g.ndim > 1 for shape in tensors_shape]  # torch.cat skips tensors of shape (0,)
    lengths = [0 if skip else shape[dim] for shape, skip in zip(tensors_shape, skipped, strict=True)]
    starts = accumulate(lengths, initial=0)
    parts = [g.narrow(dim, start, length) for start, length in zip(starts, lengths, strict=False)]
    return [part.reshape(0) if skip else part for part, skip in zip(parts, skipped, strict=True)]


cat = rule(torch.cat, "tensors, dim=0", tensors=split_back)
stack = rule(torch.stack, "tensors, dim=0", tensors=lambda g, dim: g.unbind(dim))


# --- all pairings of the elements of several tensors ---


def common_shape(*shapes: Sequence[int]) -> torch.Size:
    """The shape that several broadcast to."""
    return torch.broadcast_shapes(*shapes)  # type: ignore[no-any-return]  # torch's lack
