"""Padding, in each of torch's modes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import composition
from tapegrad.rules import patches

# --- borders ---


def pad_circularly(input: Any, pad: Any) -> Any:
    """Pad each dimension, the last one first, with what lies at its other end."""
    F.pad(torch.empty(input.shape, device="meta"), pad, "circular")  # raises torch's own error if the pads do not fit
    input = patches.constant_pad(input, [min(n, 0) for n in pad])
    for i in range(len(pad) // 2):
        dim, before, after = -1 - i, max(pad[2 * i], 0), max(pad[2 * i + 1], 0)
        n = input.shape[dim]
        input = torch.cat([input.narrow(dim, n - before, before), input, input.narrow(dim, 0, after)], dim)
    return input


@composition(F.pad)
def pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    if mode == "constant":
        return patches.constant_pad(input, pad, 0 if value is None else value)
    if mode == "circular":
        return pad_circularly(input, pad)
    # The border repeats elements: pad their positions, and read the elements at those.
    dims = len(pad) // 2
    sizes = input.shape[input.ndim - dims :]
    numbers = torch.arange(sizes.numel(), dtype=torch.float64, device=input.device).view(1, 1, *sizes)
    numbers = F.pad(numbers[0] if input.ndim == dims + 1 else numbers, pad, mode)
    elements = input.flatten(-dims).index_select(-1, numbers.flatten().long())
    return elements.unflatten(-1, numbers.shape[-dims:])
