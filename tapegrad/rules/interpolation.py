"""Rules of interpolation: an image of another size."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import rule
from tapegrad.rules.pooling import add_at, per_dimension


def factors(scale_factor: Any, n: int) -> list[float]:
    """One factor for each dimension."""
    return list(scale_factor) if isinstance(scale_factor, (list, tuple)) else [scale_factor] * n


def linear_gradient(
    g: Any,
    shape: torch.Size,
    size: Any,
    scale_factor: Any,
    mode: str,
    align_corners: bool | None,
    recompute_scale_factor: bool | None,
    antialias: bool,
) -> Any:
    """Interpolation is linear along each dimension: its matrix there is what it makes of the unit vectors."""
    n = len(shape) - 2
    mode = "bilinear" if mode in ("linear", "trilinear") else mode
    for d in range(n):
        unit = torch.eye(shape[2 + d], dtype=g.dtype, device=g.device)[None, :, :, None].repeat(1, 1, 1, 2)
        matrix = F.interpolate(
            unit,
            None if size is None else (per_dimension(size, n)[d], 2),
            None if scale_factor is None else (factors(scale_factor, n)[d], 1.0),
            mode,
            align_corners,
            recompute_scale_factor,
            antialias=antialias,
        )[0, :, :, 0]
        g = (g.transpose(2 + d, -1) @ matrix.mT).transpose(2 + d, -1)
    return g


def nearest_gradient(g: Any, shape: torch.Size, *options: Any) -> Any:
    """Each element of the new image was read from one element of the old."""
    n = len(shape) - 2
    numbers = torch.arange(prod(shape[2:]), dtype=torch.float64, device=g.device).view(1, 1, *shape[2:])
    indices = F.interpolate(numbers, *options).long()
    return add_at(g, indices.expand(g.shape), shape, n)


def interpolation_gradient(
    g: Any,
    input_shape: torch.Size,
    size: Any,
    scale_factor: Any,
    mode: str,
    align_corners: bool | None,
    recompute_scale_factor: bool | None,
    antialias: bool,
) -> Any:
    """The gradient of the old image; "area" is said in terms of pooling."""
    gradient = nearest_gradient if mode.startswith("nearest") else linear_gradient
    return gradient(g, input_shape, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)


interpolate = rule(
    F.interpolate,
    "input, size=None, scale_factor=None, mode='nearest', align_corners=None, recompute_scale_factor=None, "
    "antialias=False",
    input=interpolation_gradient,
)
