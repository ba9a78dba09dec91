"""Rules of activations: functions of one tensor, element by element, as networks use them."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.op import alias, composition, elementwise, kernel, rule
from tapegrad.scalar import in_a_mode
from tapegrad.tensor import raw

SIXTH = 0.1666666716337204  # torch's 1 / 6, a float32 in every dtype


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

tanh = rule(torch.tanh, input=lambda g, out: g * (1 - out * out))
# torch rounds 1 - out * out once (a fused multiply-add); so does addcmul.
kernel(tanh, input=lambda g, out: torch.addcmul(one(out), out, out, value=-1).mul_(g))
sigmoid = rule(torch.sigmoid, input=lambda g, out: g * (1 - out) * out)
alias(torch.sigmoid, torch.special.expit)
# At their corners hardtanh and hardsigmoid are flat, as in torch.
hardtanh = rule(
    torch._C._nn.hardtanh,
    "input, min_val=-1.0, max_val=1.0",
    input=lambda g, input, min_val, max_val: torch.where((input > min_val) & (input < max_val), g, 0.0),
)
hardsigmoid = rule(
    torch._C._nn.hardsigmoid,
    input=lambda g, input: torch.where((input > -3) & (input < 3), g * SIXTH, 0.0),
)
# log(sigmoid(x)); its slope is 1 - sigmoid(x).
logsigmoid = rule(F.logsigmoid, input=lambda g, input: g * torch.sigmoid(-input))
kernel(logsigmoid, input=lambda g, input: g * fraction(input, decay(input)))


def fraction(x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """sigmoid(-x) by way of z = exp(-|x|)."""
    return torch.where(x < 0, 1 - z / (1 + z), z / (1 + z))


def decay(x: torch.Tensor) -> torch.Tensor:
    """exp(-|x|), with the last bit as torch's fused kernels have it: log_sigmoid hands it out, torch.exp differs."""
    z = torch.ops.aten.log_sigmoid_forward(x)[1]
    return z if z.shape == x.shape else (-x.abs()).exp()  # not on every device


# --- rectified ---

MANY = 4096  # elements
BITS = {torch.float64: torch.int64, torch.float32: torch.int32, torch.float16: torch.int16, torch.bfloat16: torch.int16}

# The slope at 0 is 0, as in torch.
relu = rule(torch.relu, input=lambda g, out: torch.where(out <= 0, 0.0, g))
kernel(
    relu,
    input=lambda g, out: unless_low(g, out) if g.numel() >= MANY and g.dtype in BITS else torch.where(out <= 0, 0.0, g),
)


