"""Kernels of activations: torch's roundings, and relu's mask without a branch for each element."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tapegrad.engine.table import elementwise, kernel
from tapegrad.kernels.exponential import exp_minus_abs
from tapegrad.kernels.scalar import in_a_mode
from tapegrad.rules.activations import (
    celu,
    elu,
    exponential_below_zero,
    hardswish,
    logsigmoid,
    mish,
    relu,
    silu,
    single,
    softplus,
    tanh,
)

_ones: dict[tuple[torch.dtype, torch.device], torch.Tensor] = {}


def one(like: torch.Tensor) -> torch.Tensor:
    """The number 1 as a tensor, of the dtype and on the device of another."""
    key = like.dtype, like.device
    kept = _ones.get(key) if type(like) is torch.Tensor else None
    if kept is None:
        kept = torch.ones((), dtype=like.dtype, device=like.device)
        if type(like) is torch.Tensor and not in_a_mode():
            _ones[key] = kept
    return kept


# --- saturating ---

# addcmul rounds 1 - out * out once, as torch's fused multiply-add does.
kernel(tanh, input=lambda g, out: torch.addcmul(one(out), out, out, value=-1).mul_(g))


def sigmoid_of_negative(x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """sigmoid(-x) by way of z = exp(-|x|)."""
    return torch.where(x < 0, 1 - z / (1 + z), z / (1 + z))


kernel(logsigmoid, input=lambda g, input: g * sigmoid_of_negative(input, exp_minus_abs(input)))

# --- rectified ---

MANY = 4096  # elements
INTEGERS = {  # of the same width
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}


def masked_by_bits(g: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """``torch.where(out <= 0, 0.0, g)`` in a fraction of the time: where takes a branch for each element."""
    if g.numel() < MANY or g.dtype not in INTEGERS:
        return torch.where(out <= 0, 0.0, g)
    integers = INTEGERS[g.dtype]
    all_bits_or_none = (out <= 0).to(integers).sub_(1)
    return all_bits_or_none.bitwise_and_(g.view(integers)).view(g.dtype)


kernel(relu, input=masked_by_bits)
kernel(elu, input=lambda g, input, alpha, scale: exponential_below_zero(g, input, alpha, scale, 1.0, exp_minus_abs))
# With a negative alpha celu's exponential grows.
kernel(
    celu,
    input=lambda g, input, alpha: exponential_below_zero(
        g, input, alpha, 1.0, 1 / single(alpha), exp_minus_abs if alpha > 0 else torch.exp
    ),
)


def softplus_gradient(g: torch.Tensor, input: torch.Tensor, beta: float, threshold: float) -> torch.Tensor:
    """g sigmoid(beta x) by way of z = exp(beta x), as torch has it; where that overflows, g."""
    z = (input * beta).exp()
    return torch.where((input * beta > threshold) | z.isinf(), g, g * z / (z + 1))


kernel(softplus, input=softplus_gradient)

# --- x times a gate ---


def silu_gradient(g: torch.Tensor, input: torch.Tensor) -> torch.Tensor:
    """The gradient of x s, s = sigmoid(x)."""
    s = torch.sigmoid(input)
    return g * s * torch.addcmul(one(input), input, 1 - s)


# addcmul rounds once, as torch's fused multiply-add does.
kernel(silu, input=silu_gradient)


def mish_slope(x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """d(x t)/dx for the gate t = tanh(softplus(x))."""
    falloff = torch.addcmul(one(x), gate, gate, value=-1)
    return torch.addcmul(gate, x * torch.sigmoid(x), falloff)


# torch sends 0.0 from below, whatever the sign of g.
kernel(
    hardswish,
    input=lambda g, input: torch.where(input <= -3, 0.0, torch.where(input < 3, g * (input / 3 + 0.5), g)),
)
# Likewise.
kernel(mish, input=lambda g, input: g * mish_slope(input, F.softplus(input).tanh()))

# kernel() unmarks an op, as a kernel need not keep the cotangent's shape and dtype; these do, so mark them again.
elementwise(tanh, relu, silu)
