"""Rules of indexing: each gradient is added to the element that was read."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.gradients import Part, zeros_for
from tapegrad.engine.table import rule
from tapegrad.engine.tensor import Tensor
from tapegrad.errors import MissingRule
from tapegrad.rules.slicing import common_shape

# --- brackets ---


_TENSORS = {torch.Tensor}
_ndim = attrgetter("ndim")


def fits_index_put(entries: tuple[Any, ...]) -> bool:
    """Whether torch's index_put takes an index: tensors alone, and no mask without dimensions."""
    if not entries or not _TENSORS.issuperset(map(type, entries)):
        return False
    return all(map(_ndim, entries)) or all(i.ndim or i.dtype not in (torch.bool, torch.uint8) for i in entries)


def add_at_any_index(source: Any, shape: Any, index: Any) -> Any:
    """``add_at_index``, where an element may be read twice."""
    zeros = zeros_for(source, shape)
    entries = index if type(index) is tuple else (index,)
    if fits_index_put(entries):
        return zeros.index_put_(entries, source, accumulate=True)
    # Any other index: apply it to the elements' positions, and add at the positions that it selects.
    positions = torch.arange(zeros.numel(), device=zeros.device).view(shape)[index]
    return zeros.view(-1).index_add_(0, positions.reshape(-1), source.reshape(-1)).view(shape)


_VIEW_ENTRIES = {type(None), type(Ellipsis), int, slice}


def gives_view(index: Any) -> bool:
    """Whether an index gives a view: then no element is read twice."""
    return _VIEW_ENTRIES.issuperset(map(type, index)) if type(index) is tuple else type(index) in _VIEW_ENTRIES


@rule(source=lambda g, index: g[index])
def add_at_index(source: Any, shape: Any, index: Any) -> Any:
    """Zeros of ``shape``, with ``source`` added at ``index``: an element read twice receives twice."""
    return Part(source, index).whole(shape) if gives_view(index) else add_at_any_index(source, shape, index)


@rule(input=lambda g, input_shape, index: add_at_index(g, input_shape, index))
def getitem(input: Any, index: Any) -> Any:
    """``input[index]``, for each kind of index that torch takes."""
    return input[index]


def with_leading_ones(g: Any, ndim: int) -> Any:
    """Prepend dimensions of size 1, up to ``ndim``: a value may have more of them than what it overwrites."""
    for _ in range(ndim - g.ndim):
        g = g.unsqueeze(0)
    return g


def with_masks(index: Any) -> Any:
    """An index with masks of booleans in place of those of uint8, through which torch writes tensors but no numbers."""
    if type(index) is tuple:
        return tuple(map(with_masks, index))
    return index.bool() if getattr(index, "dtype", None) is torch.uint8 else index


# What is overwritten gets no gradient.
@rule(
    input=lambda g, index: setitem(g, with_masks(index), 0.0),  # type: ignore[has-type]  # the rule names itself
    value=lambda g, index, value_shape: with_leading_ones(g[index], len(value_shape)),
)
def setitem(input: Any, index: Any, value: Any) -> Any:
    """A copy of ``input`` with ``value`` written at ``index``."""
    out = input.clone()
    out[index] = value
    return out


# --- reading at indices: the gradient is added where it was read ---


gather = rule(
    torch.gather,
    "input, dim, index, *, sparse_grad=False",
    input=lambda g, input_shape, dim, index: torch.scatter_add(g.new_zeros(input_shape), dim, index, g),
)
index_select = rule(
    torch.index_select,
    "input, dim, index",
    input=lambda g, input_shape, dim, index: torch.index_add(g.new_zeros(input_shape), dim, index, g),
)
take = rule(
    torch.take,
    "input, index",
    input=lambda g, input_shape, index: torch.put(g.new_zeros(input_shape), index, g, True),
)
masked_select = rule(
    torch.masked_select,
    "input, mask",
    input=lambda g, input_shape, mask: torch.masked_scatter(
        g.new_zeros(common_shape(input_shape, mask.shape)), mask, g
    ),
)


# --- writing at indices: what is overwritten gets no gradient, what is written gets that of the result there ---


# Where an index comes twice only one value is written, but torch gives the gradient to both; so do these.
scatter = rule(
    torch.scatter,
    "input, dim, index, src",
    input=lambda g, dim, index: g.scatter(dim, index, 0.0),
    src=lambda g, dim, index: g.gather(dim, index),
)
index_copy = rule(
    torch.index_copy,
    "input, dim, index, source",
    input=lambda g, dim, index: g.index_fill(dim, index, 0.0),
    source=lambda g, dim, index: g.index_select(dim, index),
)
index_fill = rule(
    torch.index_fill,
    "input, dim, index, value",
    input=lambda g, dim, index: g.index_fill(dim, index, 0.0),
    value=lambda g, dim, index: g.index_select(dim, index.unique()).sum(),
)
index_put = rule(
    torch.index_put,
    "input, indices, values, accumulate=False",
    input=lambda g, indices, accumulate: g if accumulate else g.index_put(with_masks(indices), g.new_zeros(())),
    values=lambda g, indices: g[tuple(indices)],
)
put = rule(
    torch.put,
    "input, index, source, accumulate=False",
    input=lambda g, index, accumulate: g if accumulate else g.put(index, g.new_zeros(index.shape)),
    source=lambda g, index, source_shape: g.take(index).reshape(source_shape),
)


