"""The kernel of the cumulative product: where no factor is 0, divide, as torch does."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import kernel
from tapegrad.rules.cumulative import cumprod, cumprod_gradient, cumsum_reversed


def divided(g: torch.Tensor, out: torch.Tensor, input: torch.Tensor, dim: int) -> Any:
    """Without a 0, torch divides; a single factor has nothing to be divided by."""
    if input.ndim == 0 or input.shape[dim] == 1 or (input == 0).any():
        return cumprod_gradient(g, input, dim)
    return cumsum_reversed(out * g, dim) / input


kernel(cumprod, input=divided)
