"""Kernels of arithmetic and powers: numbers as kept tensors, and in place on a buffer of their own."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import elementwise, kernel
from tapegrad.kernels.scalar import as_tensor
from tapegrad.rules.elementwise import addcdiv, base_gradient, div, masked_fill, mul, pow

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
    if exponent == 2:  # most of the powers there are, and x + x is 2 x to the bit
        return (input + input).mul_(g)
    return torch.pow(input, exponent - 1).mul_(as_tensor(exponent, input)).mul_(g)


kernel(pow, input=power_gradient)

# --- kinks and choices ---

# torch sums what the mask selects and no zeros between.
kernel(masked_fill, value=lambda g, mask: g.masked_select(mask).sum())

# A kernel takes its op's mark away, for it need not keep the shape and dtype of the cotangent; these do.
elementwise(mul, div, pow)
