"""Rules of functions that reduce dimensions: where the forward pass sums, the backward pass broadcasts."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.op import composition, kernel, rule

# --- sums and moments ---

sum = rule(
    torch.sum,
    "input, dim=None, keepdim=False",
    input=lambda g, input_shape, dim, keepdim: restore(g, input_shape, dim, keepdim).expand(input_shape),
)
mean = rule(
    torch.mean,
    "input, dim=None, keepdim=False",
    input=lambda g, input_shape, dim, keepdim: (
        restore(g, input_shape, dim, keepdim).expand(input_shape) / count(input_shape, dim)
    ),
)


@composition(torch.sum)
def _sum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    return sum(input if dtype is None else input.to(dtype), dim, keepdim)


@composition(torch.mean)
def _mean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    return mean(input if dtype is None else input.to(dtype), dim, keepdim)


# The same division, before the copies are made.
kernel(
    mean,
    input=lambda g, input_shape, dim, keepdim: restore(g / count(input_shape, dim), input_shape, dim, keepdim).expand(
        input_shape
    ),
)


def _var(input: torch.Tensor, dim: Any, correction: float, keepdim: bool) -> torch.Tensor:
    return torch.var(input, dim, correction=correction, keepdim=keepdim)


def _std(input: torch.Tensor, dim: Any, correction: float, keepdim: bool) -> torch.Tensor:
    return torch.std(input, dim, correction=correction, keepdim=keepdim)


var = rule(
    _var,
    "input, dim, correction, keepdim",
    input=lambda g, input, dim, correction, keepdim: (
        slope(input.shape, dim, correction)
        * restore(g, input.shape, dim, keepdim)
        * (input - input.mean(dim, keepdim=True))
    ),
)
# d(sqrt(v)) = dv / 2 sqrt(v); where the deviation is 0 the gradient is 0, as in torch.
std = rule(
    _std,
    "input, dim, correction, keepdim",
    input=lambda g, out, input, dim, correction, keepdim: (
        slope(input.shape, dim, correction)
        * restore((g / (out * 2)).masked_fill(out == 0, 0.0), input.shape, dim, keepdim)
        * (input - input.mean(dim, keepdim=True))
    ),
)


@composition(torch.var)
def _torch_var(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Any:
    return var(input, *_bessel(dim, unbiased, correction), keepdim)


@composition(torch.std)
def _torch_std(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Any:
    return std(input, *_bessel(dim, unbiased, correction), keepdim)


def slope(shape: torch.Size, dim: Any, correction: float) -> float:
    """The factor of ``x - mean`` in the derivative of a variance: 2 / (n - correction)."""
    freedom = count(shape, dim) - correction
    return 2.0 / freedom if freedom > 0 else math.inf


def _bessel(dim: Any, unbiased: Any, correction: Any) -> tuple[Any, float]:
    """torch's spellings of the divisor: var(x, False), var(x, dim, unbiased), var(x, dim, correction=c)."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    return dim, correction


def restore(g: Any, shape: torch.Size, dim: Any, keepdim: bool) -> Any:
    """Give a reduced gradient its reduced dimensions back, with size 1."""
    if keepdim or dim is None:  # a number fits everywhere
        return g
    for d in dims_of(shape, dim):
        g = g.unsqueeze(d)
    return g


def dims_of(shape: torch.Size, dim: Any) -> list[int]:
    """The dimensions that ``dim`` names, in ascending order: all for None or an empty list, as in torch."""
    dims = [dim] if isinstance(dim, int) else list(dim or range(len(shape)))
    return sorted(d % len(shape) for d in dims) if shape else []


def count(shape: torch.Size, dim: Any) -> int:
    """How many elements are reduced to one."""
    return shape.numel() if dim is None else math.prod([shape[d] for d in dims_of(shape, dim)])


# --- extremes ---

