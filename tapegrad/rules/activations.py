"""Rules of activations: functions of one tensor, element by element, as networks use them."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import alias, elementwise, rule

SIXTH = 0.1666666716337204  # torch's 1 / 6, a float32 in every dtype

# --- saturating ---

tanh = rule(torch.tanh, input=lambda g, out: g * (1 - out * out))
sigmoid = rule(torch.sigmoid, input=lambda g, out: g * (1 - out) * out)
alias(torch.sigmoid, torch.special.expit)
# At their corners hardtanh and hardsigmoid are flat, as in torch. At NaN, hardtanh and the shrinking functions pass the
# gradient, hardsigmoid does not; so does torch where it goes by element, though its vector units send 0.
hardtanh = rule(
    torch._C._nn.hardtanh,
    "input, min_val=-1.0, max_val=1.0",
    input=lambda g, input, min_val, max_val: torch.where((input <= min_val) | (input >= max_val), 0.0, g),
)
hardsigmoid = rule(
    torch._C._nn.hardsigmoid,
    input=lambda g, input: torch.where((input > -3) & (input < 3), g * SIXTH, 0.0),
)
# log(sigmoid(x)); its slope 1 - sigmoid(x) is sigmoid(-x). Of the two, the one with the small sigmoid keeps the digits
# of the second derivative, -sigmoid(x) sigmoid(-x).
logsigmoid = rule(
    F.logsigmoid,
    input=lambda g, input: g * torch.where(input < 0, 1 - torch.sigmoid(input), torch.sigmoid(-input)),
)

# --- rectified ---

# The slope at 0 is 0, as in torch.
relu = rule(torch.relu, input=lambda g, out: torch.where(out <= 0, 0.0, g))


@rule(input=lambda g, input, threshold: torch.where(input <= threshold, 0.0, g))
def thresholded(input: Any, threshold: Any, value: Any) -> Any:
    """The input where it exceeds ``threshold``, ``value`` elsewhere."""
    return torch.threshold(input, threshold, value)


# The slope at 0 is the negative side's, as in torch.
leaky_relu = rule(
    torch._C._nn.leaky_relu,
    "input, negative_slope=0.01",
    input=lambda g, input, negative_slope: torch.where(input > 0, g, g * negative_slope),
)


def exponential_below_zero(g: Any, x: Any, alpha: float, scale: float, slope: float, exp: Any = torch.exp) -> Any:
    """scale d(x)/dx where x > 0, else scale d(alpha (exp(slope x) - 1))/dx; flat at 0 in the second derivative."""
    below = torch.where(x < 0, x, 0.0)  # so that nothing comes back from what is not chosen
    return torch.where(x <= 0, g * slope * (alpha * scale) * exp(below * slope), g * scale)


elu = rule(
    torch._C._nn.elu,
    "input, alpha=1.0, scale=1.0",
    input=lambda g, input, alpha, scale: exponential_below_zero(g, input, alpha, scale, slope=1.0),
)


def single(number: float) -> float:
    """A number in single precision, as torch takes celu's alpha for the gradient."""
    return torch.tensor(number, dtype=torch.float32).item()


celu = rule(
    torch.celu,
    "input, alpha=1.0",
    input=lambda g, input, alpha: exponential_below_zero(g, input, alpha, scale=1.0, slope=1 / single(alpha)),
)
softplus = rule(
    F.softplus,
    "input, beta=1.0, threshold=20.0",
    input=lambda g, input, beta, threshold: torch.where(input * beta > threshold, g, g * torch.sigmoid(input * beta)),
)
# Within lambd of 0 both shrink to 0, the edge included, as in torch.
hardshrink = rule(
    torch.hardshrink,
    "input, lambd=0.5",
    input=lambda g, input, lambd: torch.where((input >= -lambd) & (input <= lambd), 0.0, g),
)
softshrink = rule(
    F.softshrink,
    "input, lambd=0.5",
    input=lambda g, input, lambd: torch.where((input >= -lambd) & (input <= lambd), 0.0, g),
)

# --- x times a gate ---

# x s(x) has the slope s + x s (1 - s).
silu = rule(
    torch._C._nn.silu,
    input=lambda g, input: g * torch.sigmoid(input) * (1 + input * (1 - torch.sigmoid(input))),
)


def mish_slope(x: Any, gate: Any) -> Any:
    """d(x t)/dx for the gate t = tanh(softplus(x))."""
    return gate + x * torch.sigmoid(x) * (1 - gate * gate)


# x tanh(softplus(x))
mish = rule(torch._C._nn.mish, input=lambda g, input: g * mish_slope(input, F.softplus(input).tanh()))
hardswish = rule(
    torch._C._nn.hardswish,
    input=lambda g, input: g * torch.where(input <= -3, 0.0, torch.where(input < 3, input / 3 + 0.5, 1.0)),
)


def gelu_slope(x: Any) -> Any:
    """d(x cdf(x))/dx = cdf(x) + x pdf(x)."""
    cdf = 0.5 * (1 + (x * math.sqrt(0.5)).erf())
    pdf = (x * x * -0.5).exp() * (1 / math.sqrt(2 * math.pi))
    return cdf + x * pdf


def gelu_tanh_slope(x: Any) -> Any:
    """d(x h)/dx for the gate h = (1 + tanh(u)) / 2, u = sqrt(2/pi) (x + 0.044715 x**3)."""
    beta, kappa = math.sqrt(2 / math.pi), 0.044715
    t = (beta * (x + kappa * (x * x * x))).tanh()
    return 0.5 * (1 + t) + 0.5 * x * ((1 - t * t) * (beta * (1 + 3 * kappa * x * x)))


# x cdf(x) of the normal distribution, or its approximation by tanh.
gelu = rule(
    F.gelu,
    "input, *, approximate='none'",
    input=lambda g, input, approximate: g * (gelu_slope(input) if approximate == "none" else gelu_tanh_slope(input)),
)

# --- over channels ---


def along_channels(weight: Any, x: Any) -> Any:
    """The weights, shaped to broadcast: channels are dimension 1."""
    return weight.reshape([1, -1] + [1] * (x.ndim - 2) if x.ndim > 1 else [])


def sum_over_channels(g: Any, shape: torch.Size) -> Any:
    """The sum for each weight."""
    dims = [d for d in range(g.ndim) if d != 1] if shape.numel() != 1 else list(range(g.ndim))
    return (g.sum(dims) if dims else g).reshape(shape)


# A slope for all channels, or one for each.
prelu = rule(
    F.prelu,
    "input, weight",
    input=lambda g, input, weight: torch.where(input > 0, g, g * along_channels(weight, input)),
    weight=lambda g, input, weight_shape: sum_over_channels(torch.where(input > 0, 0.0, g * input), weight_shape),
)


def glu_gradient(g: Any, input: Any, dim: int) -> Any:
    """The gradients of the two halves, side by side."""
    value, gate = input.chunk(2, dim)
    s = torch.sigmoid(gate)
    return torch.cat([s * g, (1 - s) * s * value * g], dim)


# One half times the sigmoid of the other.
glu = rule(F.glu, "input, dim=-1", input=glu_gradient)

# --- ops whose gradients have the cotangent's shape and dtype ---

elementwise(tanh, sigmoid, relu, gelu, silu)
