"""Rules of pooling: what a window took from an image, its gradient puts back there.

A place in an image is named by one number, its position with the n spatial dimensions flattened.
"""

from __future__ import annotations

from math import inf, prod
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.op import TABLE, Formula, composition, rule
from tapegrad.rules.conv import sizes

DIMENSIONS = (1, 2, 3)


def put(values: Any, places: torch.Tensor, shape: torch.Size, n: int) -> Any:
    """An image of zeros, with each value added at its place."""
    zeros = values.new_zeros((*shape[:-n], prod(shape[-n:])))
    return torch.scatter_add(zeros, -1, places.flatten(-n), values.flatten(-n)).view(shape)


def take(image: Any, places: torch.Tensor, n: int) -> Any:
    """The values at some places of an image."""
    return image.flatten(-n).gather(-1, places.flatten(-n)).view(places.shape)


# --- the largest of each window ---

# Of equal values torch returns the place of one, and that one gets the gradient.
LARGEST = {
    "max_pool{}d": "input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False",
    "adaptive_max_pool{}d": "input, output_size",
    "fractional_max_pool{}d": "input, kernel_size, output_size=None, output_ratio=None, _random_samples=None",
}


def _largest(name: str, signature: str, n: int) -> None:
    """Enter one of torch's functions that return maxima and, if asked, their places."""
    function = getattr(F, name)
    names = [argument.split("=")[0] for argument in signature.split(", ")]

    def with_places(*args: Any) -> Any:
        return function(**dict(zip(names, args, strict=True)), return_indices=True)

    with_places.__name__ = name
    op = rule(
        with_places,
        signature,
        aux=["places"],
        input=lambda g, places, input_shape: put(g, places, input_shape, n),
    )

    @composition(getattr(F, f"{name}_with_indices"))
    def both(input: Any, *args: Any, return_indices: bool = True, **kwargs: Any) -> Any:
        if name.startswith("fractional") and kwargs.get("_random_samples") is None:
            batch = input.shape[: input.ndim - n - 1].numel()  # as torch draws them
            kwargs["_random_samples"] = torch.rand(
                batch, input.shape[-n - 1], n, dtype=input.dtype, device=input.device
            )
        return op(input, *args, **kwargs)

    @composition(function)
    def pool(*args: Any, return_indices: bool = False, **kwargs: Any) -> Any:
        values, places = both(*args, **kwargs)
        return (values, places) if return_indices else values

    if name == "adaptive_max_pool1d":  # torch's own function of this name returns both
        TABLE[torch.adaptive_max_pool1d] = both


for _n in DIMENSIONS:
    for _name, _signature in LARGEST.items():
        if hasattr(F, _name.format(_n)):
            _largest(_name.format(_n), _signature, _n)


def _taken(n: int) -> Formula:
    return lambda g, indices: take(g, indices, n)


for _n in DIMENSIONS:
    rule(
        getattr(F, f"max_unpool{_n}d"),
        "input, indices, kernel_size, stride=None, padding=0, output_size=None",
        input=_taken(_n),
    )

# --- the mean of each window ---

Bounds = tuple[torch.Tensor, torch.Tensor, int]  # along a dimension: each window's start, its end, and the image's size


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
    """Each window gives all its places the same part."""
    kernel = sizes(kernel_size, n)
    strides = sizes(stride, n) if stride else kernel
    bounds, counts = [], []
    for k, s, p, size, windows in zip(kernel, strides, sizes(padding, n), shape[-n:], g.shape[-n:], strict=True):
        start = torch.arange(windows, device=g.device) * s - p
        end = (start + k).clamp(max=size + p)
        bounds.append((start.clamp(min=0), end.clamp(max=size), size))
        counts.append(end - start if count_include_pad else bounds[-1][1] - bounds[-1][0])
    return spread(g / (divisor or grid(counts)), bounds, shape)