def pad_unused(g: Any, shape: torch.Size) -> Any:
    """Gradients of the first elements of a tensor of ``shape``, in order; the others were not used."""
    return F.pad(g, (0, shape.numel() - len(g))).view(shape)


masked_scatter = rule(
    torch.masked_scatter,
    "input, mask, source",
    input=lambda g, mask: g.masked_fill(mask, 0.0),
    source=lambda g, mask, source_shape: pad_unused(g.masked_select(mask), source_shape),
)
fill = rule(torch.fill, "input, value", input=lambda g: torch.zeros_like(g), value=lambda g: g.sum())


# --- adding at indices ---


scatter_add = rule(
    torch.scatter_add,
    "input, dim, index, src",
    input=lambda g: g,
    src=lambda g, dim, index: g.gather(dim, index),
)
index_add = rule(
    torch.index_add,
    "input, dim, index, source, *, alpha=1",
    input=lambda g: g,
    source=lambda g, dim, index, alpha: g.index_select(dim, index) * alpha,
)


# --- reducing at indices ---


def leave_out(factors: torch.Tensor, x: Any) -> Any:
    """Leave some factors out of a product, by setting them to 1."""
    return x.masked_fill(factors, 1.0)


def factor_gradient(g: Any, out: Any, input: Any, dim: int, index: Any, src: Any) -> Any:
    """The gradient of the factors in ``src``; that of an only 0 is the product of the others, computed again."""
    zero = (src == 0).to(torch.int64)
    zeros = zero.new_zeros(input.shape).scatter_add_(dim, index, zero).gather(dim, index)
    if isinstance(src, Tensor) and (zeros > 1).any():  # recorded, to be differentiated again
        raise MissingRule("scatter_reduce(): with several zeros in one product, prod has no second gradient")
    alone = zero * zeros == 1
    anew = (g * scatter_prod(input, dim, index, leave_out(alone, src))).gather(dim, index)
    return torch.where(alone, anew, (g * out).gather(dim, index) / leave_out(src == 0, src))


# A product's gradient is the product of its other factors: the whole product divided by this one, where it is not 0.
@rule(
    input=lambda g, input, dim, index, src: (
        g
        * scatter_prod(leave_out(input == 0, input), dim, index, src)  # type: ignore[has-type]  # the rule names itself
        / leave_out(input == 0, input)
    ),
    src=factor_gradient,
)
def scatter_prod(input: Any, dim: int, index: Any, src: Any) -> Any:
    """``input`` times the elements of ``src`` that are sent to the same element."""
    return input.scatter_reduce(dim, index, src, "prod")


def count_ties(out: Any, input: Any, dim: int, index: Any, src: Any) -> Any:
    """How many elements are equal to the extreme."""
    return (input == out).to(torch.int64).scatter_add(dim, index, (src == out.gather(dim, index)).to(torch.int64))


# Ties share the gradient evenly, as in torch.
@rule(
    input=lambda g, out, input, dim, index, src: (input == out) * (g / count_ties(out, input, dim, index, src)),
    src=lambda g, out, input, dim, index, src: (
        (src == out.gather(dim, index)) * (g / count_ties(out, input, dim, index, src)).gather(dim, index)
    ),
)
def scatter_extreme(input: Any, dim: int, index: Any, src: Any, reduce: str) -> Any:
    """The largest (or smallest) of ``input`` and the elements of ``src`` that are sent to the same element."""
    return input.scatter_reduce(dim, index, src, reduce)


# --- tables ---


def row_gradients(g: Any, input: torch.Tensor, padding_idx: int | None, scale_grad_by_freq: bool) -> Any:
    """The gradient of each row that was read: 0 for padding; divided by how often the row was read, if asked for."""
    if padding_idx is not None:
        g = g.masked_fill((input == padding_idx).unsqueeze(-1), 0.0)
    if scale_grad_by_freq:
        g = g / input.flatten().bincount()[input].unsqueeze(-1)
    return g


@rule(
    weight=lambda g, input, weight_shape, padding_idx, scale_grad_by_freq: add_at_index(
        row_gradients(g, input, padding_idx, scale_grad_by_freq), weight_shape, input
    )
)
def lookup(input: Any, weight: Any, padding_idx: Any, scale_grad_by_freq: Any) -> Any:
    """A row of ``weight`` for each index in ``input``."""
    return torch.embedding(weight, input, -1 if padding_idx is None else padding_idx, scale_grad_by_freq)


# --- order: each value's gradient goes to the element that it came from ---


def scatter_back(g: Any, indices: torch.Tensor, input_shape: torch.Size, dim: int) -> Any:
    """Send each gradient to the position along ``dim`` that its value came from; zeros elsewhere."""
    return torch.scatter(g.new_zeros(input_shape), dim, indices, g)


@rule(aux=["indices"], input=scatter_back)
def sort(input: Any, dim: Any, descending: Any, stable: Any) -> Any:
    """The values in order along ``dim``, and their indices."""
    return torch.sort(input, dim=dim, descending=descending, stable=stable)


@rule(aux=["indices"], input=scatter_back)
def topk(input: Any, k: Any, dim: Any, largest: Any, sorted: Any) -> Any:
    """The ``k`` largest (or smallest) values along ``dim``, and their indices."""
    return torch.topk(input, k, dim, largest, sorted)


@rule(aux=["indices"], input=scatter_back)
def kthvalue(input: Any, k: Any, dim: Any) -> Any:
    """The k-th smallest value along ``dim``, which is kept with size 1, and its index."""
    return torch.kthvalue(input, k, dim, keepdim=True)


# --- brackets ---
