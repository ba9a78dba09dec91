"""Kernels of means and products: a mean divides by a kept number; a product without a 0, by each factor."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import kernel
from tapegrad.kernels.scalar import as_tensor
from tapegrad.rules import reduction as rules
from tapegrad.rules.reduction import count, mean, prod_all, prod_dim, restore

# --- sums and moments ---


kernel(
    mean,
    # Dividing before the broadcast would be quicker, but the result would not be laid out in memory as torch's is, and
    # sums further back would run in another order.
    input=lambda g, input_shape, dim, keepdim: (
        torch.broadcast_to(restore(g, input_shape, dim, keepdim), input_shape) / as_tensor(count(input_shape, dim), g)
    ),
)


def product_of_all_others(g: torch.Tensor, out: torch.Tensor, input: torch.Tensor) -> Any:
    """Without a 0, torch divides; a number alone has nothing to be divided by."""
    return g * (rules.product_of_all_others(input) if input.ndim == 0 or (input == 0).any() else out / input)


def product_of_others(g: torch.Tensor, out: torch.Tensor, input: torch.Tensor, dim: int, keepdim: bool) -> Any:
    """Likewise."""
    g, out = restore(g, input.shape, dim, keepdim), restore(out, input.shape, dim, keepdim)
    return g * (rules.product_of_others(input, dim) if input.ndim == 0 or (input == 0).any() else out / input)


kernel(prod_all, input=product_of_all_others)
kernel(prod_dim, input=product_of_others)
