"""Rules of functions that run along a dimension: cumulative sums and products, differences, integrals."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import rule

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


def logcumsumexp_gradient(g: Any, out: Any, x: Any, dim: int, accumulate: Any) -> Any:
    """The sums of g_k exp(x_i - out_k), in logarithms, where g is positive and where it is negative."""
    if x.ndim == 0:
        return g
    rise, fall = [torch.where(part, g.abs().log(), torch.finfo(g.dtype).min) for part in (g > 0, g < 0)]
    return (x + accumulate(rise - out, dim)).exp() - (x + accumulate(fall - out, dim)).exp()


# d(out_k)/d(x_i) = exp(x_i - out_k), summed over k >= i.
logcumsumexp = rule(
    torch.logcumsumexp,
    "input, dim",
    input=lambda g, out, input, dim: logcumsumexp_gradient(g, out, input, dim, logcumsumexp_reversed),  # type: ignore[has-type]
)


@rule(input=lambda g, out, input, dim: logcumsumexp_gradient(g, out, input, dim, logcumsumexp))
def logcumsumexp_reversed(input: Any, dim: Any) -> Any:
    """Each element's log-sum-exp with all after it."""
    return input.flip(dim).logcumsumexp(dim).flip(dim)


# --- cumulative products ---


def cumprod_gradient(g: Any, input: Any, dim: int) -> Any:
    """The product before i, times g_i + x_i+1 (g_i+1 + x_i+2 (g_i+2 + ...)): Horner's rule, from the end."""
    if input.ndim == 0 or input.shape[dim] == 0:
        return g
    factors, gains = input.unbind(dim), g.unbind(dim)
    nested = [gains[-1]]
    for factor, gain in zip(factors[:0:-1], gains[-2::-1], strict=True):
        nested.append(gain + factor * nested[-1])
    leading = [torch.ones_like(input.narrow(dim, 0, 1)), input.narrow(dim, 0, len(factors) - 1)]
    before = torch.cat(leading, dim).cumprod(dim)
    return before * torch.stack(nested[::-1], dim)


# Factor i is in the products up to k >= i: there its slope is that product without it, also where factors are 0.
cumprod = rule(torch.cumprod, "input, dim", input=cumprod_gradient)

# --- cumulative extremes ---


def scatter_add_back(g: Any, indices: torch.Tensor, dim: int) -> Any:
    """Add each gradient at the position along ``dim`` that its value came from."""
    return torch.zeros(g.shape, dtype=g.dtype, device=g.device).scatter_add(dim, indices, g)


# Each result's gradient goes to the element it came from.
@rule(aux=["indices"], input=scatter_add_back)
def cummax_dim(input: Any, dim: Any) -> Any:
    """The largest value so far along ``dim``, and its index."""
    return torch.cummax(input, dim)


@rule(aux=["indices"], input=scatter_add_back)
def cummin_dim(input: Any, dim: Any) -> Any:
    """The smallest value so far along ``dim``, and its index."""
    return torch.cummin(input, dim)
