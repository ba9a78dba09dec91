"""Norms of vectors and matrices, and distances: all but the vector norm itself are built on others."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.numbers import is_whole
from tapegrad.rules.norms import at_least, vector_norm
from tapegrad.rules.reduction import restore
from tapegrad.torch_api.composition import composition

# --- norms ---


@composition(torch.linalg.vector_norm)
def _vector_norm(input: Any, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    return vector_norm(input if dtype is None else input.to(dtype), ord, dim, keepdim)


def extreme(x: Any, dim: int, keepdim: bool, ord: float) -> Any:
    """The largest value along a dimension, or for a negative order the smallest; of none, 0, as in torch a constant."""
    if ord > 0 and not x.shape[dim]:
        return x.detach().sum(dim, keepdim)
    return x.amax(dim, keepdim) if ord > 0 else x.amin(dim, keepdim)


@composition(torch.linalg.matrix_norm)
def matrix_norm(input: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None) -> Any:
    input = input if dtype is None else input.to(dtype)
    if ord == "fro":
        return vector_norm(input, 2, dim, keepdim)
    if ord not in (1, -1, 2, -2, math.inf, -math.inf, "nuc"):
        raise RuntimeError(f"matrix_norm(): order {ord} is not supported")
    row, column = [d % input.ndim for d in dim]
    if ord in (1, -1, math.inf, -math.inf):  # the largest, or smallest, sum of a column or a row
        if abs(ord) == 1:
            row, column = column, row
        sums = vector_norm(input, 1, column, keepdim)
        row -= 0 if keepdim or row < column else 1
        return extreme(sums, row, keepdim, ord)
    singular = torch.linalg.svdvals(
        input.permute(*[d for d in range(input.ndim) if d not in (row, column)], row, column)
    )
    value = singular.sum(-1) if ord == "nuc" else extreme(singular, -1, False, ord)
    return restore(value, input.shape, dim, False) if keepdim else value


@composition(torch.linalg.norm)
def linalg_norm(input: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    dims = [dim] if is_whole(dim) else dim
    if ord is not None and (isinstance(ord, str) or len(dims or range(input.ndim)) == 2):
        return matrix_norm(input, ord, dims or (0, 1), keepdim, dtype=dtype)
    return _vector_norm(input, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


@composition(torch.norm)
def norm(input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: Any = None, dtype: Any = None) -> Any:
    if p == "nuc":
        return matrix_norm(input, p, (0, 1) if dim is None else dim, keepdim, dtype=dtype)
    return _vector_norm(input, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype)


@composition(F.normalize)
def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Any = None) -> Any:
    return input / vector_norm(input, p, dim, True).clamp_min(eps).expand_as(input)


# --- distances ---


@composition(torch.dist)
def dist(input: Any, other: Any, p: float = 2) -> Any:
    return vector_norm(input - other, p)


@composition(F.pairwise_distance)
def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    return vector_norm(x1 - x2 + eps, p, -1, keepdim)


@composition(F.cosine_similarity)
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    shape = torch.broadcast_shapes(x1.shape, x2.shape)
    unit1, unit2 = [x / at_least(vector_norm(x, 2, dim, True), eps) for x in (x1.expand(shape), x2.expand(shape))]
    return (unit1 * unit2).sum(dim)
