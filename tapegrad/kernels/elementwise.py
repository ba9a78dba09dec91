"""Kernels of arithmetic and powers: numbers as kept tensors, and powers in one fresh buffer."""

from __future__ import annotations

import math
from typing import Any

import torch

from tapegrad.engine.table import elementwise, kernel
from tapegrad.kernels.scalar import as_tensor
from tapegrad.rules.elementwise import addcdiv, base_gradient, div, masked_fill, mul, pow, sinc, sinc_quotient

# --- arithmetic ---

kernel(mul, input=lambda g, other: g * as_tensor(other, g))
kernel(div, input=lambda g, other: g / as_tensor(other, g))
# torch divides the number by the tensor, where Python would multiply by the reciprocal.
kernel(addcdiv, tensor1=lambda g, tensor2, value: g * (tensor2.new_tensor(value) / tensor2))

# --- powers ---


def power_gradient(g: torch.Tensor, input: torch.Tensor, exponent: Any) -> Any:
    """``base_gradient``, in place on the one buffer it makes."""
    if (type(exponent) is not int and type(exponent) is not float) or exponent == 0:
        return base_gradient(g, input, exponent)
    if exponent == 2:  # the commonest power; x + x is 2 x to the bit
        return (input + input).mul_(g)
    return torch.pow(input, exponent - 1).mul_(as_tensor(exponent, input)).mul_(g)


kernel(pow, input=power_gradient)

# --- circles ---

# torch has the quotient to the end, and 0 where the square is, be it by underflow.
kernel(
    sinc,
    input=lambda g, input: torch.where(input * input * math.pi == 0, 0.0, g * sinc_quotient(input)),
)

# --- kinks and choices ---

# torch sums the selected elements alone, without zeros between them.
kernel(masked_fill, value=lambda g, mask: g.masked_select(mask).sum())

# kernel() unmarks an op, as a kernel need not keep the cotangent's shape and dtype; these do, so mark them again.
elementwise(mul, div, pow)
