"""Rules of indexing: what was read from a place gets its gradient added at that place."""

from __future__ import annotations

import math
from operator import attrgetter
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.gradients import Part, zeros_for
from tapegrad.engine.table import kernel, rule
from tapegrad.engine.tensor import Tensor
from tapegrad.errors import MissingRule
from tapegrad.rules.pieces import common_shape
from tapegrad.torch_api.composition import composition

# --- brackets ---


@rule(source=lambda g, index: g[index])
def place(source: Any, shape: Any, index: Any) -> Any:
    """Zeros of ``shape``, with ``source`` added at ``index``: an element read twice receives twice."""
    return Part(source, index).whole(shape) if viewed(index) else scattered(source, shape, index)


def scattered(source: Any, shape: Any, index: Any) -> Any:
    """``place``, where an element may be read twice."""
    zeros = zeros_for(source, shape)
    entries = index if type(index) is tuple else (index,)
    if puttable(entries):
        return zeros.index_put_(entries, source, accumulate=True)
    # A mixture: index the elements' own numbers, and add at the numbers that come out.
    numbers = torch.arange(zeros.numel(), device=zeros.device).view(shape)[index]
    return zeros.view(-1).index_add_(0, numbers.reshape(-1), source.reshape(-1)).view(shape)


_TENSORS = {torch.Tensor}
_ndim = attrgetter("ndim")


def puttable(entries: tuple[Any, ...]) -> bool:
    """Whether torch's index_put takes an index: tensors alone, and no mask without dimensions."""
    if not entries or not _TENSORS.issuperset(map(type, entries)):
        return False
    return all(map(_ndim, entries)) or all(i.ndim or i.dtype is not torch.bool for i in entries)


_VIEWING = {type(None), type(Ellipsis), int, slice}


def viewed(index: Any) -> bool:
    """Whether an index gives a view: then no element is read twice."""
    return _VIEWING.issuperset(map(type, index)) if type(index) is tuple else type(index) in _VIEWING


@rule(input=lambda g, input_shape, index: place(g, input_shape, index))
def getitem(input: Any, index: Any) -> Any:
    """``input[index]``, for each kind of index that torch takes."""
    return input[index]


def _getitem_kernel(g: Any, input_shape: Any, index: Any) -> Any:
    """The same with fewer calls, and without writing the zeros of a view."""
    entries = index if type(index) is tuple else (index,)
    if puttable(entries):
        return zeros_for(g, input_shape).index_put_(entries, g, accumulate=True)
    return Part(g, index) if viewed(index) else scattered(g, input_shape, index)


kernel(getitem, input=_getitem_kernel)


# What is overwritten gets no gradient.
@rule(
    input=lambda g, index: setitem(g, index, 0.0),  # type: ignore[has-type]  # the rule names itself
    value=lambda g, index, value_shape: led(g[index], len(value_shape)),
)
def setitem(input: Any, index: Any, value: Any) -> Any:
    """A copy of ``input`` with ``value`` written at ``index``."""
    out = input.clone()
    out[index] = value
    return out


def led(g: Any, ndim: int) -> Any:
    """Dimensions of size 1 in front, up to ``ndim``: what is written may have more of them than its place."""
    for _ in range(ndim - g.ndim):
        g = g.unsqueeze(0)
    return g


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
# The same, without a copy of the zeros.
kernel(gather, input=lambda g, input_shape, dim, index: g.new_zeros(input_shape).scatter_add_(dim, index, g))
kernel(index_select, input=lambda g, input_shape, dim, index: g.new_zeros(input_shape).index_add_(dim, index, g))


@composition(torch.take_along_dim)
def take_along_dim(input: Any, indices: torch.Tensor, dim: int | None = None) -> Any:
    if dim is None:
        return take_along_dim(input.view(-1), indices.view(-1), 0)
    if input.ndim != indices.ndim:
        raise RuntimeError(f"take_along_dim(): input has {input.ndim} dimensions, indices have {indices.ndim}")
    others = [[*x.shape[:dim], 1, *x.shape[dim:][1:]] for x in (input, indices)]  # dim itself is not broadcast
    sizes = list(common_shape(*others))
    sizes[dim] = -1
    indices = torch.where(indices < 0, indices + input.shape[dim], indices)
    return input.expand(sizes).gather(dim, indices.expand(sizes))


# --- writing at indices: what is overwritten gets no gradient, what is written gets that of its place ---

