"""Kernels of means and products: a mean divides by a kept number; a product without a 0, by each factor."""

from __future__ import annotations

import torch

from tapegrad.engine.table import kernel
from tapegrad.kernels.scalar import as_tensor
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
# Without a 0, torch divides.
kernel(
    prod_all,
    input=lambda g, out, input: prod_all.formulas["input"](g, input) if (input == 0).any() else g * (out / input),
)
kernel(
    prod_dim,
    input=lambda g, out, input, dim, keepdim: (
        prod_dim.formulas["input"](g, input, dim, keepdim)
        if (input == 0).any()
        else restore(g, input.shape, dim, keepdim) * (restore(out, input.shape, dim, keepdim) / input)
    ),
)