def adaptive_gradient(g: Any, shape: torch.Size, n: int) -> Any:
    """The same; the i-th of m windows goes from the i-th m-th of the image to the next, rounded outward."""
    bounds = []
    for d, (size, m) in enumerate(zip(shape[-n:], g.shape[-n:], strict=True)):
        i = torch.arange(m, device=g.device)
        start, end = i * size // m, -(-(i + 1) * size // m)
        bounds.append((start, end, size))
        g = g / (end - start).view([-1] + [1] * (n - 1 - d))  # as torch does, dimension by dimension
    return spread(g, bounds, shape)


def grid(counts: list[torch.Tensor]) -> torch.Tensor:
    """The products of one number from each list, in a grid."""
    first, *rest = counts
    return first if not rest else first.view([-1] + [1] * len(rest)) * grid(rest)


def spread(g: Any, bounds: list[Bounds], shape: torch.Size) -> Any:
    """An image in which each window has added its ``g`` to all its places."""
    n = len(bounds)
    places = torch.zeros(1, 1, dtype=torch.long, device=g.device)  # a row for each window
    inside = torch.ones(1, 1, dtype=torch.bool, device=g.device)
    for start, end, size in bounds:
        along = start[:, None] + torch.arange(int((end - start).max()), device=g.device)
        places = (places[:, None, :, None] * size + along[None, :, None, :]).flatten(2).flatten(0, 1)
        inside = (inside[:, None, :, None] & (along < end[:, None])[None, :, None, :]).flatten(2).flatten(0, 1)
    parts = torch.where(inside, g.flatten(-n).unsqueeze(-1), 0.0).flatten(-2)
    places = torch.where(inside, places, 0).flatten().expand(parts.shape)
    zeros = g.new_zeros((*shape[:-n], prod(shape[-n:])))
    return torch.scatter_add(zeros, -1, places, parts).view(shape)


def _averaged(n: int) -> Formula:
    if n == 1:  # the one that torch gave no divisor
        return lambda g, input_shape, kernel_size, stride, padding, count_include_pad: average_gradient(
            g, input_shape, 1, kernel_size, stride, padding, count_include_pad, None
        )
    return lambda g, input_shape, kernel_size, stride, padding, count_include_pad, divisor_override: average_gradient(
        g, input_shape, n, kernel_size, stride, padding, count_include_pad, divisor_override
    )


def _adaptively(n: int) -> None:
    """Enter F.adaptive_avg_pool1d, 2d or 3d."""
    function = getattr(F, f"adaptive_avg_pool{n}d")
    op = rule(function, "input, output_size", input=lambda g, input_shape: adaptive_gradient(g, input_shape, n))

    @composition(function)
    def pool(input: Any, output_size: Any) -> Any:
        if sizes(output_size, n) == [1] * n:
            return input.mean(list(range(-n, 0)), keepdim=True)
        return op(input, output_size)


for _n in DIMENSIONS:
    divisor = ", divisor_override=None" if _n > 1 else ""
    rule(
        getattr(F, f"avg_pool{_n}d"),
        f"input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True{divisor}",
        input=_averaged(_n),
    )
    _adaptively(_n)

# --- the p-norm of each window ---


def _norms(n: int) -> None:
    """Enter F.lp_pool1d, 2d or 3d."""
    average, largest = getattr(F, f"avg_pool{n}d"), getattr(F, f"max_pool{n}d")

    @composition(getattr(F, f"lp_pool{n}d"))
    def pool(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
        if norm_type == inf:
            return largest(input.abs(), kernel_size, stride, 0, 1, ceil_mode)
        if norm_type == -inf:
            return -largest(-input.abs(), kernel_size, stride, 0, 1, ceil_mode)
        out = average(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
        return (torch.sign(out) * F.relu(out.abs())).mul(prod(sizes(kernel_size, n))).pow(1.0 / norm_type)


for _n in DIMENSIONS:
    _norms(_n)