def unless_low(g: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """``torch.where(out <= 0, 0.0, g)`` in a fraction of the time: where takes a branch for each element."""
    integers = BITS[g.dtype]
    all_bits_or_none = (out <= 0).to(integers).sub_(1)
    return all_bits_or_none.bitwise_and_(g.view(integers)).view(g.dtype)


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
elu = rule(
    torch._C._nn.elu,
    "input, alpha=1.0, scale=1.0",
    input=lambda g, input, alpha, scale: elu_gradient(g, input, alpha, scale),
)
celu = rule(
    torch.celu,
    "input, alpha=1.0",
    input=lambda g, input, alpha: elu_gradient(g, input, alpha, slope=1 / single(alpha)),
)
kernel(elu, input=lambda g, input, alpha, scale: elu_gradient(g, input, alpha, scale, exp=decay))
kernel(celu, input=lambda g, input, alpha: elu_gradient(g, input, alpha, slope=1 / single(alpha), exp=decay))


def elu_gradient(g: Any, x: Any, alpha: float, scale: float = 1.0, slope: float = 1.0, exp: Any = torch.exp) -> Any:
    """scale d(x)/dx where x > 0, else scale d(alpha (exp(slope x) - 1))/dx; flat at 0 in the second derivative."""
    return torch.where(x <= 0, g * slope * (alpha * scale) * exp(-torch.relu(-x) * slope), g * scale)


def single(number: float) -> float:
    """A number in single precision, as torch takes celu's alpha for the gradient."""
    return torch.tensor(number, dtype=torch.float32).item()


softplus = rule(
    F.softplus,
    "input, beta=1.0, threshold=20.0",
    input=lambda g, input, beta, threshold: torch.where(input * beta > threshold, g, g * torch.sigmoid(input * beta)),
)
kernel(
    softplus,
    input=lambda g, input, beta, threshold: torch.where(
        input * beta > threshold, g, g * (input * beta).exp() / ((input * beta).exp() + 1)
    ),
)
# Within lambd of 0 both shrink to 0, the edge included, as in torch.
hardshrink = rule(
    torch.hardshrink,
    "input, lambd=0.5",
    input=lambda g, input, lambd: torch.where((input < -lambd) | (input > lambd), g, 0.0),
)
softshrink = rule(
    F.softshrink,
    "input, lambd=0.5",
    input=lambda g, input, lambd: torch.where((input < -lambd) | (input > lambd), g, 0.0),
)

# --- x times a gate ---

# x s(x) has the slope s + x s (1 - s).
silu = rule(
    torch._C._nn.silu,
    input=lambda g, input: g * torch.sigmoid(input) * (1 + input * (1 - torch.sigmoid(input))),
)
# x tanh(softplus(x))
mish = rule(torch._C._nn.mish, input=lambda g, input: g * mish_slope(input, F.softplus(input).tanh()))
# torch's fused multiply-adds, for the bits.
kernel(silu, input=lambda g, input: silu_kernel(g, input, torch.sigmoid(input)))
kernel(mish, input=lambda g, input: g * mish_slope_fused(input, F.softplus(input).tanh()))
hardswish = rule(
    torch._C._nn.hardswish,
    input=lambda g, input: torch.where(input <= -3, 0.0, torch.where(input < 3, g * (input / 3 + 0.5), g)),
)
# x cdf(x) of the normal distribution, or its approximation by tanh.
gelu = rule(
    F.gelu,
    "input, *, approximate='none'",
    input=lambda g, input, approximate: g * (gelu_slope(input) if approximate == "none" else gelu_tanh_slope(input)),
)


def mish_slope(x: Any, gate: Any) -> Any:
    """d(x t)/dx for the gate t = tanh(softplus(x))."""
    return gate + x * torch.sigmoid(x) * (1 - gate * gate)


def mish_slope_fused(x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """``mish_slope`` with torch's roundings."""
    falloff = torch.addcmul(one(x), gate, gate, value=-1)
    return torch.addcmul(gate, x * torch.sigmoid(x), falloff)


def silu_kernel(g: torch.Tensor, x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """The gradient of x s, s = sigmoid(x), with torch's roundings."""
    return g * s * torch.addcmul(one(x), x, 1 - s)


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


# --- as torch.nn.functional writes them ---


def into(input: Any, result: Any, inplace: bool) -> Any:
    """The result; with ``inplace=True``, written over the input."""
    return input.copy_(result) if inplace else result


@composition(F.relu)
def _relu(input: Any, inplace: bool = False) -> Any:
    return input.relu_() if inplace else relu(input)


@composition(F.relu6)
def relu6(input: Any, inplace: bool = False) -> Any:
    return into(input, hardtanh(input, 0.0, 6.0), inplace)


@composition(F.hardtanh)
def _hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    if min_val > max_val:
        raise ValueError("hardtanh(): min_val cannot be greater than max_val")
    return into(input, hardtanh(input, min_val, max_val), inplace)


@composition(F.hardsigmoid)
def _hardsigmoid(input: Any, inplace: bool = False) -> Any:
    return into(input, hardsigmoid(input), inplace)


@composition(F.hardswish)
def _hardswish(input: Any, inplace: bool = False) -> Any:
    return into(input, hardswish(input), inplace)


@composition(F.threshold, torch.threshold)
def _threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    return into(input, thresholded(input, threshold, value), inplace)


@composition(F.leaky_relu)
def _leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    return into(input, leaky_relu(input, negative_slope), inplace)


@composition(F.elu)
def _elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    return into(input, elu(input, alpha), inplace)


@composition(F.selu)
def selu(input: Any, inplace: bool = False) -> Any:
    return into(input, elu(input, 1.6732632423543772, 1.0507009873554805), inplace)


@composition(F.celu)
def _celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    return into(input, celu(input, alpha), inplace)


@composition(F.silu)
def _silu(input: Any, inplace: bool = False) -> Any:
    return into(input, silu(input), inplace)


@composition(F.mish)
def _mish(input: Any, inplace: bool = False) -> Any:
    return into(input, mish(input), inplace)


# A slope for all channels, or one for each.
prelu = rule(
    F.prelu,
    "input, weight",
    input=lambda g, input, weight: torch.where(input > 0, g, g * along_channels(weight, input)),
    weight=lambda g, input, weight_shape: over_channels(torch.where(input > 0, 0.0, g * input), weight_shape),
)


def along_channels(weight: Any, x: Any) -> Any:
    """The weights, shaped to broadcast: channels are dimension 1."""
    return weight.reshape([1, -1] + [1] * (x.ndim - 2) if x.ndim > 1 else [])


def over_channels(g: Any, shape: torch.Size) -> Any:
    """The sum for each weight."""
    dims = [d for d in range(g.ndim) if d != 1] if shape.numel() > 1 else list(range(g.ndim))
    return (g.sum(dims) if dims else g).reshape(shape)


@composition(F.rrelu)
def rrelu(
    input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Any:
    if lower > upper:
        raise RuntimeError(f"rrelu(): lower = {lower} must not exceed upper = {upper}")
    if not training:
        return into(input, leaky_relu(input, (lower + upper) / 2), inplace)
    slope = torch.empty(input.shape, dtype=input.dtype, device=input.device)  # 1 where the input is positive
    torch.ops.aten.rrelu_with_noise(raw(input), slope, lower, upper, True)
    return into(input, input * slope, inplace)


# One half times the sigmoid of the other.
glu = rule(F.glu, "input, dim=-1", input=lambda g, input, dim: glu_gradient(g, input.chunk(2, dim), dim))


def glu_gradient(g: Any, halves: Any, dim: int) -> Any:
    """The gradients of the two halves, side by side."""
    value, gate = halves
    s = torch.sigmoid(gate)
    return torch.cat([s * g, (1 - s) * s * value * g], dim)


@composition(F.softsign)
def softsign(input: Any) -> Any:
    return input / (input.abs() + 1)


@composition(F.tanhshrink)
def tanhshrink(input: Any) -> Any:
    return input - input.tanh()


elementwise(tanh, sigmoid, relu, gelu, silu)
