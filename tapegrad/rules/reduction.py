"""Rules of functions that reduce dimensions: where the forward pass sums, the backward pass broadcasts."""

from __future__ import annotations

import math
from typing import Any

import torch

from tapegrad.engine.gradients import zeros_for
from tapegrad.engine.table import rule
from tapegrad.numbers import is_whole

# --- sums and moments ---


def dims_of(shape: torch.Size, dim: Any) -> list[int]:
    """The dimensions that ``dim`` names, in ascending order: all for None or an empty list, as in torch."""
    dims = [dim] if is_whole(dim) else list(dim or range(len(shape)))
    return sorted(int(d) % len(shape) for d in dims) if shape else []


def restore(g: Any, shape: torch.Size, dim: Any, keepdim: bool) -> Any:
    """Give a reduced gradient its reduced dimensions back, with size 1."""
    if keepdim or dim is None:  # with dim=None, g is a scalar and broadcasts as it is
        return g
    for d in dims_of(shape, dim):
        g = g.unsqueeze(d)
    return g


sum = rule(
    torch.sum,
    "input, dim=None, keepdim=False",
    # torch.broadcast_to is g.expand, and takes a torch.Size in half the time.
    input=lambda g, input_shape, dim, keepdim: torch.broadcast_to(restore(g, input_shape, dim, keepdim), input_shape),
)


def count(shape: torch.Size, dim: Any) -> int:
    """How many elements are reduced to one."""
    return shape.numel() if dim is None else math.prod([shape[d] for d in dims_of(shape, dim)])


mean = rule(
    torch.mean,
    "input, dim=None, keepdim=False",
    input=lambda g, input_shape, dim, keepdim: (
        restore(g, input_shape, dim, keepdim).expand(input_shape) / count(input_shape, dim)
    ),
)
# NaN counts as 0, and takes no gradient.
nansum = rule(
    torch.nansum,
    "input, dim=None, keepdim=False",
    input=lambda g, input, dim, keepdim: restore(g, input.shape, dim, keepdim) * ~input.isnan(),
)


def product_of_others(x: Any, dim: int) -> Any:
    """For each element, the product of all others along ``dim``: of those before it times that of those after it."""
    n = x.shape[dim] if x.ndim else 1
    if n <= 1:
        return torch.ones_like(x)
    one = torch.ones_like(x.narrow(dim, 0, 1))
    before = torch.cat([one, x.narrow(dim, 0, n - 1)], dim).cumprod(dim)
    after = torch.cat([one, x.narrow(dim, 1, n - 1).flip(dim)], dim).cumprod(dim).flip(dim)
    return before * after


def product_of_all_others(x: Any) -> Any:
    """The same over all elements; with two zeros all are 0, even beside NaN, as in torch."""
    others = product_of_others(x.reshape(-1), 0).reshape(x.shape)
    return others.masked_fill(others.isnan() & ((x == 0).sum() > 1), 0.0)


# Each factor's gradient is the product of the others: also where one of them is 0.
prod_all = rule(torch.prod, input=lambda g, input: g * product_of_all_others(input))
prod_dim = rule(
    torch.prod,
    "input, dim, keepdim=False",
    input=lambda g, input, dim, keepdim: restore(g, input.shape, dim, keepdim) * product_of_others(input, dim),
)


# --- variance ---


def _var(input: torch.Tensor, dim: Any, correction: float, keepdim: bool) -> torch.Tensor:
    return torch.var(input, dim, correction=correction, keepdim=keepdim)


def over_all(shape: torch.Size, dim: Any) -> bool:
    """Whether all elements are reduced since no dim was given."""
    return dim is None or not shape


def slope(shape: torch.Size, dim: Any, correction: float) -> float:
    """The factor of ``x - mean`` in the derivative of a variance: 2 / (n - correction)."""
    freedom = count(shape, dim) - correction
    return 2.0 / freedom if freedom > 0 or (freedom < 0 and not over_all(shape, dim)) else math.inf


def deviation(x: Any, dim: Any, correction: float) -> Any:
    """``x - mean``.

    Where the correction leaves nothing to divide by the variance is infinite. Its gradient in torch is then infinite
    over all elements, and NaN at the mean; along a dim, torch lets the divisor be negative.
    """
    difference = x - x.mean(dim, keepdim=True)
    if over_all(x.shape, dim) and count(x.shape, dim) <= correction:
        return torch.where(difference == 0, math.nan, 1.0)
    return difference


var = rule(
    _var,
    "input, dim, correction, keepdim",
    input=lambda g, input, dim, correction, keepdim: (
        slope(input.shape, dim, correction) * restore(g, input.shape, dim, keepdim) * deviation(input, dim, correction)
    ),
)


def _std(input: torch.Tensor, dim: Any, correction: float, keepdim: bool) -> torch.Tensor:
    return torch.std(input, dim, correction=correction, keepdim=keepdim)


# d(sqrt(v)) = dv / 2 sqrt(v); where the deviation is 0 the gradient is 0, as in torch.
std = rule(
    _std,
    "input, dim, correction, keepdim",
    input=lambda g, out, input, dim, correction, keepdim: (
        slope(input.shape, dim, correction)
        * restore((g / (out * 2)).masked_fill(out == 0, 0.0), input.shape, dim, keepdim)
        * deviation(input, dim, correction)
    ),
)


