"""Interpolation; over areas, it is a mean."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from tapegrad.engine.table import composition
from tapegrad.rules import interpolation


@composition(F.interpolate)
def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    if mode != "area":
        return interpolation.interpolate(
            input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias
        )
    n = input.ndim - 2
    if size is None:
        size = [int(m * f) for m, f in zip(input.shape[2:], interpolation.factors(scale_factor, n), strict=True)]
    return getattr(F, f"adaptive_avg_pool{n}d")(input, size)
