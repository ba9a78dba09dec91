"""Rules of functions that work element by element: arithmetic, powers, exponentials, circles, kinks and choices.

Activations are in ``activations.py``, the gamma and error functions and their kin in ``special.py``.
"""

from __future__ import annotations

import cmath
import math
from typing import Any

import torch

from tapegrad.engine.table import elementwise, rule

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
positive = rule(torch.positive, input=lambda g: g)
reciprocal = rule(torch.reciprocal, input=lambda g, out: -g * (out * out))
addcmul = rule(
    torch.addcmul,
    "input, tensor1, tensor2, *, value=1",
    input=lambda g: g,
    tensor1=lambda g, tensor2, value: g * (tensor2 * value),
    tensor2=lambda g, tensor1, value: g * (tensor1 * value),
)
addcdiv = rule(
    torch.addcdiv,
    "input, tensor1, tensor2, *, value=1",
    input=lambda g: g,
    tensor1=lambda g, tensor2, value: g * (value / tensor2),
    tensor2=lambda g, tensor1, tensor2, value: -g * (value * tensor1 / (tensor2 * tensor2)),
)
lerp = rule(
    torch.lerp,
    "input, end, weight",
    input=lambda g, weight: g * (1 - weight),
    end=lambda g, weight: g * weight,
    weight=lambda g, input, end: g * (end - input),
)
deg2rad = rule(torch.deg2rad, input=lambda g: g * (math.pi / 180))
rad2deg = rule(torch.rad2deg, input=lambda g: g * (180 / math.pi))


@rule(input=lambda g: g, other=lambda g, alpha: g * alpha)
def scaled_add(input: Any, other: Any, alpha: Any) -> Any:
    """``input + alpha * other``."""
    return torch.add(input, other, alpha=alpha)


@rule(input=lambda g: g, other=lambda g, alpha: -(g * alpha))
def scaled_sub(input: Any, other: Any, alpha: Any) -> Any:
    """``input - alpha * other``: an unsigned alpha cannot be negated."""
    return torch.sub(input, other, alpha=alpha)


# --- steps: flat between the jumps, so the gradient is 0 ---


def zero_gradient(g: Any) -> Any:
    """The gradient of what is constant between jumps."""
    return torch.zeros_like(g)


floor = rule(torch.floor, input=zero_gradient)
ceil = rule(torch.ceil, input=zero_gradient)
trunc = rule(torch.trunc, input=zero_gradient)
sign = rule(torch.sign, input=zero_gradient)
sgn = rule(torch.sgn, input=lambda g, out, input: torch.zeros_like(g))  # complex numbers need all three: see complex.py
round = rule(torch.round, "input, *, decimals=0", input=zero_gradient)


@rule(input=zero_gradient, other=zero_gradient)
def rounded_div(input: Any, other: Any, rounding_mode: Any) -> Any:
    """A quotient rounded down, or towards 0."""
    return torch.div(input, other, rounding_mode=rounding_mode)


frac = rule(torch.frac, input=lambda g: g)
# Where both are equal neither has a gradient, as in torch.
nextafter = rule(
    torch.nextafter,
    "input, other",
    input=lambda g, input, other: torch.where(input == other, 0.0, g),
    other=zero_gradient,
)
# x - y floor(x / y), and with trunc: between the jumps the quotient is constant.
remainder = rule(
    torch.remainder,
    "input, other",
    input=lambda g: g,
    other=lambda g, input, other: -g * torch.div(input, other, rounding_mode="floor"),
)
fmod = rule(
    torch.fmod,
    "input, other",
    input=lambda g: g,
    other=lambda g, input, other: -g * torch.div(input, other, rounding_mode="trunc"),
)

# --- powers ---


def base_gradient(g: Any, input: Any, exponent: Any) -> Any:
    """d(x**p)/dx = p x**(p-1), and 0 where p = 0, also at x = 0."""
    x, p = input, exponent
    if isinstance(p, (int, float, complex)):
        return g * (p * x ** (p - 1)) if p != 0 else torch.zeros_like(g)
    return torch.where(p == 0, 0.0, g * (p * x ** (p - 1)))