@rule(
    input=lambda g, input_shape, dim, keepdim: (
        restore(g, input_shape, dim, keepdim).expand(input_shape) / count(input_shape, dim)
    )
)
def mean_beside_var(input: Any, dim: Any, correction: Any, keepdim: Any) -> Any:
    """The mean as torch computes it on the way to a variance: its last bits are not ``torch.mean``'s."""
    return torch.var_mean(input, dim, correction=correction, keepdim=keepdim)[1]


# --- extremes ---


def split_among_ties(g: Any, chosen: torch.Tensor) -> Any:
    """Split a gradient evenly between the chosen elements."""
    return torch.where(chosen, g / chosen.sum(), 0.0)


def same(x: Any, y: Any) -> Any:
    """Where two values are equal, NaN being equal to NaN."""
    return (x == y) | (x.isnan() & y.isnan())


# Over all elements, ties share the gradient evenly, and NaN ties with NaN, as in torch.
max_all = rule(torch.max, input=lambda g, out, input: split_among_ties(g, same(input, out)))
min_all = rule(torch.min, input=lambda g, out, input: split_among_ties(g, same(input, out)))
median_all = rule(torch.median, input=lambda g, out, input: split_among_ties(g, same(input, out)))
nanmedian_all = rule(torch.nanmedian, input=lambda g, out, input: split_among_ties(g, same(input, out)))


def split_among_ties_along(g: Any, out: Any, input: Any, dim: Any, keepdim: bool) -> Any:
    """Split each gradient evenly between the elements that equal the result."""
    chosen = input == restore(out, input.shape, dim, keepdim)
    return restore(g, input.shape, dim, keepdim) * chosen / chosen.sum(dims_of(input.shape, dim), keepdim=True)


# amax and amin do the same along the dims that they are given.
amax = rule(torch.amax, "input, dim=(), keepdim=False", input=split_among_ties_along)
amin = rule(torch.amin, "input, dim=(), keepdim=False", input=split_among_ties_along)


def route(g: Any, indices: torch.Tensor, input_shape: torch.Size, dim: int, keepdim: bool) -> Any:
    """Send each gradient to the position along ``dim`` that its value came from; zeros elsewhere."""
    if not input_shape:
        return g
    if not keepdim:
        g, indices = g.unsqueeze(dim), indices.unsqueeze(dim)
    scattered = scatter.function if type(g) is torch.Tensor else scatter  # unrecorded, skip the op's road
    return scattered(g, indices, input_shape, dim)


# Along a dim, the one index that torch returned gets the gradient.
@rule(aux=["indices"], input=route)
def max_dim(input: Any, dim: Any, keepdim: Any = False) -> Any:
    """The largest value along ``dim``, and its index."""
    return torch.max(input, dim, keepdim)


@rule(aux=["indices"], input=route)
def min_dim(input: Any, dim: Any, keepdim: Any = False) -> Any:
    """The smallest value along ``dim``, and its index."""
    return torch.min(input, dim, keepdim)


@rule(aux=["indices"], input=route)
def median_dim(input: Any, dim: Any, keepdim: Any = False) -> Any:
    """The median along ``dim``, and its index."""
    return torch.median(input, dim, keepdim)


@rule(aux=["indices"], input=route)
def nanmedian_dim(input: Any, dim: Any, keepdim: Any = False) -> Any:
    """The median along ``dim`` of what is not NaN, and its index."""
    return torch.nanmedian(input, dim, keepdim)


@rule(aux=["indices"], input=route)
def mode_dim(input: Any, dim: Any, keepdim: Any = False) -> Any:
    """The most frequent value along ``dim``, and its index."""
    return torch.mode(input, dim, keepdim)


@rule(source=lambda g, index, dim: g.gather(dim, index))
def scatter(source: Any, index: Any, shape: Any, dim: Any) -> Any:
    """Zeros of ``shape``, with ``source`` at ``index`` along ``dim``."""
    return zeros_for(source, shape).scatter_(dim, index, source)


# --- softmax ---


# With weights p = out, d(out)/d(input) = diag(p) - p p^T.
softmax = rule(
    torch.softmax,
    "input, dim",
    input=lambda g, out, dim: (g - (g * out).sum(dim, keepdim=True)) * out,
)
log_softmax = rule(
    torch.log_softmax,
    "input, dim",
    input=lambda g, out, dim: g - out.exp() * g.sum(dim, keepdim=True),
)
logsumexp = rule(
    torch.logsumexp,
    "input, dim, keepdim=False",
    input=lambda g, out, input, dim, keepdim: (
        restore(g, input.shape, dim, keepdim) * (input - restore(out, input.shape, dim, keepdim)).exp()
    ),
)
# A row of -inf gives zeros.
safe_softmax = rule(
    torch.ops.aten._safe_softmax.default,
    "input, dim, dtype=None",
    input=lambda g, out, dim: (g - (g * out).sum(dim, keepdim=True)) * out,
)
