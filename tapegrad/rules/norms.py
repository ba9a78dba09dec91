"""Rules of norms and of distances."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import rule
from tapegrad.rules.reduction import dims_of, restore

# --- norms ---


def norm_gradient(g: Any, norm: Any, x: Any, p: float, dims: list[int]) -> Any:
    """g d|x|_p/dx = g sgn(x) |x|**(p-1) / |x|_p**(p-1), and its limits."""
    if p == 0:
        return torch.zeros_like(x)  # it counts elements, and is constant almost everywhere
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


def vector_norm_gradient(g: Any, out: Any, input: Any, ord: float, dim: Any, keepdim: bool) -> Any:
    """The same, where the norm may have lost its reduced dimensions."""
    g, norm = restore(g, input.shape, dim, keepdim), restore(out, input.shape, dim, keepdim)
    return norm_gradient(g, norm, input, ord, dims_of(input.shape, dim))


# The gradient of |x|_p at 0 is 0, not NaN, as in torch.
vector_norm = rule(torch.linalg.vector_norm, "input, ord=2, dim=None, keepdim=False", input=vector_norm_gradient)


def renorm_gradient(g: Any, x: Any, p: float, dims: list[int], maxnorm: float) -> Any:
    """The gradient of maxnorm x / |x|_p over ``dims``, where the norm exceeds maxnorm."""
    wider = torch.float32 if x.dtype.itemsize < 4 else torch.float64  # as in torch: the powers need more room
    norm = vector_norm(x.to(wider), p, dims, True)
    x = torch.where(norm > maxnorm, x, 1.0)  # so that nothing infinite comes back from what is not scaled
    inverse = (norm + 1e-7).reciprocal()
    path = norm_gradient((g * x).sum(dims, keepdim=True), norm, x, p, dims)
    return torch.where(norm > maxnorm, (maxnorm * inverse * (g - inverse * path)).to(g.dtype), g)


def complex_renorm_gradient(g: Any, input: Any, p: float, dim: int, maxnorm: float) -> Any:
    """The same of complex numbers: the norm, and the gradient that goes through it, are real."""
    dims = [d for d in range(input.ndim) if d != dim % input.ndim]
    norm = vector_norm(input, p, dims, True)
    inverse = (norm + 1e-7).reciprocal()
    path = norm_gradient((g * input).sum(dims, keepdim=True).real, norm, input.conj(), p, dims)
    return torch.where(norm > maxnorm, maxnorm * inverse * (g - inverse * path), g)


# Slices along dim whose norm exceeds maxnorm are scaled by maxnorm / norm.
renorm = rule(
    torch.renorm,
    "input, p, dim, maxnorm",
    input=lambda g, input, p, dim, maxnorm: renorm_gradient(
        g, input, p, [d for d in range(input.ndim) if d != dim % input.ndim], maxnorm
    ),
)


# --- distances ---


# The gradient passes through even where the bound is in force, as in torch's cosine_similarity.
@rule(input=lambda g: g)
def at_least(input: Any, bound: Any) -> Any:
    """``input``, with values below ``bound`` raised to it."""
    out = input.clone()
    out.detach().clamp_min_(bound)  # of the same memory; torch.autograd, which replays it for compare, does not see it
    return out


def differences(g: Any, out: Any, x1: Any, x2: Any, p: float) -> Any:
    """The gradient of each distance in each coordinate."""
    return norm_gradient(g.unsqueeze(-1), out.unsqueeze(-1), x1.unsqueeze(-2) - x2.unsqueeze(-3), p, [-1])


cdist = rule(
    torch.cdist,
    "x1, x2, p=2.0, compute_mode='use_mm_for_euclid_dist_if_necessary'",
    x1=lambda g, out, x1, x2, p: differences(g, out, x1, x2, p).sum(-2),
    x2=lambda g, out, x1, x2, p: -differences(g, out, x1, x2, p).sum(-3),
)


def pdist_gradient(g: Any, out: Any, input: Any, p: float) -> Any:
    """Each pair's gradient, added to its first row and taken from its second."""
    i, j = torch.triu_indices(len(input), len(input), 1, device=input.device)
    pairs = norm_gradient(g.unsqueeze(-1), out.unsqueeze(-1), input[i] - input[j], p, [-1])
    return torch.zeros_like(input).index_add(0, i, pairs).index_add(0, j, -pairs)


pdist = rule(F.pdist, "input, p=2.0", input=pdist_gradient)