def exponent_slope(out: Any, x: Any, p: Any) -> Any:
    """d(x**p)/dp = x**p log x, and 0 where x = 0 and p >= 0."""
    if isinstance(x, (int, float)):
        if x == 0:
            return torch.where(p.real >= 0, 0.0, out * -math.inf)
        return out * (math.log(x) if x > 0 else cmath.log(x) if out.is_complex() else math.nan)
    if isinstance(x, complex):
        return out * cmath.log(x)
    return torch.where((x == 0) & (p.real >= 0), 0.0, out * x.to(out.dtype).log())


pow = rule(
    torch.pow,
    "input, exponent",
    input=base_gradient,
    exponent=lambda g, out, input, exponent: g * exponent_slope(out, input, exponent),
)
square = rule(torch.square, input=lambda g, input: g * (2 * input))
# The slope at 0 is infinite, as in torch.
sqrt = rule(torch.sqrt, input=lambda g, out: g / (2 * out))
rsqrt = rule(torch.rsqrt, input=lambda g, out: -0.5 * g * out**3)
hypot = rule(
    torch.hypot,
    "input, other",
    input=lambda g, out, input: g * input / out,
    other=lambda g, out, other: g * other / out,
)
# x 2**n
ldexp = rule(
    torch.ldexp,
    "input, other",
    input=lambda g, other: g * 2.0**other,
    other=lambda g, out: g * out * math.log(2),
)

# --- exponentials and logarithms ---

exp = rule(torch.exp, input=lambda g, out: g * out)
exp2 = rule(torch.exp2, input=lambda g, out: g * out * math.log(2))
expm1 = rule(torch.expm1, input=lambda g, out: g * (out + 1))
log = rule(torch.log, input=lambda g, input: g / input)
log2 = rule(torch.log2, input=lambda g, input: g / (input * math.log(2)))
# torch's log 10, one bit below the nearest double.
log10 = rule(torch.log10, input=lambda g, input: g / (input * 2.3025850929940455))
log1p = rule(torch.log1p, input=lambda g, input: g / (input + 1))
# Each side's share of e**a + e**b.
logaddexp = rule(
    torch.logaddexp,
    "input, other",
    input=lambda g, input, other: g / (1 + (other - input).exp()),
    other=lambda g, input, other: g / (1 + (input - other).exp()),
)
logaddexp2 = rule(
    torch.logaddexp2,
    "input, other",
    input=lambda g, input, other: g / (1 + 2 ** (other - input)),
    other=lambda g, input, other: g / (1 + 2 ** (input - other)),
)

# --- circles and hyperbolas ---

sin = rule(torch.sin, input=lambda g, input: g * input.cos())
cos = rule(torch.cos, input=lambda g, input: g * -input.sin())
tan = rule(torch.tan, input=lambda g, out: g * (1 + out * out))
asin = rule(torch.asin, input=lambda g, input: g * (1 - input * input).rsqrt())
acos = rule(torch.acos, input=lambda g, input: g * -(1 - input * input).rsqrt())
atan = rule(torch.atan, input=lambda g, input: g / (input * input + 1))
sinh = rule(torch.sinh, input=lambda g, input: g * input.cosh())
cosh = rule(torch.cosh, input=lambda g, input: g * input.sinh())
asinh = rule(torch.asinh, input=lambda g, input: g * (input * input + 1).rsqrt())
acosh = rule(torch.acosh, input=lambda g, input: g * (input * input - 1).rsqrt())
atanh = rule(torch.atanh, input=lambda g, input: g / (1 - input * input))


def inverse_square(x: Any, y: Any) -> Any:
    """1 / (x**2 + y**2), and 0 at the origin, as torch has it."""
    square = x * x + y * y
    return square.reciprocal().masked_fill(square == 0, 0.0)


atan2 = rule(
    torch.atan2,
    "input, other",
    input=lambda g, input, other: g * other * inverse_square(input, other),
    other=lambda g, input, other: g * -input * inverse_square(input, other),
)


