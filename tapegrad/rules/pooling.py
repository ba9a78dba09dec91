"""Rules of pooling: the gradient of a window goes back to the elements that the window read.

An element of an image is named by one index, with the n spatial dimensions flattened.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.op import Formula, Op
from tapegrad.engine.table import rule
from tapegrad.numbers import is_whole

DIMENSIONS = (1, 2, 3)


def per_dimension(value: Any, n: int) -> list[int]:
    """One number for each spatial dimension."""
    given = [int(value)] if is_whole(value) else list(value)
    return given * n if len(given) == 1 else given


# --- the largest of each window ---


def add_at(values: Any, indices: torch.Tensor, shape: torch.Size, n: int) -> Any:
    """An image of zeros, with each value added at its index."""
    zeros = values.new_zeros((*shape[:-n], prod(shape[-n:])))
    return torch.scatter_add(zeros, -1, indices.flatten(-n), values.flatten(-n)).view(shape)


def max_pool_op(name: str, signature: str, n: int) -> Op:
    """The op of one of torch's functions that return maxima and, if asked, their indices."""
    function = getattr(F, name)
    names = [argument.split("=")[0] for argument in signature.split(", ")]

    def with_indices(*args: Any) -> Any:
        return function(**dict(zip(names, args, strict=True)), return_indices=True)

    with_indices.__name__ = name
    return rule(
        with_indices,
        signature,
        aux=["indices"],
        input=lambda g, indices, input_shape: add_at(g, indices, input_shape, n),
    )


MAX_POOLS = {
    "max_pool{}d": "input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False",
    "adaptive_max_pool{}d": "input, output_size",
    "fractional_max_pool{}d": "input, kernel_size, output_size=None, output_ratio=None, _random_samples=None",
}
# Of equal values torch returns the index of one, and that one gets the gradient.
max_pools = [
    (max_pool_op(name.format(n), signature, n), n)
    for n in DIMENSIONS
    for name, signature in MAX_POOLS.items()
    if hasattr(F, name.format(n))
]


def unpool_gradient(n: int) -> Formula:
    """Each value was written at an index: its gradient is read there."""
    return lambda g, indices: g.flatten(-n).gather(-1, indices.flatten(-n)).view(indices.shape)


for _n in DIMENSIONS:
    rule(
        getattr(F, f"max_unpool{_n}d"),
        "input, indices, kernel_size, stride=None, padding=0, output_size=None",
        input=unpool_gradient(_n),
    )

# --- the mean of each window ---

Bounds = tuple[torch.Tensor, torch.Tensor, int]  # along a dimension: each window's start, its end, and the image's size


def outer_product(counts: list[torch.Tensor]) -> torch.Tensor:
    """The products of one number from each list, in a grid."""
    first, *rest = counts
    return first if not rest else first.view([-1] + [1] * len(rest)) * outer_product(rest)


def add_to_windows(g: Any, bounds: list[Bounds], shape: torch.Size) -> Any:
    """An image in which each window has added its ``g`` to all its elements."""
    n = len(bounds)
    indices = torch.zeros(1, 1, dtype=torch.long, device=g.device)  # a row for each window
    inside = torch.ones(1, 1, dtype=torch.bool, device=g.device)
    for start, end, size in bounds:
        along = start[:, None] + torch.arange(int((end - start).max()), device=g.device)
        indices = (indices[:, None, :, None] * size + along[None, :, None, :]).flatten(2).flatten(0, 1)
        inside = (inside[:, None, :, None] & (along < end[:, None])[None, :, None, :]).flatten(2).flatten(0, 1)
    parts = torch.where(inside, g.flatten(-n).unsqueeze(-1), 0.0).flatten(-2)
    indices = torch.where(inside, indices, 0).flatten().expand(parts.shape)
    zeros = g.new_zeros((*shape[:-n], prod(shape[-n:])))
    return torch.scatter_add(zeros, -1, indices, parts).view(shape)


def average_gradient(
    g: Any,
    shape: torch.Size,
    n: int,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    count_include_pad: bool,
    divisor: int | None,
) -> Any:
    """Each window gives all its elements an equal part of its gradient."""
    kernel = per_dimension(kernel_size, n)
    strides = per_dimension(stride, n) if stride else kernel
    paddings = per_dimension(padding, n)
    bounds, counts = [], []
    for k, s, p, size, number in zip(kernel, strides, paddings, shape[-n:], g.shape[-n:], strict=True):
        start = torch.arange(number, device=g.device) * s - p
        end = (start + k).clamp(max=size + p)
        bounds.append((start.clamp(min=0), end.clamp(max=size), size))
        counts.append(end - start if count_include_pad else bounds[-1][1] - bounds[-1][0])
    return add_to_windows(g / (divisor or outer_product(counts)), bounds, shape)


def average_formula(n: int) -> Formula:
    """The formula in n dimensions; avg_pool1d alone has no ``divisor_override``."""
    if n == 1:
        return lambda g, input_shape, kernel_size, stride, padding, count_include_pad: average_gradient(
            g, input_shape, 1, kernel_size, stride, padding, count_include_pad, None
        )
    return lambda g, input_shape, kernel_size, stride, padding, count_include_pad, divisor_override: average_gradient(
        g, input_shape, n, kernel_size, stride, padding, count_include_pad, divisor_override
    )


def adaptive_gradient(g: Any, shape: torch.Size, n: int) -> Any:
    """The same where the i-th of m windows reaches from i / m of the image to (i + 1) / m, rounded outward."""
    bounds = []
    for d, (size, m) in enumerate(zip(shape[-n:], g.shape[-n:], strict=True)):
        i = torch.arange(m, device=g.device)
        start, end = i * size // m, -(-(i + 1) * size // m)
        bounds.append((start, end, size))
        g = g / (end - start).view([-1] + [1] * (n - 1 - d))  # as torch does, dimension by dimension
    return add_to_windows(g, bounds, shape)


def adaptive_average_op(n: int) -> Op:
    """The op of F.adaptive_avg_pool1d, 2d or 3d."""
    return rule(
        getattr(F, f"adaptive_avg_pool{n}d"),
        "input, output_size",
        input=lambda g, input_shape: adaptive_gradient(g, input_shape, n),
    )


for _n in DIMENSIONS:
    divisor = ", divisor_override=None" if _n > 1 else ""
    rule(
        getattr(F, f"avg_pool{_n}d"),
        f"input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True{divisor}",
        input=average_formula(_n),
    )
adaptive_averages = [(adaptive_average_op(n), n) for n in DIMENSIONS]
