"""Indexing with torch's options: what is reduced and how, padding rows, and results in named tuples."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.errors import MissingRule
from tapegrad.rules.indexing import kthvalue, lookup, scatter, scatter_add, scatter_extreme, scatter_prod, sort, topk
from tapegrad.rules.slicing import common_shape
from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.raw import raw

# --- reading at indices: the gradient is added where it was read ---


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


# --- writing at indices: what is overwritten gets no gradient, what is written gets that of the result there ---


def indexed_part(src: Any, index: torch.Tensor) -> Any:
    """The part of ``src`` that is written: it may be larger than ``index``."""
    if not hasattr(src, "shape") or src.shape == index.shape:
        return src
    return src[tuple([slice(n) for n in index.shape])]


@composition(torch.scatter)
def _scatter(input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: Any = None) -> Any:
    src = value if src is None else indexed_part(src, index)
    if reduce is None:
        return scatter(input, dim, index, src)
    if not hasattr(src, "shape"):
        src = torch.full(index.shape, src, dtype=input.dtype, device=input.device)
    return (scatter_add if reduce == "add" else scatter_prod)(input, dim, index, src)


# --- adding at indices ---


@composition(torch.scatter_add)
def _scatter_add(input: Any, dim: int, index: torch.Tensor, src: Any) -> Any:
    return scatter_add(input, dim, index, indexed_part(src, index))


# --- reducing at indices ---


NEUTRAL = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "amax": -math.inf, "amin": math.inf}


@composition(torch.scatter_reduce)
def scatter_reduce(
    input: Any, dim: int, index: torch.Tensor, src: Any, reduce: str, *, include_self: bool = True
) -> Any:
    if reduce not in NEUTRAL:
        raise RuntimeError(f"scatter_reduce(): reduce must be one of {', '.join(NEUTRAL)}, got {reduce!r}")
    src = indexed_part(src, index)
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
    rest = [(*x.shape[:dim], *x.shape[dim:][1:]) for x in (input, source)]
    if index.shape != (source.shape[dim],) or rest[0] != rest[1]:
        raise RuntimeError(
            f"index_reduce(): input {tuple(input.shape)}, index {tuple(index.shape)} and source {tuple(source.shape)} "
            f"do not fit along dimension {dim}"
        )
    shape = [1] * source.ndim
    shape[dim] = -1
    index = index.reshape(shape).expand(source.shape)
    return scatter_reduce(input, dim, index, source, reduce, include_self=include_self)


# --- tables ---


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
    if sparse:
        raise MissingRule("embedding(): sparse=True asks for a sparse gradient; leave it out, to get a dense one")
    if max_norm is not None:  # as torch: the rows that are read are shortened in place, and nothing is recorded of it
        torch.embedding_renorm_(raw(weight), input.contiguous(), max_norm, norm_type)
    if padding_idx is not None and padding_idx < 0:
        padding_idx += len(weight)
    return lookup(input, weight, padding_idx, scale_grad_by_freq)


@composition(torch.embedding)
def _torch_embedding(
    weight: Any, indices: Any, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Any:
    padding = None if padding_idx < 0 else padding_idx
    return embedding(indices, weight, padding, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse)


# --- order: each value's gradient goes to the element that it came from ---


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
