"""Rules of norms and of distances."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import rule
from tapegrad.rules.reduction import dims_of, restore
from tapegrad.torch_api.composition import composition

# --- norms ---

# The gradient of |x|_p at 0 is 0, not NaN, as in torch.
vector_norm = rule(
    torch.linalg.vector_norm,
    "input, ord=2, dim=None, keepdim=False",
    input=lambda g, out, input, ord, dim, keepdim: (
        norm_gradient(
            restore(g, input.shape, dim, keepdim),
            restore(out, input.shape, dim, keepdim),
            input,
            ord,
            dims_of(input.shape, dim),
        )
        if ord != 0  # a count; no gradient, as in torch
        else None
    ),
)


def norm_gradient(g: Any, norm: Any, x: Any, p: float, dims: list[int]) -> Any:
    """g d|x|_p/dx = g sgn(x) |x|**(p-1) / |x|_p**(p-1), and its limits."""
    if p == 0:
        return torch.zeros_like(x)  # a count
    if p == 1:
        return x.sgn() * g
    if p == 2:
        return g * (x / norm).masked_fill(norm == 0, 0.0)
    if math.isinf(p):  # the largest, or smallest, share it
        chosen = (x.abs() == norm) | x.abs().isnan()
        return x.sgn() * ((g / chosen.sum(dims, keepdim=True)) * chosen)
    if p < 1:
        return (x.sgn() * x.abs() ** (p - 1)).masked_fill(x == 0, 0.0) * g * norm ** (1 - p)
    scale = (g / norm ** (p - 1)).masked_fill(norm == 0, 0.0)
    return (x.sgn() * x.abs() ** (p - 1) if p < 2 else x * x.abs() ** (p - 2)) * scale


@composition(torch.linalg.vector_norm)
def _vector_norm(input: Any, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    return vector_norm(input if dtype is None else input.to(dtype), ord, dim, keepdim)


@composition(torch.linalg.matrix_norm)
def matrix_norm(input: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None) -> Any:
    input = input if dtype is None else input.to(dtype)
    if ord == "fro":
        return vector_norm(input, 2, dim, keepdim)
    row, column = [d % input.ndim for d in dim]
    if ord in (1, -1, math.inf, -math.inf):  # the largest, or smallest, sum of a column or a row
        if abs(ord) == 1:
            row, column = column, row
        sums = vector_norm(input, 1, column, keepdim)
        row -= 0 if keepdim or row < column else 1
        return sums.amax(row, keepdim) if ord > 0 else sums.amin(row, keepdim)
    singular = torch.linalg.svdvals(
        input.permute(*[d for d in range(input.ndim) if d not in (row, column)], row, column)
    )
    value = singular.sum(-1) if ord == "nuc" else singular.amax(-1) if ord > 0 else singular.amin(-1)
    return restore(value, input.shape, dim, False) if keepdim else value


@composition(torch.linalg.norm)
def linalg_norm(input: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    dims = [dim] if isinstance(dim, int) else dim
    if ord is not None and (isinstance(ord, str) or len(dims or range(input.ndim)) == 2):
        return matrix_norm(input, ord, dims or (0, 1), keepdim, dtype=dtype)
    return _vector_norm(input, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


@composition(torch.norm)
def norm(input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: Any = None, dtype: Any = None) -> Any:
    if p == "nuc":
        return matrix_norm(input, p, (0, 1) if dim is None else dim, keepdim, dtype=dtype)
    return _vector_norm(input, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype)


# Slices along dim whose norm exceeds maxnorm are scaled by maxnorm / norm.
renorm = rule(
    torch.renorm,
    "input, p, dim, maxnorm",
    input=lambda g, input, p, dim, maxnorm: renorm_gradient(
        g, input, p, [d for d in range(input.ndim) if d != dim % input.ndim], maxnorm
    ),
)


def renorm_gradient(g: Any, x: Any, p: float, dims: list[int], maxnorm: float) -> Any:
    """The gradient of maxnorm x / |x|_p over ``dims``, where the norm exceeds maxnorm."""
    norm = vector_norm(x, p, dims, True)
    inverse = (norm + 1e-7).reciprocal()
    path = norm_gradient((g * x).sum(dims, keepdim=True), norm, x, p, dims)
    return torch.where(norm > maxnorm, maxnorm * inverse * (g - inverse * path), g)


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
    shape = torch.broadcast_shapes(x1.shape, x2.shape)  # type: ignore[no-untyped-call]  # torch's lack
    unit1, unit2 = [x / at_least(vector_norm(x, 2, dim, True), eps) for x in (x1.expand(shape), x2.expand(shape))]
    return (unit1 * unit2).sum(dim)


# The gradient passes also where the bound holds, as in torch's cosine_similarity.
@rule(input=lambda g: g)
def at_least(input: Any, bound: Any) -> Any:
    """``input``, with values below ``bound`` raised to it."""
    out = input.clone()
    with torch.no_grad():
        return out.clamp_min_(bound)


cdist = rule(
    torch.cdist,
    "x1, x2, p=2.0, compute_mode='use_mm_for_euclid_dist_if_necessary'",
    x1=lambda g, out, x1, x2, p: differences(g, out, x1, x2, p).sum(-2),
    x2=lambda g, out, x1, x2, p: -differences(g, out, x1, x2, p).sum(-3),
)


def differences(g: Any, out: Any, x1: Any, x2: Any, p: float) -> Any:
    """The gradient of each distance in each coordinate."""
    return norm_gradient(g.unsqueeze(-1), out.unsqueeze(-1), x1.unsqueeze(-2) - x2.unsqueeze(-3), p, [-1])


pdist = rule(F.pdist, "input, p=2.0", input=lambda g, out, input, p: pdist_gradient(g, out, input, p))


def pdist_gradient(g: Any, out: Any, x: Any, p: float) -> Any:
    """Each pair's gradient, added to its first row and taken from its second."""
    i, j = torch.triu_indices(len(x), len(x), 1, device=x.device)
    pairs = norm_gradient(g.unsqueeze(-1), out.unsqueeze(-1), x[i] - x[j], p, [-1])
    return torch.zeros_like(x).index_add(0, i, pairs).index_add(0, j, -pairs)