# Where an index comes twice, one value is written and torch gives each the gradient; so do these.
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
    input=lambda g, indices, accumulate: g if accumulate else g.index_put(indices, g.new_zeros(())),
    values=lambda g, indices: g[tuple(indices)],
)
put = rule(
    torch.put,
    "input, index, source, accumulate=False",
    input=lambda g, index, accumulate: g if accumulate else g.put(index, g.new_zeros(index.shape)),
    source=lambda g, index, source_shape: g.take(index).reshape(source_shape),
)
masked_scatter = rule(
    torch.masked_scatter,
    "input, mask, source",
    input=lambda g, mask: g.masked_fill(mask, 0.0),
    source=lambda g, mask, source_shape: first_of(g.masked_select(mask), source_shape),
)
fill = rule(torch.fill, "input, value", input=lambda g: torch.zeros_like(g), value=lambda g: g.sum())


def first_of(g: Any, shape: torch.Size) -> Any:
    """Gradients of the first elements of a tensor of ``shape``, in order; the others were not used."""
    return F.pad(g, (0, shape.numel() - len(g))).view(shape)


@composition(torch.scatter)
def _scatter(input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: Any = None) -> Any:
    if reduce is not None:
        raise MissingRule(f"scatter(): no rule for reduce={reduce!r}; use scatter_add or scatter_reduce")
    return scatter(input, dim, index, value if src is None else used(src, index))


def used(src: Any, index: torch.Tensor) -> Any:
    """The part of ``src`` that ``index`` speaks of: they need not have one shape."""
    if not hasattr(src, "shape") or src.shape == index.shape:
        return src
    return src[tuple([slice(n) for n in index.shape])]


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


@composition(torch.scatter_add)
def _scatter_add(input: Any, dim: int, index: torch.Tensor, src: Any) -> Any:
    return scatter_add(input, dim, index, used(src, index))


# --- reducing at indices ---


# A product's gradient is the product of its other factors: all of them by this one, where it is not 0.
@rule(
    input=lambda g, input, dim, index, src: (
        g
        * scatter_prod(without(input == 0, input), dim, index, src)  # type: ignore[has-type]  # the rule names itself
        / without(input == 0, input)
    ),
    src=lambda g, out, input, dim, index, src: factor_gradient(g, out, input, dim, index, src),
)
def scatter_prod(input: Any, dim: int, index: Any, src: Any) -> Any:
    """``input`` times the elements of ``src`` that go to the same place."""
    return input.scatter_reduce(dim, index, src, "prod")


def factor_gradient(g: Any, out: Any, input: Any, dim: int, index: Any, src: Any) -> Any:
    """The gradient of the factors in ``src``; where one is the only 0, the product of the others is made anew."""
    zero = (src == 0).to(torch.int64)
    zeros = zero.new_zeros(input.shape).scatter_add_(dim, index, zero).gather(dim, index)
    if isinstance(src, Tensor) and (zeros > 1).any():  # recorded, to be differentiated again
        raise MissingRule("scatter_reduce(): with several zeros in one product, prod has no second gradient")
    alone = zero * zeros == 1
    anew = (g * scatter_prod(input, dim, index, without(alone, src))).gather(dim, index)
    return torch.where(alone, anew, (g * out).gather(dim, index) / without(src == 0, src))


def without(factors: torch.Tensor, x: Any) -> Any:
    """Leave some factors out of a product."""
    return x.masked_fill(factors, 1.0)


# Ties share the gradient evenly, as in torch.
@rule(
    input=lambda g, out, input, dim, index, src: (input == out) * (g / winners(out, input, dim, index, src)),
    src=lambda g, out, input, dim, index, src: (
        (src == out.gather(dim, index)) * (g / winners(out, input, dim, index, src)).gather(dim, index)
    ),
)
def scatter_extreme(input: Any, dim: int, index: Any, src: Any, reduce: str) -> Any:
    """The largest (or smallest) of ``input`` and the elements of ``src`` that go to the same place."""
    return input.scatter_reduce(dim, index, src, reduce)


def winners(out: Any, input: Any, dim: int, index: Any, src: Any) -> Any:
    """How many elements are equal to the extreme."""
    return (input == out).to(torch.int64).scatter_add(dim, index, (src == out.gather(dim, index)).to(torch.int64))


NEUTRAL = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "amax": -math.inf, "amin": math.inf}


