"""Rules of functions that run along a dimension: cumulative sums and products, differences, integrals."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.op import composition, kernel, rule
from tapegrad.rules.pieces import along

# --- cumulative sums ---

# Element i is in the sums of all k >= i: its gradient is the cumulative sum from the other end.
cumsum = rule(
    torch.cumsum,
    "input, dim",
    input=lambda g, dim: cumsum_reversed(g, dim),  # type: ignore[has-type]  # each is the other's rule
)


@rule(input=lambda g, dim: cumsum(g, dim))
def cumsum_reversed(input: Any, dim: Any) -> Any:
    """Each element's sum with all after it."""
    return input.flip(dim).cumsum(dim).flip(dim)


# d(out_k)/d(x_i) = exp(x_i - out_k), summed over k >= i.
logcumsumexp = rule(
    torch.logcumsumexp,
    "input, dim",
    input=lambda g, out, input, dim: weighted(g, out, input, dim, logcumsumexp_reversed),  # type: ignore[has-type]
)


@rule(input=lambda g, out, input, dim: weighted(g, out, input, dim, logcumsumexp))
def logcumsumexp_reversed(input: Any, dim: Any) -> Any:
    """Each element's log-sum-exp with all after it."""
    return input.flip(dim).logcumsumexp(dim).flip(dim)


def weighted(g: Any, out: Any, x: Any, dim: int, accumulate: Any) -> Any:
    """The sums of g_k exp(x_i - out_k), in logarithms, where g is positive and where it is negative."""
    if x.ndim == 0:
        return g
    rise, fall = [torch.where(part, g.abs().log(), torch.finfo(g.dtype).min) for part in (g > 0, g < 0)]
    return (x + accumulate(rise - out, dim)).exp() - (x + accumulate(fall - out, dim)).exp()


@composition(torch.cumsum)
def _cumsum(input: Any, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    return cumsum(input if dtype is None else input.to(dtype), dim)


# --- cumulative products ---

# Factor i is in the products up to k >= i: there its slope is that product without it, also where factors are 0.
cumprod = rule(torch.cumprod, "input, dim", input=lambda g, input, dim: cumprod_gradient(g, input, dim))
# Without a 0, torch divides.
kernel(
    cumprod,
    input=lambda g, out, input, dim: (
        cumprod_gradient(g, input, dim) if (input == 0).any() else cumsum_reversed(out * g, dim) / input
    ),
)


def cumprod_gradient(g: Any, x: Any, dim: int) -> Any:
    """The product before i, times g_i + x_i+1 (g_i+1 + x_i+2 (g_i+2 + ...)): Horner's rule, from the end."""
    if x.ndim == 0 or x.shape[dim] == 0:
        return g
    factors, gains = x.unbind(dim), g.unbind(dim)
    nested = [gains[-1]]
    for factor, gain in zip(factors[:0:-1], gains[-2::-1], strict=True):
        nested.append(gain + factor * nested[-1])
    before = torch.cat([torch.ones_like(x.narrow(dim, 0, 1)), x.narrow(dim, 0, len(factors) - 1)], dim).cumprod(dim)
    return before * torch.stack(nested[::-1], dim)


@composition(torch.cumprod)
def _cumprod(input: Any, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    return cumprod(input if dtype is None else input.to(dtype), dim)


# --- cumulative extremes ---


# Each result's gradient goes to the element it came from.
@rule(aux=["indices"], input=lambda g, indices, dim: returned(g, indices, dim))
def cummax_dim(input: Any, dim: Any) -> Any:
    return torch.cummax(input, dim)


@rule(aux=["indices"], input=lambda g, indices, dim: returned(g, indices, dim))
def cummin_dim(input: Any, dim: Any) -> Any:
    return torch.cummin(input, dim)


def returned(g: Any, indices: torch.Tensor, dim: int) -> Any:
    """Add each gradient at the position along ``dim`` that its value came from."""
    return torch.zeros(g.shape, dtype=g.dtype, device=g.device).scatter_add(dim, indices, g)


@composition(torch.cummax)
def cummax(input: Any, dim: int) -> Any:
    return torch.return_types.cummax(cummax_dim(input, dim))


@composition(torch.cummin)
def cummin(input: Any, dim: int) -> Any:
    return torch.return_types.cummin(cummin_dim(input, dim))


# --- differences and integrals ---


@composition(torch.diff)
def diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    if n < 0:
        raise RuntimeError(f"diff(): order must be non-negative but got {n}")
    if n == 0:
        return input.clone()
    parts = [part for part in (prepend, input, append) if part is not None]
    input = torch.cat(parts, dim) if len(parts) > 1 else input
    for _ in range(min(n, input.shape[dim])):
        length = input.shape[dim] - 1
        input = input.narrow(dim, 1, length) - input.narrow(dim, 0, length)
    return input


@composition(torch.trapezoid, torch.trapz)
def trapezoid(y: Any, input: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    """The integral of ``y`` along ``dim``, sampled at ``input``, torch's ``x``, or in steps of ``dx``."""
    left, right = neighbours(y, dim)
    if input is None:
        return (y.sum(dim) - (y.select(dim, 0) + y.select(dim, -1)) * 0.5) * (1 if dx is None else dx)
    return (steps(input, y, dim) * (left + right)).sum(dim) / 2.0


@composition(torch.cumulative_trapezoid)
def cumulative_trapezoid(y: Any, input: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    left, right = neighbours(y, dim)
    if input is None:
        return ((1 if dx is None else dx) / 2.0 * (left + right)).cumsum(dim)
    return (steps(input, y, dim) * (left + right)).cumsum(dim) / 2.0


def neighbours(y: Any, dim: int) -> tuple[Any, Any]:
    """Each element but the last, and its successor."""
    return along(y, dim, slice(None, -1)), along(y, dim, slice(1, None))


def steps(x: Any, y: Any, dim: int) -> Any:
    """The distances of the sample points, shaped to go with ``y``."""
    if x.ndim == 1 and y.ndim > 1:
        return x.diff().view([-1 if d == dim % y.ndim else 1 for d in range(y.ndim)])
    return x.diff(dim=dim)
