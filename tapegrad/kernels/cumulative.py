"""The kernel of the cumulative product."""

from __future__ import annotations

from tapegrad.engine.table import kernel
from tapegrad.rules.cumulative import cumprod, cumprod_gradient, cumsum_reversed

# Without a 0, torch divides.
kernel(
    cumprod,
    input=lambda g, out, input, dim: (
        cumprod_gradient(g, input, dim) if (input == 0).any() else cumsum_reversed(out * g, dim) / input
    ),
)
