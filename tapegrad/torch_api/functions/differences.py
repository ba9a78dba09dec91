"""torch.gradient: the slopes of a function that is known at points."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.numbers import is_whole
from tapegrad.rules.slicing import along
from tapegrad.torch_api.composition import composition


def parabola(a: Any, b: Any, c: Any, h: Any, k: Any) -> tuple[Any, Any, Any]:
    """The slope at ``a``, with ``b`` at a distance ``h`` and ``c`` at ``k`` from there, as three parts to be added."""
    return a * (-(2 * h + k) / (h * (h + k))), b * ((h + k) / (h * k)), c * (-h / (k * (h + k)))


def slopes(x: Any, spacing: Any, dim: int, edge_order: int) -> Any:
    """The slopes along a dimension: of parabolas within, of lines or parabolas at the ends.

    Args:
        x: values, n of them along ``dim``.
        spacing: the distance of two points, a number; or where the points are, of shape (n,).
        dim: the dimension.
        edge_order: 1 or 2, the degree at the ends.
    """

    def at(start: int | None, stop: int | None) -> Any:
        return along(x, dim, slice(start, stop))

    h = k = h0 = k0 = h1 = k1 = spacing
    if hasattr(spacing, "shape") and spacing.ndim:
        steps = spacing.diff()
        h, k = (s.view([-1 if d == dim % x.ndim else 1 for d in range(x.ndim)]) for s in (steps[:-1], steps[1:]))
        h0, k0, h1, k1 = steps[0], steps[1:2], steps[-1], steps[-2:-1]
        right, here, left = at(2, None), at(1, -1), at(None, -2)
        c, b, a = right * (h / (k * (h + k))), here * ((k - h) / (h * k)), left * (-k / (h * (h + k)))
        within = a + b + c
    else:
        left, right = at(None, -2), at(2, None)
        within = (right - left) / spacing / 2
    if edge_order == 1:
        return torch.cat([(at(1, 2) - at(0, 1)) / h0, within, (at(-1, None) - at(-2, -1)) / h1], dim)
    p, q, r = parabola(at(0, 1), at(1, 2), at(2, 3), h0, k0)
    s, t, u = parabola(at(-1, None), at(-2, -1), at(-3, -2), h1, k1)
    return torch.cat([p + q + r, within, -(u + t + s)], dim)  # as torch adds them


@composition(torch.gradient)
def gradient(input: Any, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple[Any, ...]:
    dims = range(input.ndim) if dim is None else (dim,) if is_whole(dim) else dim
    each = spacing if isinstance(spacing, (list, tuple)) else [1 if spacing is None else spacing] * len(dims)
    return tuple([slopes(input, s, d, edge_order) for d, s in zip(dims, each, strict=True)])
