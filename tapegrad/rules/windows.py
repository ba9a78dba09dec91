"""Rules of sliding windows, borders and pixels: elements move or are copied, and gradients return and are summed."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.op import composition, rule

# --- windows: an element gets the sum over the windows that it is in ---

unfold = rule(
    torch.Tensor.unfold,
    "input, dimension, size, step",
    input=lambda g, input_shape, dimension, size, step: overlapped(g, input_shape, dimension, size, step),
)
# Patches of images, and images from patches: each is the other's gradient.
im2col = rule(
    F.unfold,
    "input, kernel_size, dilation=1, padding=0, stride=1",
    input=lambda g, input_shape, kernel_size, dilation, padding, stride: F.fold(
        g, input_shape[-2:], kernel_size, dilation, padding, stride
    ),
)
col2im = rule(
    F.fold,
    "input, output_size, kernel_size, dilation=1, padding=0, stride=1",
    input=lambda g, kernel_size, dilation, padding, stride: F.unfold(g, kernel_size, dilation, padding, stride),
)


def overlapped(g: Any, shape: torch.Size, dim: int, size: int, step: int) -> Any:
    """Add up windows, which lie in the last dimension, where they overlap along ``dim``."""
    if not shape:
        return g.sum()
    dim %= len(shape)
    positions = torch.arange(shape[dim], device=g.device).unfold(0, size, step).flatten()
    elements = g.movedim(-1, dim + 1).flatten(dim, dim + 1)
    return torch.index_add(g.new_zeros(shape), dim, positions, elements)


# --- borders ---

constant_pad = rule(
    torch.constant_pad_nd,
    "input, pad, value=0",
    input=lambda g, pad: torch.constant_pad_nd(g, [-n for n in pad]),
)


@composition(F.pad)
def pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    if mode == "constant":
        return constant_pad(input, pad, 0 if value is None else value)
    if mode == "circular":
        return wrapped(input, pad)
    # The border repeats elements: pad their numbers, and take the elements that the numbers say.
    dims = len(pad) // 2
    sizes = input.shape[input.ndim - dims :]
    numbers = torch.arange(sizes.numel(), dtype=torch.float64, device=input.device).view(1, 1, *sizes)
    numbers = F.pad(numbers[0] if input.ndim == dims + 1 else numbers, pad, mode)
    elements = input.flatten(-dims).index_select(-1, numbers.flatten().long())
    return elements.unflatten(-1, numbers.shape[-dims:])


def wrapped(input: Any, pad: Any) -> Any:
    """Pad each dimension, the last one first, with what lies at its other end."""
    F.pad(torch.empty(input.shape, device="meta"), pad, "circular")  # torch's own refusal of pads that do not fit
    input = constant_pad(input, [min(n, 0) for n in pad])
    for i in range(len(pad) // 2):
        dim, before, after = -1 - i, max(pad[2 * i], 0), max(pad[2 * i + 1], 0)
        n = input.shape[dim]
        input = torch.cat([input.narrow(dim, n - before, before), input, input.narrow(dim, 0, after)], dim)
    return input


# --- pixels and channels: rearranged (and reshaped, for torch leaves an empty tensor as it is) ---

pixel_shuffle = rule(
    F.pixel_shuffle,
    "input, upscale_factor",
    input=lambda g, input_shape, upscale_factor: F.pixel_unshuffle(g, upscale_factor).reshape(input_shape),
)
pixel_unshuffle = rule(
    F.pixel_unshuffle,
    "input, downscale_factor",
    input=lambda g, input_shape, downscale_factor: F.pixel_shuffle(g, downscale_factor).reshape(input_shape),
)
channel_shuffle = rule(
    F.channel_shuffle,
    "input, groups",
    input=lambda g, groups: F.channel_shuffle(g, g.shape[1] // groups),
)

# --- memory: any view that strides can describe (as_strided_scatter has no rule: torch has its gradient wrong) ---

as_strided = rule(
    torch.as_strided,
    "input, size, stride, storage_offset=None",
    input=lambda g, input, size, stride, storage_offset: from_memory(g, input, size, stride, storage_offset),
)


def from_memory(g: Any, input: Any, size: Any, stride: Any, offset: int | None) -> Any:
    """Add gradients at their places in the memory that ``input`` lies in, and read them where its elements are.

    As in torch, an element of ``input`` gets an equal share of the gradient of its place, if others lie there too.
    """
    addresses = torch.arange(input.untyped_storage().nbytes() // input.element_size(), device=g.device)
    written = addresses.as_strided(size, stride, input.storage_offset() if offset is None else offset)
    read = addresses.as_strided(input.shape, input.stride(), input.storage_offset())
    memory = g.new_zeros(addresses.shape).index_add(0, written.flatten(), g.flatten())
    return memory[read] / read.flatten().bincount(minlength=len(addresses))[read]
