"""Sample calls of the functions that work element by element: arithmetic, circles, activations, special functions."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tests.provers.samples.basics import AWAY, MINUS, SATURATED, VECTORS
from tests.provers.samples.calls import (
    INF,
    NAN,
    Call,
    binary,
    call,
    const,
    ints,
    promoted,
    real,
    scalars,
    unary,
    values,
)

SAMPLES: dict[Callable[..., Any], list[Call]] = {}

UNIT = {"lo": 0.05, "hi": 0.95}  # within (0, 1)
INNER = {"lo": -0.9, "hi": 0.9}  # within (-1, 1)
BEYOND = {"lo": 1.1, "hi": 3.0}  # beyond 1

# --- arithmetic ---

SAMPLES[torch.positive] = [call(real(2, 3)), call(real()), call(real(0))]
SAMPLES[torch.true_divide] = [*binary(**AWAY), *scalars(3, -0.7)]
SAMPLES[torch.Tensor.__rdiv__] = [call(real(2, 3, **AWAY), 2), call(real(3, **AWAY), -0.5)]
SAMPLES[torch.Tensor.__rsub__] = [call(real(2, 3), 2), call(real(3), real(2, 1))]
SAMPLES[torch.Tensor.__rpow__] = [call(real(2, 3), 2), call(real(3), 0.5)]
for function, numbers in ((torch.addcmul, AWAY), (torch.addcdiv, AWAY)):
    SAMPLES[function] = [
        call(real(2, 3), real(2, 3), real(2, 3, **numbers)),
        call(real(2, 3), real(3), real(2, 1, **numbers), value=0.3),
        call(real(33, 17), real(33, 17), real(17, **numbers), value=-1.7), call(real(), real(), real(**numbers)),
        call(real(3), const(2, 3), const(3, **numbers)), call(const(2, 3), real(3), real(**numbers), value=2),
        call(real(3), real(2, 3), real(3, **numbers)), call(real(0, 3), real(3), real(3, **numbers)),
        call(real(2, dtype=torch.float64), real(2, dtype=torch.float64), real(2, dtype=torch.float64, **numbers)),
    ]  # fmt: skip
SAMPLES[torch.lerp] = [
    call(real(2, 3), real(2, 3), 0.3), call(real(2, 3), real(3), real(2, 1)),
    call(real(33, 17), real(17), real(33, 17)), call(real(), real(), real()), call(const(3), real(2, 3), 2),
    call(real(0, 3), real(3), 0.5), call(real(3), const(3), const(3)),
]  # fmt: skip
SAMPLES[torch.deg2rad] = unary()
SAMPLES[torch.rad2deg] = unary()
SAMPLES[torch.hypot] = [*binary(**AWAY), call(values(0.0, 3.0, INF), values(0.0, -4.0, 1.0)).kink("a corner")]
SAMPLES[torch.ldexp] = [
    call(real(2, 3), ints(3, below=4)), call(real(2, 3), real(3)), call(real(33, 17), real(33, 17)),
    call(real(3), const(2, 1)), call(const(2), real(2)), call(real(), ints(below=3)), call(real(0), ints(0, below=3)),
]  # fmt: skip
SAMPLES[torch.float_power] = [
    *binary(**AWAY), *scalars(2, -0.5, 0, **AWAY), call(2, real(3)), call(0.5, real(2, 3)),
    call(values(0.0, -1.5), 2).kink("power at 0"), call(values(0.0, 0.0), values(0.0, 2.0)).kink("0 ** 0"),
]  # fmt: skip

# --- steps and remainders ---

STEPS = [
    call(real(2, 3)).kink("steps"), call(real(33, 17)).kink("steps"), call(real()).kink("steps"),
    call(values(0.0, -0.5, 1.5, 2.5, NAN, INF)).kink("steps"), call(real(0)).kink("steps"),
]  # fmt: skip
for function in (torch.floor, torch.ceil, torch.trunc, torch.angle):
    SAMPLES[function] = STEPS
SAMPLES[torch.round] = [*STEPS, call(real(2, 3), decimals=2).kink("steps"), call(real(3), decimals=-1).kink("steps")]
SAMPLES[torch.frac] = [*unary(0.1, 0.9), *unary(-1.9, -1.1)]
SAMPLES[torch.frexp] = [*unary(**AWAY), call(values(0.0, -3.0, 1024.0)).kink("steps")]
SAMPLES[torch.nextafter] = [
    call(real(2, 3), real(2, 3)).kink("steps"), call(real(2, 3), real(3)).kink("steps"),
    call(real(), const(3)).kink("steps"), call(real(0), real(0)).kink("steps"),
]  # fmt: skip
REST = [
    *binary(lo=0.55, hi=0.95), *promoted(lo=0.55, hi=0.95), *scalars(0.7, -1.3, lo=0.1, hi=0.6),
    call(real(2, 3, lo=3.1, hi=3.4), 1.7), call(real(2, 3, lo=-3.4, hi=-3.1), 1.7),
    call(values(1.0, -1.0, 2.0), values(0.5, 0.5, -1.0)).kink("steps"),
    call(values(1.0, -1.0, INF), values(0.0, INF, 2.0)).kink("a pole"),
]  # fmt: skip
SAMPLES[torch.remainder] = REST  # torch has no gradient for a number on the left
SAMPLES[torch.fmod] = REST
SAMPLES[operator.mod] = REST
SAMPLES[torch.Tensor.__rmod__] = [call(real(3, lo=0.7, hi=0.9), const(2, 1, **AWAY))]

# --- exponentials and logarithms ---

SAMPLES[torch.exp2] = [*unary(), call(values(-INF, 200.0, -200.0, 0.0)).kink("overflow")]
for function in (torch.logaddexp, torch.logaddexp2):
    SAMPLES[function] = [
        *binary(), call(values(100.0, -100.0, 0.0), values(-100.0, 100.0, 0.0)).kink("saturated"),
        call(values(INF, -INF, 1.0), values(1.0, 1.0, -INF)).kink("infinite"),
    ]  # fmt: skip

# --- circles and hyperbolas ---

for function in (torch.tan, torch.atan, torch.sinh, torch.cosh):
    SAMPLES[function] = [*unary(), call(values(0.0, -0.0, INF, -INF)).kink("infinite")]
for function in (torch.asin, torch.acos):
    SAMPLES[function] = [*unary(**INNER), call(values(0.0, 1.0, -1.0, 2.0)).kink("infinite slope")]
# By keyword, so that no in-place method is tried: torch has no gradient for those.
SAMPLES[torch.asinh] = [call(input=c.args[0]) for c in unary()]
SAMPLES[torch.acosh] = [call(input=c.args[0]) for c in unary(**BEYOND)]
SAMPLES[torch.atanh] = [call(input=c.args[0]) for c in unary(**INNER)]
SAMPLES[torch.asinh] += [call(input=values(0.0, INF)).kink("infinite")]
SAMPLES[torch.acosh] += [call(input=values(1.0, 0.5, INF)).kink("infinite slope")]
SAMPLES[torch.atanh] += [call(input=values(0.0, 1.0, -1.0, 2.0)).kink("infinite slope")]
SAMPLES[torch.atan2] = [
    *binary(**AWAY), *binary(**MINUS), call(real(3), const(2, 3)),
    call(values(0.0, 1.0, 0.0, -1.0), values(0.0, 0.0, 1.0, 0.0)).kink("no angle"),
]  # fmt: skip
SAMPLES[torch.sinc] = [
    *unary(**AWAY),
    *unary(**MINUS),
    call(values(0.0, 1.0, -2.0)).kink("a limit").torch_once("it divides by 0"),
]

# --- kinks and choices ---

TIES = call(values(1.0, 2.0, NAN, 0.0, 1.0, NAN), values(1.0, 3.0, 1.0, -0.0, NAN, NAN)).kink("a tie")
for function in (torch.fmax, torch.fmin):
    SAMPLES[function] = [*binary(), *promoted(), TIES]
SAMPLES[torch.copysign] = [
    *binary(**AWAY), *binary(**MINUS), *scalars(2.0, -1, **AWAY),
    call(values(0.0, -0.0, 1.0, -2.0), values(1.0, -1.0, -0.0, 0.0)).kink("a corner"),
]  # fmt: skip
EDGES = values(-1.0, 0.5, 2.0, NAN, -INF, INF)
SAMPLES[torch.clamp] = [
    call(real(2, 3), -0.5, 0.5), call(real(33, 17), min=-0.5), call(real(33, 17), max=0.25),
    call(real(2, 3), None, 0.5), call(real(), 0, 1), call(real(0), 0, 1), call(real(2, 3), 0.5, -0.5),
    call(real(2, 3), real(2, 3), real(2, 3)), call(real(2, 3), real(3), real(2, 1)), call(real(2, 3), min=real(3)),
    call(real(33, 17), max=real(17)), call(const(2, 3), real(3), const(3)), call(real(), real(), real()),
    call(EDGES, -1, 2).kink("on the bound"), call(EDGES, -1.0).kink("on the bound"),
    call(EDGES, max=2.0).kink("on the bound"), call(EDGES, values(0.0), values(2.0)).kink("on the bound"),
    call(values(0.0, 1.0, 2.0), values(0.0, 1.0, 3.0), values(0.0, 1.0, 1.0)).kink("on the bound"),
    call(real(3, dtype=torch.float32), real(3, dtype=torch.float64)), call(real(2, 3), min=const(2, 3)),
]  # fmt: skip
SAMPLES[torch.clamp_min] = [
    call(real(2, 3), 0.2), call(real(33, 17), 0), call(real(2, 3), real(3)), call(EDGES, 0.5).kink("on the bound"),
    call(const(3), real(2, 3)),
]  # fmt: skip
SAMPLES[torch.clamp_max] = SAMPLES[torch.clamp_min]
SAMPLES[torch.nan_to_num] = [
    *unary(), call(values(NAN, INF, -INF, 1.0)).kink("not finite"),
    call(values(NAN, INF, -INF), 2.0).kink("not finite"),
    call(values(NAN, INF, -INF), nan=1.0, posinf=3.0, neginf=-3.0).kink("not finite"),
]  # fmt: skip

# --- drawn from a distribution ---


def shares_drawn(concentration: Any) -> Any:
    """As torch.distributions.Dirichlet draws them."""
    return torch.distributions.dirichlet._Dirichlet.apply(concentration)


SAMPLES[F.gumbel_softmax] = [
    call(real(2, 3), **options).kink("random").inexact(VECTORS, rtol=16)
    for options in ({}, {"tau": 0.5, "hard": True}, {"dim": 0}, {"tau": 0.5, "hard": True, "dim": 0})
]  # fmt: skip
DRAWN = "torch's slope of a quantile has no derivative"
SAMPLES[torch._standard_gamma] = [call(real(2, 3, lo=0.5, hi=3)).kink("drawn").torch_once(DRAWN)]
SAMPLES[shares_drawn] = [call(real(2, 3, lo=0.5, hi=3)).kink("drawn").torch_once(DRAWN)]
SAMPLES[torch.poisson] = [call(real(2, 3, lo=0.5, hi=3)).kink("steps")]
SAMPLES[torch.bernoulli] = [call(real(2, 3, **UNIT)).kink("steps")]
SAMPLES[torch.normal] = [
    call(real(2, 3), real(2, 3, **AWAY)).kink("steps"), call(real(3), 2.0).kink("steps"),
    call(0.5, real(3, **AWAY)).kink("steps"), call(real(3)).kink("steps"),
    call(mean=real(3), std=const(3, **AWAY)).kink("steps"),
]  # fmt: skip

# --- activations ---

CORNER = call(values(0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 6.0, NAN, INF, -INF)).kink("a corner")
# Without NaN, whose gradient depends on where torch's vector loop ends.
CORNER_ALONE = call(values(0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 0.5, -0.5, INF, -INF)).kink("a corner")
for function in (F.relu6, F.hardtanh, F.hardsigmoid, F.hardswish, F.leaky_relu, F.hardshrink, F.softshrink):
    SAMPLES[function] = [*unary(), CORNER]
for function in (F.elu, F.celu, F.selu):
    SAMPLES[function] = [*unary(), CORNER_ALONE, call(real(2, 3), inplace=False)]
for function in (F.relu6, F.hardtanh, F.hardshrink, F.softshrink, F.hardswish):
    SAMPLES[function][-1] = CORNER_ALONE
SAMPLES[F.hardtanh] += [call(real(2, 3), -0.5, 0.25), call(real(3), min_val=-2, max_val=0)]
SAMPLES[F.leaky_relu] += [call(real(2, 3), 0.2), call(real(33, 17), negative_slope=-0.5), call(real(3), 0)]
SAMPLES[F.hardshrink] += [call(real(2, 3), 0.1), call(values(0.5, -0.5)).kink("on the edge"), call(real(3), lambd=1)]
SAMPLES[F.softshrink] += [call(real(2, 3), 0.1), call(values(0.5, -0.5)).kink("on the edge"), call(real(3), lambd=1)]
SAMPLES[F.elu] += [call(real(2, 3), 0.5), call(real(33, 17), alpha=1.7)]
SAMPLES[F.celu] += [call(real(2, 3), 0.5), call(real(33, 17), alpha=1.7)]
SAMPLES[torch.celu] = [call(real(2, 3)), call(real(2, 3), 0.5), call(real(33, 17), alpha=1.7)]
SAMPLES[F.threshold] = [
    call(real(2, 3), 0.1, 2.0), call(real(33, 17), threshold=-0.2, value=-1), call(real(), 0, 0), call(real(0), 0, 0),
    call(values(0.5, NAN, -INF), 0.5, 7.0).kink("a corner"),
]  # fmt: skip
SAMPLES[F.relu] = [call(real(2, 3)), CORNER]
SAMPLES[F.logsigmoid] = [*unary(), SATURATED]
SAMPLES[F.softplus] = [
    *unary(), SATURATED, call(real(2, 3), 2), call(real(33, 17), beta=0.5, threshold=1),
    call(values(20.0, 10.0), 2).kink("a corner"),
]  # fmt: skip
SAMPLES[F.silu] = [*unary(), SATURATED]
SAMPLES[F.mish] = [*unary(), SATURATED]
SAMPLES[F.gelu] = [
    *unary(), *[call(*c.args, approximate="tanh") for c in unary()], call(real(3), approximate="none"),
    call(values(0.0, 10.0, -10.0)).kink("saturated"),
    call(values(0.0, 10.0, -10.0), approximate="tanh").kink("saturated"),
]  # fmt: skip
SAMPLES[F.softsign] = [*unary(), CORNER]
SAMPLES[F.tanhshrink] = unary()
SAMPLES[F.glu] = [
    call(real(4)), call(real(3, 4)), call(real(4, 3), 0), call(real(2, 4, 3), dim=1), call(real(34, 17), 0),
    call(real(0, 4)), call(real(33, 16), -1),
]  # fmt: skip
SAMPLES[F.prelu] = [
    call(real(2, 3), real(3)), call(real(2, 3), real(1)), call(real(3), real(1)), call(real(), real()),
    call(real(2, 3, 2), real(3)), call(real(33, 17), real(17)), call(real(2, 3), const(3)), call(const(2, 3), real(1)),
    call(real(0, 3), real(3)), call(values(0.0, -0.0, 1.0), values(0.2)).kink("a corner"),
]  # fmt: skip
SAMPLES[F.rrelu] = [
    call(real(2, 3)), call(real(33, 17), 0.1, 0.3), call(real(2, 3), lower=0.2, upper=0.4, training=True),
    call(real(), training=True),
]  # fmt: skip

TWICE = "torch has another second derivative at the edge, or none"
SAMPLES[F.hardsigmoid] = [c.torch_once(TWICE) for c in SAMPLES[F.hardsigmoid]]
for function in (F.hardswish, F.softplus, F.prelu, F.elu, F.celu, F.selu):
    SAMPLES[function] = [c.torch_once(TWICE) if c.at_kink else c for c in SAMPLES[function]]
EXP = "torch.exp and the exponential within torch's kernels differ in the last bit"
for function in (F.elu, F.celu, torch.celu, F.selu, F.softplus, F.mish, F.silu, F.glu):
    SAMPLES[function] = [c.inexact(EXP, rtol=4) for c in SAMPLES[function]]
SAMPLES[F.gelu] = [c.inexact("torch's kernel has an error function of its own", rtol=16) for c in SAMPLES[F.gelu]]

# --- special functions ---

for function in (torch.erf, torch.erfc, torch.special.erfcx, torch.special.ndtr, torch.special.log_ndtr):
    SAMPLES[function] = [*unary(), call(values(0.0, 5.0, -5.0)).kink("saturated")]
SAMPLES[torch.erfinv] = [*unary(**INNER), call(values(0.0, 1.0, -1.0, 2.0)).kink("infinite slope")]
SAMPLES[torch.special.ndtri] = [*unary(**UNIT), call(values(0.0, 1.0, 2.0)).kink("infinite slope")]
SAMPLES[torch.lgamma] = [*unary(**AWAY), *unary(-0.9, -0.1), call(values(1.0, 2.0, 0.0, -1.0)).kink("a pole")]
SAMPLES[torch.digamma] = [*unary(**AWAY), *unary(-0.9, -0.1)]
SAMPLES[torch.polygamma] = [call(n, *c.args) for n in (0, 1, 2) for c in unary(**AWAY)]
SAMPLES[torch.Tensor.polygamma] = [call(real(2, 3, **AWAY), 1), call(real(3, **AWAY), n=2)]
SAMPLES[torch.mvlgamma] = [call(*c.args, p) for p in (1, 3) for c in unary(lo=1.5, hi=3.0)]
SAMPLES[torch.special.zeta] = [
    call(const(2, 3, **BEYOND), real(2, 3, **AWAY)), call(const(3, **BEYOND), real(2, 1, **AWAY)),
    call(2.5, real(3, **AWAY)),
]  # fmt: skip
for function in (torch.i0, torch.special.i0e, torch.special.i1, torch.special.i1e):
    SAMPLES[function] = [*unary(**AWAY), *unary(**MINUS), call(values(0.0, -0.0)).kink("a limit")]
LIMITS = call(values(0.0, 0.0, 1.0, 2.0, NAN), values(0.0, 1.0, 0.0, -1.0, 1.0)).kink("a limit")
SAMPLES[torch.xlogy] = [*binary(**AWAY), *promoted(**AWAY), *scalars(2, 0.5), call(2, real(3, **AWAY)), LIMITS]
SAMPLES[torch.special.xlog1py] = [
    *binary(**AWAY),
    *promoted(**AWAY),
    *scalars(2, 0.5),
    call(2, real(3, **AWAY)),
    LIMITS,
]
SAMPLES[torch.special.entr] = [*unary(**AWAY), call(values(0.0, -1.0, INF)).kink("infinite slope").torch_once(TWICE)]
SAMPLES[torch.logit] = [
    *unary(**UNIT), call(real(33, 17, **UNIT), 0.2), call(values(0.0, 1.0, 0.5, 2.0, -1.0)).kink("infinite slope"),
    call(values(0.0, 1.0, 0.5, 2.0, -1.0, 0.1, 0.9), 0.1).kink("on the bound"), call(real(3, **UNIT), eps=1e-6),
]  # fmt: skip
