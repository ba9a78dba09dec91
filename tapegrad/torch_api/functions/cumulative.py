"""Functions that run along a dimension: torch's ``dtype=``, differences and integrals."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import composition
from tapegrad.rules import cumulative
from tapegrad.rules.slicing import along

# --- cumulative sums ---


@composition(torch.cumsum)
def cumsum(input: Any, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    return cumulative.cumsum(input if dtype is None else input.to(dtype), dim)


# --- cumulative products ---


@composition(torch.cumprod)
def cumprod(input: Any, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    return cumulative.cumprod(input if dtype is None else input.to(dtype), dim)


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
    """The distances of the sample points, shaped to go with ``y``."""
    if x.ndim == 1 and y.ndim > 1:
        return x.diff().view([-1 if d == dim % y.ndim else 1 for d in range(y.ndim)])
    return x.diff(dim=dim)


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
