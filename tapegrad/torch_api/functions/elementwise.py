"""Arithmetic with torch's options, choices, draws, and torch's other names of element-wise functions."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import TABLE, alias
from tapegrad.engine.tensor import Tensor
from tapegrad.errors import MissingRule
from tapegrad.rules import elementwise
from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.raw import raw

# --- arithmetic ---


@composition(torch.add)
def add(input: Any, other: Any, *, alpha: float = 1) -> Any:
    return elementwise.add(input, other) if alpha == 1 else elementwise.scaled_add(input, other, alpha)


def numbers(*values: Any) -> None:
    """Refuse booleans, which torch does not subtract."""
    if any(isinstance(v, (Tensor, torch.Tensor)) and v.dtype is torch.bool for v in values):
        raise RuntimeError("sub(): subtraction of a bool tensor is not supported; use `~` or logical_not()")


@composition(torch.sub)
def sub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    if alpha == 1:
        return elementwise.sub(input, other)
    numbers(input, other)
    return elementwise.scaled_sub(input, other, alpha)


@composition(torch.rsub)
def rsub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    if alpha == 1:
        return elementwise.rsub(input, other)
    numbers(input, other)
    return elementwise.scaled_sub(other, input, alpha)


@composition(torch.div)
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    if rounding_mode is None:
        return elementwise.div(input, other)
    return elementwise.rounded_div(input, other, rounding_mode)


@composition(torch.true_divide)
def true_divide(input: Any, other: Any) -> Any:
    return elementwise.div(input, other)


# --- powers ---


def doubled(value: Any) -> Any:
    """A tensor in double precision, real or complex; a number as it is."""
    if isinstance(value, (int, float, complex)):
        return value
    return value.to(torch.complex128 if value.is_complex() else torch.float64)


@composition(torch.float_power)
def float_power(input: Any, exponent: Any) -> Any:
    return elementwise.pow(doubled(input), doubled(exponent))


# --- kinks and choices ---


@composition(torch.clamp_min)
def clamp_min(input: Any, min: Any) -> Any:
    return elementwise.clamp(input, min)


@composition(torch.clamp_max)
def clamp_max(input: Any, max: Any) -> Any:
    return elementwise.clamp(input, None, max)


@composition(torch.where)
def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    return torch.nonzero(condition, as_tuple=True) if input is None else elementwise.where(condition, input, other)


@composition(torch.frexp)
def frexp(input: Any) -> Any:
    return torch.return_types.frexp(elementwise.mantissa(input))


# --- drawn from a distribution: random steps, so the gradient is 0, as in torch ---


def step_function(value: torch.Tensor, parameter: Any) -> Any:
    """A drawn value, which depends on its parameter by jumps alone."""
    return torch.where(torch.ones_like(value, dtype=torch.bool), value, parameter.to(value.dtype))


@composition(torch.bernoulli)
def bernoulli(input: Any, p: Any = None, *, generator: Any = None) -> Any:
    return step_function(torch.bernoulli(raw(input), *([] if p is None else [p]), generator=generator), input)


@composition(torch.poisson)
def poisson(input: Any, generator: Any = None) -> Any:
    return step_function(torch.poisson(raw(input), generator), input)


@composition(torch.normal)
def normal(mean: Any, std: Any = 1.0, *, generator: Any = None) -> Any:
    value = torch.normal(raw(mean), raw(std), generator=generator)
    if value.is_complex():
        raise MissingRule("normal(): mean is complex, which torch does not differentiate; .detach() mean and std")
    return step_function(value, (mean + std).to(value.dtype))


# --- torch's other names ---

ALIASES: list[tuple[Any, ...]] = [
    (torch.sub, torch.subtract), (torch.mul, torch.multiply), (torch.div, torch.divide),
    (torch.neg, torch.negative), (torch.trunc, torch.fix), (torch.abs, torch.absolute), (torch.clamp, torch.clip),
    (torch.asin, torch.arcsin), (torch.acos, torch.arccos), (torch.atan, torch.arctan), (torch.atan2, torch.arctan2),
    (torch.asinh, torch.arcsinh), (torch.acosh, torch.arccosh), (torch.atanh, torch.arctanh),
]  # fmt: skip
for function, *others in ALIASES:
    alias(function, *others)
# Methods whose self is not the function's first argument.
TABLE[torch.Tensor.where] = lambda input, condition, other: elementwise.where(condition, input, other)
# Python's operators with a torch tensor on the left.
TABLE[torch.Tensor.__pow__] = elementwise.pow
TABLE[torch.Tensor.__rmod__] = lambda input, other: elementwise.remainder(other, input)
TABLE[torch.Tensor.__rpow__] = lambda input, other: elementwise.pow(other, input)
TABLE[torch.Tensor.__rdiv__] = lambda input, other: input.reciprocal() * other
TABLE[torch.Tensor.__rsub__] = lambda input, other: elementwise.sub(other, input)
