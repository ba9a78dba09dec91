"""Rules of special functions: gamma, error and Bessel functions, and their kin."""

from __future__ import annotations

import math
from typing import Any

import torch

from tapegrad.engine.table import alias, rule

# --- the error function and the normal distribution ---

# erf'(x) = 2 / sqrt(pi) e**(-x**2)
erf = rule(torch.erf, input=lambda g, input: 2 / math.sqrt(math.pi) * (-(input * input)).exp() * g)
erfc = rule(torch.erfc, input=lambda g, input: -2 / math.sqrt(math.pi) * (-(input * input)).exp() * g)
erfinv = rule(torch.erfinv, input=lambda g, out: 0.5 * math.sqrt(math.pi) * (out * out).exp() * g)
erfcx = rule(torch.special.erfcx, input=lambda g, input, out: (2.0 * input * out - 2.0 / math.sqrt(math.pi)) * g)
ndtri = rule(torch.special.ndtri, input=lambda g, out: g * math.sqrt(2 * math.pi) * (out.square() / 2).exp())
# pdf / cdf
log_ndtr = rule(
    torch.special.log_ndtr,
    input=lambda g, input, out: g / math.sqrt(2 * math.pi) * (-(out + input * input / 2)).exp(),
)

# --- the gamma function and its derivatives ---

lgamma = rule(torch.lgamma, input=lambda g, input: g * input.digamma())
digamma = rule(torch.digamma, input=lambda g, input: g * torch.polygamma(1, input))
polygamma = rule(torch.polygamma, "n, input", input=lambda g, n, input: g * torch.polygamma(n + 1, input))


def half_steps(like: Any, p: int) -> torch.Tensor:
    """(1 - p) / 2, ..., -1/2, 0."""
    return torch.arange(-p / 2 + 0.5, 0.5, 0.5, dtype=like.dtype, device=like.device)


# A sum of lgamma(x + (1 - j) / 2) for j = 1 .. p.
mvlgamma = rule(
    torch.mvlgamma,
    "input, p",
    input=lambda g, input, p: g * (input.unsqueeze(-1) + half_steps(input, p)).digamma().sum(-1),
)
# zeta(x, q) in its second argument.
zeta = rule(
    torch.special.zeta,
    "input, other",
    other=lambda g, input, other: g * -input * torch.special.zeta(input + 1.0, other),
)

# --- Bessel functions ---

i0 = rule(torch.i0, input=lambda g, input: g * torch.special.i1(input))
i0e = rule(torch.special.i0e, input=lambda g, out, input: g * (torch.special.i1e(input) - input.sgn() * out))


def tiny(x: Any) -> Any:
    """Where a number is too small to divide by, as torch has it; NaN counts as small, too."""
    return ~(x.abs() > torch.finfo(x.dtype).eps)


def nonzero(x: Any) -> Any:
    """``x``, tiny numbers replaced by a divisor that does no harm; ``where`` then discards their quotients."""
    return torch.where(tiny(x), torch.finfo(x.dtype).eps, x)


# i1'(x) = i0(x) - i1(x) / x, 1/2 at 0.
i1 = rule(
    torch.special.i1,
    input=lambda g, out, input: (
        g * torch.where(tiny(input), 0.5, torch.i0(nonzero(input)) - out * nonzero(input).reciprocal())
    ),
)


def i1e_slope(out: Any, x: Any) -> Any:
    """d(i1e)/dx = i0e(x) - i1e(x) (sgn(x) + 1 / x)."""
    return torch.special.i0e(x) - out * (x.sgn() + x.reciprocal())


i1e = rule(
    torch.special.i1e,
    input=lambda g, out, input: g * torch.where(tiny(input), 0.5, i1e_slope(out, nonzero(input))),
)

# --- logarithms with a limit ---

# x log(y), 0 where x = 0.
xlogy = rule(
    torch.xlogy,
    "input, other",
    input=lambda g, input, other: torch.xlogy(g, other).masked_fill((input == 0) & (other <= 0), 0.0),
    other=lambda g, input, other: g * input / other,
)
xlog1py = rule(
    torch.special.xlog1py,
    "input, other",
    input=lambda g, input, other: torch.special.xlog1py(g, other).masked_fill((input == 0) & (other <= -1), 0.0),
    other=lambda g, input, other: g * input / (other + 1),
)
# -x log(x)
entr = rule(torch.special.entr, input=lambda g, input: g * (-1 - input.log()))


def logit_gradient(g: Any, input: Any, eps: float | None) -> Any:
    """d(logit)/dx = 1 / (x (1 - x)); 0 where x was clamped, NaN where it is no probability."""
    low, outside = (0.0, math.nan) if eps is None else (eps, 0.0)
    return torch.where((input < low) | (input > 1 - low), outside, g / (input * (1 - input) + 0.0))  # -0.0 is 0.0


# log(x / (1 - x)), with x first clamped to [eps, 1 - eps].
logit = rule(torch.logit, "input, eps=None", input=logit_gradient)

# --- torch's other names ---

ALIASES: list[tuple[Any, ...]] = [
    (torch.lgamma, torch.special.gammaln), (torch.digamma, torch.special.psi),
    (torch.polygamma, torch.special.polygamma), (torch.mvlgamma, torch.special.multigammaln),
]  # fmt: skip
for _function, *_others in ALIASES:
    alias(_function, *_others)
