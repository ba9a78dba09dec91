"""Rules of sliding windows, borders and pixels: elements are moved or copied; gradients move back and add up."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import rule

# --- windows: an element gets the sum over the windows that it is in ---


def add_overlapping(g: Any, input_shape: torch.Size, dimension: int, size: int, step: int) -> Any:
    """Add up windows, which lie in the last dimension, where they overlap along ``dimension``."""
    if not input_shape:
        return g.sum()
    dim = dimension % len(input_shape)
    positions = torch.arange(input_shape[dim], device=g.device).unfold(0, size, step).flatten()
    elements = g.movedim(-1, dim + 1).flatten(dim, dim + 1)
    return torch.index_add(g.new_zeros(input_shape), dim, positions, elements)


unfold = rule(
    torch.Tensor.unfold,
    "input, dimension, size, step",
    input=add_overlapping,
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

# --- borders ---

constant_pad = rule(
    torch.constant_pad_nd,
    "input, pad, value=0",
    input=lambda g, pad: torch.constant_pad_nd(g, [-n for n in pad]),
)

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


def add_in_memory(g: Any, input: Any, size: Any, stride: Any, storage_offset: int | None) -> Any:
    """Add gradients at their addresses in the memory that ``input`` lies in, and read them where its elements are.

    As in torch, an element of ``input`` gets an equal share of the gradient at its address, if others lie there too.
    """
    addresses = torch.arange(input.untyped_storage().nbytes() // input.element_size(), device=g.device)
    offset = input.storage_offset() if storage_offset is None else storage_offset
    of_output = addresses.as_strided(size, stride, offset)
    of_input = addresses.as_strided(input.shape, input.stride(), input.storage_offset())
    memory = g.new_zeros(addresses.shape).index_add(0, of_output.flatten(), g.flatten())
    return memory[of_input] / of_input.flatten().bincount(minlength=len(addresses))[of_input]


as_strided = rule(
    torch.as_strided,
    "input, size, stride, storage_offset=None",
    input=add_in_memory,
)
