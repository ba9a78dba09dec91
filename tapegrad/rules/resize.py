"""Rules of interpolation: an image of another size."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.op import composition, rule
from tapegrad.rules.conv import sizes
from tapegrad.rules.pool import put


def resized_gradient(
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
            None if size is None else (sizes(size, n)[d], 2),
            None if scale_factor is None else (factors(scale_factor, n)[d], 1.0),
            mode,
            align_corners,
            recompute_scale_factor,
            antialias=antialias,
        )[0, :, :, 0]
        g = (g.transpose(2 + d, -1) @ matrix.mT).transpose(2 + d, -1)
    return g


def nearest_gradient(g: Any, shape: torch.Size, *options: Any) -> Any:
    """Each place of the new image was read from one place of the old."""
    n = len(shape) - 2
    numbers = torch.arange(prod(shape[2:]), dtype=torch.float64, device=g.device).view(1, 1, *shape[2:])
    places = F.interpolate(numbers, *options).long()
    return put(g, places.expand(g.shape), shape, n)


def factors(scale_factor: Any, n: int) -> list[float]:
    return list(scale_factor) if isinstance(scale_factor, (list, tuple)) else [scale_factor] * n


interpolate = rule(
    F.interpolate,
    "input, size=None, scale_factor=None, mode='nearest', align_corners=None, recompute_scale_factor=None, "
    "antialias=False",
    input=lambda g, input_shape, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias: (
        nearest_gradient if mode.startswith("nearest") else resized_gradient
    )(g, input_shape, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias),
)


@composition(F.interpolate)
def _interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    if mode != "area":
        return interpolate(input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
    n = input.ndim - 2
    if size is None:
        size = [int(m * f) for m, f in zip(input.shape[2:], factors(scale_factor, n), strict=True)]
    return getattr(F, f"adaptive_avg_pool{n}d")(input, size)