def sinc_quotient(x: Any) -> Any:
    """d(sin(pi x) / (pi x))/dx, away from 0."""
    return (math.pi * x * (math.pi * x).cos() - (math.pi * x).sin()) / (x * x * math.pi)


def sinc_series(x: Any) -> Any:
    """The same near 0: pi (-t / 3 + t**3 / 30 - t**5 / 840 + t**7 / 45360 - ...), t = pi x."""
    t = math.pi * x
    return math.pi * t * (-1 / 3 + t * t * (1 / 30 + t * t * (-1 / 840 + t * t / 45360)))


def sinc_slope(x: Any) -> Any:
    """The quotient, or where that has no digits left the series; each is given only what it is made for."""
    near = x.abs() < 0.03
    return torch.where(near, sinc_series(torch.where(near, x, 0.0)), sinc_quotient(torch.where(near, 0.03, x)))


# sin(pi x) / (pi x)
sinc = rule(torch.sinc, input=lambda g, input: g * sinc_slope(input))

# --- kinks and choices ---

# The slope at 0 is 0, as in torch.
abs = rule(torch.abs, input=lambda g, input: g * torch.sgn(input))
# 0 or pi: flat.
angle = rule(torch.angle, input=lambda g, input: torch.zeros_like(g))
# |a| with the sign of b; at a = 0 the slope is 0, as in torch.
copysign = rule(
    torch.copysign,
    "input, other",
    input=lambda g, out, input: g * torch.where(input == 0, 0.0, out / input),
    other=zero_gradient,
)
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
# At a tie the first takes all, as in torch; NaN loses.
fmax = rule(
    torch.fmax,
    "input, other",
    input=lambda g, input, other: g.masked_fill(~((input >= other) | other.isnan()), 0.0),
    other=lambda g, input, other: g.masked_fill((input >= other) | other.isnan(), 0.0),
)
fmin = rule(
    torch.fmin,
    "input, other",
    input=lambda g, input, other: g.masked_fill(~((input <= other) | other.isnan()), 0.0),
    other=lambda g, input, other: g.masked_fill((input <= other) | other.isnan(), 0.0),
)


def not_below(x: Any, y: Any) -> Any:
    """``x >= y``, where a bound that is None holds always."""
    return True if x is None or y is None else x >= y


# On a bound the input still has its gradient, as in torch; where the bounds cross, the upper one holds.
clamp = rule(
    torch.clamp,
    "input, min=None, max=None",
    input=lambda g, input, min, max: torch.where(not_below(input, min) & not_below(max, input), g, 0.0),
    min=lambda g, input, min, max: torch.where((input < min) & (True if max is None else min < max), g, 0.0),
    max=lambda g, input, min, max: torch.where((input > max) | (False if min is None else max < min), g, 0.0),
)
nan_to_num = rule(
    torch.nan_to_num,
    "input, nan=None, posinf=None, neginf=None",
    input=lambda g, input: g * input.isfinite(),
)
# What was not chosen gets 0, whatever it was: NaN does not leak.
where = rule(
    torch.where,
    "condition, input, other",
    input=lambda g, condition: torch.where(condition, g, 0.0),
    other=lambda g, condition: torch.where(condition, 0.0, g),
)
masked_fill = rule(
    torch.masked_fill,
    "input, mask, value",
    input=lambda g, mask: g.masked_fill(mask, 0.0),
    value=lambda g, mask: torch.where(mask, g, 0.0).sum(),
)
clone = rule(torch.clone, "input, *, memory_format=torch.preserve_format", input=lambda g: g)


@rule(aux=["exponent"], input=lambda g, exponent: g / exponent.exp2())
def mantissa(input: Any) -> Any:
    """m in x = m 2**exponent, 1/2 <= |m| < 1."""
    return torch.frexp(input)


# --- the commonest whose gradients have the cotangent's shape and dtype ---

elementwise(add, sub, rsub, mul, div, neg, pow, square, sqrt, rsqrt, exp, log, sin, cos, abs)
