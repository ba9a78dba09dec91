"""Rules of functions that work element by element."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.op import TABLE, composition, kernel, rule

# --- arithmetic ---

add = rule(torch.add, "input, other", input=lambda g: g, other=lambda g: g)
sub = rule(torch.sub, "input, other", input=lambda g: g, other=lambda g: -g)
rsub = rule(torch.rsub, "input, other", input=lambda g: -g, other=lambda g: g)
mul = rule(
    torch.mul,
    "input, other",
    input=lambda g, other: g * other,
    other=lambda g, input: g * input,
)
div = rule(
    torch.div,
    "input, other",
    input=lambda g, other: g / other,
    # torch's order of operations, for the bits: a / b**2 as (a / b) / b.
    other=lambda g, input, other: -g * ((input / other) / other),
)
neg = rule(torch.neg, input=lambda g: -g)
reciprocal = rule(torch.reciprocal, input=lambda g, out: -g * (out * out))


@rule(input=lambda g: g, other=lambda g, alpha: g * alpha)
def scaled_add(input: Any, other: Any, alpha: Any) -> Any:
    """``input + alpha * other``."""
    return torch.add(input, other, alpha=alpha)


@composition(torch.add)
def _add(input: Any, other: Any, *, alpha: float = 1) -> Any:
    return add(input, other) if alpha == 1 else scaled_add(input, other, alpha)


@composition(torch.sub, torch.subtract)
def _sub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    return sub(input, other) if alpha == 1 else scaled_add(input, other, -alpha)


@composition(torch.rsub)
def _rsub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    return rsub(input, other) if alpha == 1 else scaled_add(other, input, -alpha)


# Steps: flat everywhere but where they jump, so the gradient is 0.
@rule(input=lambda g: torch.zeros_like(g), other=lambda g: torch.zeros_like(g))
def rounded_div(input: Any, other: Any, rounding_mode: str) -> Any:
    """``input / other``, rounded to whole numbers."""
    return torch.div(input, other, rounding_mode=rounding_mode)


@composition(torch.div)
def _div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    return div(input, other) if rounding_mode is None else rounded_div(input, other, rounding_mode)


# --- powers ---

pow = rule(
    torch.pow,
    "input, exponent",
    input=lambda g, input, exponent: base_gradient(g, input, exponent),
    exponent=lambda g, out, input, exponent: g * exponent_slope(out, input, exponent),
)
# A square is most of the powers there are, and x + x is 2 x to the bit.
kernel(
    pow,
    input=lambda g, input, exponent: (
        g * (input + input) if type(exponent) is int and exponent == 2 else base_gradient(g, input, exponent)
    ),
)
composition(torch.Tensor.__pow__)(lambda input, exponent: pow(input, exponent))  # a torch tensor ** a Tensor
square = rule(torch.square, input=lambda g, input: g * (2 * input))
# The slope at 0 is infinite, as in torch.
sqrt = rule(torch.sqrt, input=lambda g, out: g / (2 * out))
rsqrt = rule(torch.rsqrt, input=lambda g, out: -0.5 * g * out**3)


def base_gradient(g: Any, x: Any, p: Any) -> Any:
    """d(x**p)/dx = p x**(p-1), and 0 where p = 0, also at x = 0."""
    if isinstance(p, (int, float)):
        return g * (p * x ** (p - 1)) if p != 0 else torch.zeros_like(g)
    return torch.where(p == 0, 0.0, g * (p * x ** (p - 1)))


def exponent_slope(out: Any, x: Any, p: Any) -> Any:
    """d(x**p)/dp = x**p log x, and 0 where x = 0 and p >= 0."""
    if isinstance(x, (int, float)):
        if x == 0:
            return torch.where(p >= 0, 0.0, out * -math.inf)
        return out * (math.log(x) if x > 0 else math.nan)
    return torch.where((x == 0) & (p >= 0), 0.0, out * x.to(out.dtype).log())


# --- exponentials and logarithms ---

exp = rule(torch.exp, input=lambda g, out: g * out)
log = rule(torch.log, input=lambda g, input: g / input)
log2 = rule(torch.log2, input=lambda g, input: g / (input * math.log(2)))
# torch's log 10, one bit below the nearest double.
log10 = rule(torch.log10, input=lambda g, input: g / (input * 2.3025850929940455))
log1p = rule(torch.log1p, input=lambda g, input: g / (input + 1))
expm1 = rule(torch.expm1, input=lambda g, out: g * (out + 1))
sin = rule(torch.sin, input=lambda g, input: g * input.cos())
cos = rule(torch.cos, input=lambda g, input: g * -input.sin())

# --- activations ---


@cache
def one(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The number 1 as a tensor."""
    return torch.ones((), dtype=dtype, device=device)


tanh = rule(torch.tanh, input=lambda g, out: g * (1 - out * out))
# torch rounds 1 - out * out once (a fused multiply-add); so does addcmul.
kernel(tanh, input=lambda g, out: torch.addcmul(one(out.dtype, out.device), out, out, value=-1).mul_(g))
sigmoid = rule(torch.sigmoid, input=lambda g, out: g * (1 - out) * out)
# The slope at 0 is 0, as in torch.
relu = rule(torch.relu, input=lambda g, out: torch.where(out <= 0, 0.0, g))


@composition(F.relu)
def _relu(input: Any, inplace: bool = False) -> Any:
    return input.relu_() if inplace else relu(input)


# --- kinks and choices ---

# The slope at 0 is 0, as in torch.
sgn = rule(torch.sgn, input=lambda g: torch.zeros_like(g))
sign = rule(torch.sign, input=lambda g: torch.zeros_like(g))
abs = rule(torch.abs, input=lambda g, input: g * torch.sgn(input))
# Ties are shared, each side getting half; where one side is NaN, both get all. As in torch.
maximum = rule(
    torch.maximum,
    "input, other",
    input=lambda g, input, other: torch.where(input == other, g / 2, torch.where(input < other, 0.0, g)),
    other=lambda g, input, other: torch.where(input == other, g / 2, torch.where(input > other, 0.0, g)),
)
minimum = rule(
    torch.minimum,
    "input, other",
    input=lambda g, input, other: torch.where(input == other, g / 2, torch.where(input > other, 0.0, g)),
    other=lambda g, input, other: torch.where(input == other, g / 2, torch.where(input < other, 0.0, g)),
)
# What was not chosen gets 0, whatever it was: NaN does not leak.
where = rule(
    torch.where,
    "condition, input, other",
    input=lambda g, condition: torch.where(condition, g, 0.0),
    other=lambda g, condition: torch.where(condition, 0.0, g),
)
TABLE[torch.Tensor.where] = lambda input, condition, other: where(condition, input, other)  # x.where(condition, y)
masked_fill = rule(
    torch.masked_fill,
    "input, mask, value",
    input=lambda g, mask: g.masked_fill(mask, 0.0),
    value=lambda g, mask: torch.where(mask, g, 0.0).sum(),
)
clone = rule(torch.clone, "input, *, memory_format=torch.preserve_format", input=lambda g: g)
