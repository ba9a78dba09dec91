"""Finite differences on a grid."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.rules.slicing import along
from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.raw import raw


@composition(torch.gradient)
def gradient(input: Any, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple[Any, ...]:
    """Central differences of second order, one-sided ones at the ends: Fornberg 1988, table 3."""
    dims = list(range(input.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    several = isinstance(spacing, (list, tuple))
    spacing = 1 if spacing is None else spacing
    steps = list(spacing) if several else [spacing] * len(dims)
    steps = steps * len(dims) if len(steps) == 1 else steps
    return tuple([along_dim(input, raw(step), d, edge_order) for step, d in zip(steps, dims, strict=True)])


def along_dim(x: Any, spacing: Any, dim: int, edge_order: int) -> Any:
    """The gradient along one dimension, of points a distance apart or at coordinates."""
    n = x.shape[dim]
    if isinstance(spacing, torch.Tensor) and spacing.ndim:
        gaps = spacing.diff()
    else:
        gaps = torch.full((n - 1,), float(spacing), dtype=torch.float64, device=x.device)
    gaps = gaps.to(x.dtype).view([-1] + [1] * (x.ndim - 1 - dim % x.ndim))
    slopes = (along(x, dim, slice(1, None)) - along(x, dim, slice(None, -1))) / gaps
    before, after = gaps[:-1], gaps[1:]
    left, right = along(slopes, dim, slice(None, -1)), along(slopes, dim, slice(1, None))
    inner = (left * after + right * before) / (before + after)
    first, last = along(slopes, dim, slice(None, 1)), along(slopes, dim, slice(-1, None))
    if edge_order == 2:  # the slope changes as fast at an end as it does next to it
        bend = (right - left) / (before + after)
        first = first - along(bend, dim, slice(None, 1)) * gaps[:1]
        last = last + along(bend, dim, slice(-1, None)) * gaps[-1:]
    return torch.cat([first, inner, last], dim)
