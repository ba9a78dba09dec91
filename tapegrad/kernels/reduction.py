"""Kernels of reduction: the mathematics of the rules, on raw tensors."""

from __future__ import annotations

import torch

from tapegrad.engine.table import kernel
from tapegrad.kernels.scalar import as_tensor
from tapegrad.rules.reduction import count, mean, prod_all, prod_dim, restore

# --- sums and moments ---


kernel(
    mean,
    # To divide a number and expand it then would be quicker, but not lie in memory as torch's gradient does; and the
    # order of memory is the order in which sums further back are taken.
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
