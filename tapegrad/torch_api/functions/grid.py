"""Sampling images at the points of a grid, and grids of affine maps: Jaderberg et al. 2015."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch

from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.functions.torch_bits import with_bits_of
from tapegrad.torch_api.raw import raw

BILINEAR, NEAREST, BICUBIC = range(3)
ZEROS, BORDER, REFLECTION = range(3)


def pixels(x: Any, size: int, align_corners: bool) -> Any:
    """Places in [-1, 1] as places among pixels."""
    return (x + 1) / 2 * (size - 1) if align_corners else ((x + 1) * size - 1) / 2


def clipped(x: Any, size: int) -> Any:
    """Places within the image; no gradient outside, nor on the border itself, as in torch."""
    inside = (x.detach() > 0) & (x.detach() < size - 1)
    return torch.where(inside, x, x.detach().clamp(0, size - 1))


def reflected(x: Any, size: int, align_corners: bool) -> Any:
    """Places mirrored at the borders, as often as it takes."""
    low, span = (0.0, size - 1.0) if align_corners else (-0.5, float(size))
    if span == 0:
        return x * 0
    x = x - low
    x = torch.where(x.detach() < 0, -x, x)
    times = torch.floor(x.detach() / span)
    rest = x - times * span
    return torch.where(times % 2 == 0, rest, span - rest) + low


def padded(x: Any, size: int, padding: int, align_corners: bool) -> Any:
    """Places as a padding mode has them."""
    if padding == REFLECTION:
        x = reflected(x, size, align_corners)
    return x if padding == ZEROS else clipped(x, size)


def values_at(input: Any, places: list[Any], padding: int) -> Any:
    """An image's values (N, C, ...) at whole places, one (N, ...) for each dimension; zeros outside."""
    n, channels, *sizes = input.shape
    inside, index = torch.ones((), dtype=torch.bool), torch.zeros((), dtype=torch.int64)
    for place, size in zip(places, sizes, strict=True):
        inside = inside & (place >= 0) & (place <= size - 1)
        index = index * size + place.clamp(0, size - 1).nan_to_num(0).long()
    flat = index.reshape(n, 1, -1).expand(n, channels, -1)
    values = input.reshape(n, channels, -1).gather(2, flat).view(n, channels, *index.shape[1:])
    return values if padding != ZEROS else torch.where(inside.unsqueeze(1), values, 0.0)


@composition(torch.grid_sampler, torch.grid_sampler_2d, torch.grid_sampler_3d)
def grid_sampler(input: Any, grid: Any, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Any:
    if interpolation_mode not in range(3) or padding_mode not in range(3):
        raise ValueError(
            f"grid_sampler(): interpolation_mode and padding_mode are 0, 1 or 2, not {interpolation_mode} and "
            f"{padding_mode}"
        )
    sizes = input.shape[2:]
    places = [pixels(x, size, align_corners) for x, size in zip(grid.unbind(-1)[::-1], sizes, strict=True)]
    if interpolation_mode == BICUBIC:
        out = bicubic(input, places, padding_mode, align_corners)
    else:
        out = linear_or_nearest(input, places, interpolation_mode, padding_mode, align_corners)
    exact = torch.grid_sampler(raw(input), raw(grid), interpolation_mode, padding_mode, align_corners)
    return with_bits_of(exact, out)


def linear_or_nearest(input: Any, places: list[Any], mode: int, padding_mode: int, align_corners: bool) -> Any:
    """The corners around each place, weighted by how near they are; or the nearest alone."""
    sizes = input.shape[2:]
    places = [padded(x, size, padding_mode, align_corners) for x, size in zip(places, sizes, strict=True)]
    if mode == NEAREST:
        nearest = [constant(x).round() for x in places]
        steps: list[Any] = [
            torch.where(y.isfinite(), torch.round(x) - y, 0.0) for x, y in zip(places, nearest, strict=True)
        ]
        return values_at(input, nearest, padding_mode) + torch.stack(steps).sum(0).unsqueeze(
            1
        )  # zeros, whose gradient is zeros
    floors = [torch.floor(constant(x)) for x in places]
    total: Any = 0.0
    for corner in product((0, 1), repeat=len(places)):
        weight: Any = 1.0
        for x, low, up in zip(places, floors, corner, strict=True):
            weight = weight * (x - low if up else low + 1 - x)
        at = [low + up for low, up in zip(floors, corner, strict=True)]
        total = total + values_at(input, at, padding_mode) * weight.unsqueeze(1)
    return total


def constant(x: Any) -> torch.Tensor:
    """The values, as a torch tensor."""
    values: torch.Tensor = x.data
    return values.detach()


def bicubic(input: Any, places: list[Any], padding: int, align_corners: bool) -> Any:
    """Sixteen pixels around each place, weighted by the cubic of Keys 1981 with a = -0.75."""
    floors = [torch.floor(constant(x)) for x in places]
    shares = [x - low for x, low in zip(places, floors, strict=True)]
    total: Any = 0.0
    for i, dy in enumerate(range(-1, 3)):
        row: Any = 0.0
        for j, dx in enumerate(range(-1, 3)):
            at = [
                padded(low + d, size, padding, align_corners)
                for low, d, size in zip(floors, (dy, dx), input.shape[2:], strict=True)
            ]
            row = row + values_at(input, at, padding) * cubic(shares[1], j).unsqueeze(1)
        total = total + row * cubic(shares[0], i).unsqueeze(1)
    return total


def cubic(t: Any, k: int) -> Any:
    """The weight of the k-th of four pixels, where ``t`` is the way from the second to the third."""
    a = -0.75
    x = (t + 1, t, 1 - t, 2 - t)[k]
    if k in (1, 2):
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a


@composition(torch.affine_grid_generator)
def affine_grid_generator(theta: Any, size: Any, align_corners: bool) -> Any:
    count, _, *image = size
    if theta.shape[0] != count:
        raise RuntimeError(f"affine_grid(): theta, of shape {tuple(theta.shape)}, must have {count} matrices, as size")
    axes = []
    for n in reversed(image):
        axis = torch.linspace(-1, 1, n, dtype=theta.dtype, device=theta.device) if n > 1 else theta.new_zeros(1)
        axes.append(axis if align_corners else axis * (n - 1) / n)
    (*mesh,) = torch.meshgrid(*axes[::-1], indexing="ij")
    base = torch.stack([*mesh[::-1], torch.ones_like(mesh[0])], -1)
    flat = base.view(1, -1, len(image) + 1).expand(theta.shape[0], -1, -1)
    return torch.bmm(flat, theta.transpose(1, 2)).view(theta.shape[0], *image, len(image))