@composition(torch.scatter_reduce)
def scatter_reduce(
    input: Any, dim: int, index: torch.Tensor, src: Any, reduce: str, *, include_self: bool = True
) -> Any:
    if reduce not in NEUTRAL:
        raise RuntimeError(f"scatter_reduce(): reduce must be one of {', '.join(NEUTRAL)}, got {reduce!r}")
    src = used(src, index)
    count = torch.ones_like(input) if reduce == "mean" else None
    if not include_self:
        input = input.scatter(dim, index, NEUTRAL[reduce])
        count = None if count is None else count.scatter(dim, index, 0.0)
    if reduce == "prod":
        return scatter_prod(input, dim, index, src)
    if reduce in ("amax", "amin"):
        return scatter_extreme(input, dim, index, src, reduce)
    total = input.scatter_add(dim, index, src)
    return total if count is None else total / count.scatter_add(dim, index, torch.ones_like(src)).clamp(min=1)


@composition(torch.index_reduce)
def index_reduce(
    input: Any, dim: int, index: torch.Tensor, source: Any, reduce: str, *, include_self: bool = True
) -> Any:
    if not input.ndim:
        one = index_reduce(input.reshape(1), 0, index, source.reshape(1), reduce, include_self=include_self)
        return one.reshape(())
    shape = [1] * source.ndim
    shape[dim] = -1
    index = index.reshape(shape).expand(source.shape)
    return scatter_reduce(input, dim, index, source, reduce, include_self=include_self)


# --- tables ---


@rule(
    weight=lambda g, input, weight_shape, padding_idx, scale_grad_by_freq: place(
        per_row(g, input, padding_idx, scale_grad_by_freq), weight_shape, input
    )
)
def lookup(input: Any, weight: Any, padding_idx: Any, scale_grad_by_freq: Any) -> Any:
    """A row of ``weight`` for each index in ``input``."""
    return F.embedding(input, weight, padding_idx, scale_grad_by_freq=scale_grad_by_freq)


def per_row(g: Any, input: torch.Tensor, padding_idx: int | None, scale_grad_by_freq: bool) -> Any:
    """The gradient of each row that was read: none for padding; by how often the row was read, if asked for."""
    if padding_idx is not None:
        g = g.masked_fill((input == padding_idx).unsqueeze(-1), 0.0)
    if scale_grad_by_freq:
        g = g / input.flatten().bincount()[input].unsqueeze(-1)
    return g


@composition(F.embedding)
def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    if max_norm is not None or sparse:
        raise MissingRule(
            "embedding(): max_norm, which changes the weight, and sparse gradients have no rule; renormalize "
            "weight.data before the lookup, and take the dense gradient"
        )
    if padding_idx is not None and padding_idx < 0:
        padding_idx += len(weight)
    return lookup(input, weight, padding_idx, scale_grad_by_freq)


@composition(torch.embedding)
def _torch_embedding(
    weight: Any, indices: Any, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Any:
    padding = None if padding_idx < 0 else padding_idx
    return embedding(indices, weight, padding, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse)


# --- order: each value's gradient goes to the element that it was ---


@rule(aux=["indices"], input=lambda g, indices, input_shape, dim: returned(g, indices, input_shape, dim))
def sort(input: Any, dim: Any, descending: Any, stable: Any) -> Any:
    return torch.sort(input, dim=dim, descending=descending, stable=stable)


@rule(aux=["indices"], input=lambda g, indices, input_shape, dim: returned(g, indices, input_shape, dim))
def topk(input: Any, k: Any, dim: Any, largest: Any, sorted: Any) -> Any:
    return torch.topk(input, k, dim, largest, sorted)


@rule(aux=["indices"], input=lambda g, indices, input_shape, dim: returned(g, indices, input_shape, dim))
def kthvalue(input: Any, k: Any, dim: Any) -> Any:
    return torch.kthvalue(input, k, dim, keepdim=True)


def returned(g: Any, indices: torch.Tensor, shape: torch.Size, dim: int) -> Any:
    """Send each gradient to the position along ``dim`` that its value came from; zeros elsewhere."""
    return torch.scatter(g.new_zeros(shape), dim, indices, g)


@composition(torch.sort)
def _sort(input: Any, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    return torch.return_types.sort(sort(input, dim, descending, stable))


@composition(torch.msort)
def msort(input: Any) -> Any:
    return sort(input, 0, False, False)[0]


@composition(torch.topk)
def _topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    return torch.return_types.topk(topk(input, k, dim, largest, sorted))


@composition(torch.kthvalue)
def _kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    value, indices = kthvalue(input, k, dim)
    pair = (value, indices) if keepdim or not input.ndim else (value.squeeze(dim), indices.squeeze(dim))
    return torch.return_types.kthvalue(pair)
