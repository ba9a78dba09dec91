"""torch.gradient: the slopes of a function that is known at points."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.numbers import is_whole
from tapegrad.torch_api.composition import composition


def parabola(a: Any, b: Any, c: Any, h: Any, k: Any) -> tuple[Any, Any, Any]:
    """The slope at ``a``, with ``b`` at a distance ``h`` and ``c`` at ``k`` from there, as three parts to be added."""
    return a * (-(2 * h + k) / (h * (h + k))), b * ((h + k) / (h * k)), c * (-h / (k * (h + k)))


def slopes(x: Any, spacing: Any, edge_order: int) -> Any:
    """The slopes along the last dimension: of parabolas within, of lines or parabolas at the ends.

    Args:
        x: values, of shape (..., n).
        spacing: the distance of two points, a number; or where the points are, of shape (n,).
        edge_order: 1 or 2, the degree at the ends.
    """
    here, left, right = x[..., 1:-1], x[..., :-2], x[..., 2:]
    if hasattr(spacing, "shape") and spacing.ndim:
        steps = spacing.diff()
        h, k = steps[:-1], steps[1:]
        within = left * (-k / (h * (h + k))) + here * ((k - h) / (h * k)) + right * (h / (k * (h + k)))
    else:
        steps = (spacing, spacing)
        within = (right - left) / spacing / 2
    first, last = (x[..., 1] - x[..., 0]) / steps[0], (x[..., -1] - x[..., -2]) / steps[-1]
    if edge_order == 2:
        p, q, r = parabola(x[..., 0], x[..., 1], x[..., 2], steps[0], steps[1])
        first = p + q + r
        p, q, r = parabola(x[..., -1], x[..., -2], x[..., -3], steps[-1], steps[-2])
        last = -(r + q + p)  # as torch adds them
    return torch.cat([first.unsqueeze(-1), within, last.unsqueeze(-1)], -1)


@composition(torch.gradient)
def gradient(input: Any, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple[Any, ...]:
    dims = range(input.ndim) if dim is None else (dim,) if is_whole(dim) else dim
    each = spacing if isinstance(spacing, (list, tuple)) else [1 if spacing is None else spacing] * len(dims)
    return tuple([slopes(input.movedim(d, -1), s, edge_order).movedim(-1, d) for d, s in zip(dims, each, strict=True)])
