"""Activations as torch.nn.functional has them, with ``inplace=``, and those said in terms of others."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.rules import activations
from tapegrad.rules.opmath import in_float32
from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.functions.spellings import stored
from tapegrad.torch_api.raw import raw


@composition(F.relu)
def relu(input: Any, inplace: bool = False) -> Any:
    return input.relu_() if inplace else activations.relu(input)


@composition(F.relu6)
def relu6(input: Any, inplace: bool = False) -> Any:
    return stored(activations.hardtanh(input, 0.0, 6.0), input, inplace)


@composition(F.hardtanh)
def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    if min_val > max_val:
        raise ValueError("hardtanh(): min_val cannot be greater than max_val")
    return stored(activations.hardtanh(input, min_val, max_val), input, inplace)


@composition(F.hardsigmoid)
def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    return stored(activations.hardsigmoid(input), input, inplace)


@composition(F.hardswish)
def hardswish(input: Any, inplace: bool = False) -> Any:
    return stored(activations.hardswish(input), input, inplace)


@composition(F.threshold, torch.threshold)
def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    return stored(activations.thresholded(input, threshold, value), input, inplace)


@composition(F.leaky_relu)
def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    return stored(activations.leaky_relu(input, negative_slope), input, inplace)


@composition(F.elu)
def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    return stored(activations.elu(input, alpha), input, inplace)


@composition(F.selu)
def selu(input: Any, inplace: bool = False) -> Any:
    return stored(activations.elu(input, 1.6732632423543772, 1.0507009873554805), input, inplace)


@composition(F.celu)
def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    return stored(activations.celu(input, alpha), input, inplace)


@composition(F.silu)
def silu(input: Any, inplace: bool = False) -> Any:
    return stored(activations.silu(input), input, inplace)


@composition(F.mish)
def mish(input: Any, inplace: bool = False) -> Any:
    return stored(activations.mish(input), input, inplace)


@composition(F.rrelu)
def rrelu(
    input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Any:
    if lower > upper:
        raise RuntimeError(f"rrelu(): lower = {lower} must not exceed upper = {upper}")
    if not training:
        return stored(activations.leaky_relu(input, (lower + upper) / 2), input, inplace)
    x = in_float32(input)
    slope = torch.empty(x.shape, dtype=x.dtype, device=x.device)  # 1 where the input is positive
    torch.ops.aten.rrelu_with_noise(raw(x), slope, lower, upper, True)
    return stored((x * slope).to(input.dtype), input, inplace)


@composition(F.softsign)
def softsign(input: Any) -> Any:
    return input / (input.abs() + 1)


@composition(F.tanhshrink)
def tanhshrink(input: Any) -> Any:
    return input - input.tanh()
