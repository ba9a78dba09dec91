"""Functions that run along a dimension: torch's ``dtype=``, differences and integrals."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.errors import MissingRule
from tapegrad.rules import cumulative
from tapegrad.rules.slicing import along
from tapegrad.torch_api.composition import composition

# --- cumulative sums ---


def converted(name: str, input: Any, dtype: torch.dtype | None) -> Any:
    """The input in another dtype, which has to take a gradient if the input does."""
    if dtype is None:
        return input
    if input.requires_grad and torch.is_grad_enabled() and not (dtype.is_floating_point or dtype.is_complex):
        raise MissingRule(f"{name}(): the result would be of {dtype}, which takes no gradient; .detach() the input")
    return input.to(dtype)


@composition(torch.cumsum)
def cumsum(input: Any, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    return cumulative.cumsum(converted("cumsum", input, dtype), dim)


# --- cumulative products ---


@composition(torch.cumprod)
def cumprod(input: Any, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    return cumulative.cumprod(converted("cumprod", input, dtype), dim)


# --- cumulative extremes ---


@composition(torch.cummax)
def cummax(input: Any, dim: int) -> Any:
    return torch.return_types.cummax(cumulative.cummax_dim(input, dim))


@composition(torch.cummin)
def cummin(input: Any, dim: int) -> Any:
    return torch.return_types.cummin(cumulative.cummin_dim(input, dim))


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


def neighbours(y: Any, dim: int) -> tuple[Any, Any]:
    """Each element but the last, and its successor."""
    return along(y, dim, slice(None, -1)), along(y, dim, slice(1, None))


def steps(x: Any, y: Any, dim: int) -> Any:
    """The distances of the sample points, shaped to go with ``y``: those of one dimension lie along ``dim``."""
    if x.ndim == 1 and x.shape[0] != y.shape[dim]:
        raise RuntimeError(f"trapezoid(): expected a point for each of {y.shape[dim]} samples, got {tuple(x.shape)}")
    if x.ndim == 1 and y.ndim > 1:
        return x.diff().view([-1 if d == dim % y.ndim else 1 for d in range(y.ndim)])
    return x.view((1,) * (y.ndim - x.ndim) + x.shape).diff(dim=dim)


@composition(torch.trapezoid, torch.trapz)
def trapezoid(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    """The integral of ``y`` along ``dim``, sampled at ``x`` or in steps of ``dx``."""
    if not y.shape[dim]:
        return y.detach().sum(dim)  # of no samples: a constant, as in torch
    left, right = neighbours(y, dim)
    if x is None:
        return (y.sum(dim) - (y.select(dim, 0) + y.select(dim, -1)) * 0.5) * (1 if dx is None else dx)
    return (steps(x, y, dim) * (left + right)).sum(dim) / 2.0


@composition(torch.cumulative_trapezoid)
def cumulative_trapezoid(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    left, right = neighbours(y, dim)
    if x is None:
        return ((1 if dx is None else dx) / 2.0 * (left + right)).cumsum(dim)
    return (steps(x, y, dim) * (left + right)).cumsum(dim) / 2.0