# Over all elements, ties share the gradient evenly, and NaN ties with NaN, as in torch.
max_all = rule(torch.max, input=lambda g, out, input: shared(g, (input == out) | (input.isnan() & out.isnan())))
min_all = rule(torch.min, input=lambda g, out, input: shared(g, (input == out) | (input.isnan() & out.isnan())))


def shared(g: Any, chosen: torch.Tensor) -> Any:
    """Split a gradient evenly between the chosen elements."""
    return torch.where(chosen, g / chosen.sum(), 0.0)


# Along a dim, the one index that torch returned gets the gradient.
@rule(aux=["indices"], input=lambda g, indices, input_shape, dim, keepdim: route(g, indices, input_shape, dim, keepdim))
def max_dim(input: Any, dim: Any, keepdim: Any = False) -> Any:
    return torch.max(input, dim, keepdim)


@rule(aux=["indices"], input=lambda g, indices, input_shape, dim, keepdim: route(g, indices, input_shape, dim, keepdim))
def min_dim(input: Any, dim: Any, keepdim: Any = False) -> Any:
    return torch.min(input, dim, keepdim)


def route(g: Any, indices: torch.Tensor, shape: torch.Size, dim: int, keepdim: bool) -> Any:
    """Send each gradient to the position along ``dim`` that its value came from; zeros elsewhere."""
    if not shape:
        return g
    if not keepdim:
        g, indices = g.unsqueeze(dim), indices.unsqueeze(dim)
    return scatter(g, indices, shape, dim)


@rule(source=lambda g, index, dim: g.gather(dim, index))
def scatter(source: Any, index: Any, shape: Any, dim: Any) -> Any:
    """Zeros of ``shape``, with ``source`` at ``index`` along ``dim``."""
    return source.new_zeros(shape).scatter_(dim, index, source)


@composition(torch.max)
def _max(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    return _extreme(torch.return_types.max, max_all, max_dim, torch.maximum, input, dim, keepdim, other)


@composition(torch.min)
def _min(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    return _extreme(torch.return_types.min, min_all, min_dim, torch.minimum, input, dim, keepdim, other)


def _extreme(pair: Any, whole: Any, along: Any, pairwise: Any, input: Any, dim: Any, keepdim: bool, other: Any) -> Any:
    """torch's three functions of one name: of all elements, along a dim, or of two tensors."""
    if dim is None and other is None:
        return whole(input)
    if isinstance(dim, int):
        return pair(along(input, dim, keepdim))
    return pairwise(input, dim if other is None else other)


# --- softmax ---

# With weights p = out, d(out)/d(input) = diag(p) - p p^T.
softmax = rule(
    F.softmax,
    "input, dim",
    input=lambda g, out, dim: (g - (g * out).sum(dim, keepdim=True)) * out,
)
log_softmax = rule(
    F.log_softmax,
    "input, dim",
    input=lambda g, out, dim: g - out.exp() * g.sum(dim, keepdim=True),
)


@composition(F.softmax)
def _softmax(input: Any, dim: Any = None, _stacklevel: Any = 3, dtype: torch.dtype | None = None) -> Any:
    return softmax(*_cast(input, dim, _stacklevel, dtype))


@composition(F.log_softmax)
def _log_softmax(input: Any, dim: Any = None, _stacklevel: Any = 3, dtype: torch.dtype | None = None) -> Any:
    return log_softmax(*_cast(input, dim, _stacklevel, dtype))


def _cast(input: Any, dim: Any, third: Any, dtype: torch.dtype | None) -> tuple[Any, Any]:
    """The input in the type asked for, which torch.softmax takes third and F.softmax fourth."""
    dtype = third if isinstance(third, torch.dtype) else dtype
    return (input if dtype is None else input.to(dtype)), dim


logsumexp = rule(
    torch.logsumexp,
    "input, dim, keepdim=False",
    input=lambda g, out, input, dim, keepdim: (
        restore(g, input.shape, dim, keepdim) * (input - restore(out, input.shape, dim, keepdim)).exp()
    ),
)
