"""Sample calls of the functions that reduce dimensions, or run along one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tests.provers.samples.basics import AWAY, SOFT, VECTORS
from tests.provers.samples.calls import INF, NAN, Call, Spec, call, const, ints, real, reductions, values

SAMPLES: dict[Callable[..., Any], list[Call]] = {}

# --- sums and products ---

HOLES = values(1.0, NAN, 2.0, NAN, NAN, 3.0, shape=(2, 3))
for function in (torch.nansum, torch.nanmean):
    SAMPLES[function] = [
        *reductions(), call(real()), call(real(0, 3), 1), call(HOLES).kink("NaN"), call(HOLES, 1).kink("NaN"),
        call(HOLES, (0, 1), True).kink("NaN"), call(HOLES, 0, dtype=torch.float64).kink("NaN"),
    ]  # fmt: skip
ZERO = values(1.0, 0.0, 2.0, 0.0, 0.0, 3.0, shape=(2, 3))
ZEROS = [call(ZERO, *dim).kink("zeros") for dim in [(), (0,), (1,), (1, True)]]
SIGNS = "a product with zeros"
SAMPLES[torch.prod] = [
    *reductions(lists=False), *[c.zeros(SIGNS) for c in ZEROS], call(real()), call(real(), 0), call(real(0, 3), 1), call(real(0, 3)),
    call(real(1, 3), 0).torch_once("rounding"), call(real(2, 3), dtype=torch.float64),
    call(real(2, 3), 1, dtype=torch.float64), call(values(0.0, 2.0)), call(values(0.0, 0.0)).zeros(SIGNS),
]  # fmt: skip

# --- moments ---

MOMENTS = [
    *reductions(), call(real(2, 3), unbiased=False), call(real(2, 3), False), call(real(2, 3), 0, unbiased=False),
    call(real(2, 3), 1, correction=0), call(real(2, 3), (0, 1), correction=2, keepdim=True), call(real(200, 300), 0),
]  # fmt: skip
SAMPLES[torch.var_mean] = MOMENTS
SAMPLES[torch.std_mean] = [*MOMENTS, call(values(1.0, 1.0, 1.0)).kink("no spread")]

# --- extremes and ranks ---

TIED = values(2.0, 1.0, 2.0, 2.0, 2.0, 1.0, shape=(2, 3))
for function in (torch.amax, torch.amin):
    SAMPLES[function] = [
        *reductions(), call(real()), call(real(0, 3), 1), call(TIED).kink("a tie"), call(TIED, 1).kink("a tie"),
        call(TIED, (0, 1), True).kink("a tie"), call(real(), 0),
    ]  # fmt: skip
SAMPLES[torch.aminmax] = [
    call(real(2, 3)), call(real(33, 17), dim=1), call(real(2, 3), dim=0, keepdim=True), call(TIED).kink("a tie"),
    call(TIED, dim=1).kink("a tie"), call(real()),
]  # fmt: skip
GAPS = values(2.0, NAN, 1.0, NAN, 0.5, 3.0, shape=(2, 3))
for function in (torch.median, torch.nanmedian):
    SAMPLES[function] = [
        *reductions(lists=False), call(real()), call(real(), 0), call(real(0, 3), 1), call(TIED).kink("a tie"),
        call(TIED, 1).kink("a tie"), call(GAPS).kink("NaN"), call(GAPS, 1).kink("NaN"),
    ]  # fmt: skip
SAMPLES[torch.mode] = [
    call(real(2, 3)), call(real(2, 3), 0), call(real(2, 3), dim=1, keepdim=True), call(real(33, 17), 0),
    call(TIED, 1).kink("a tie"), call(real()),
]  # fmt: skip
FRACTIONS = const(4, lo=0.1, hi=0.9)
WAYS = ["linear", "lower", "higher", "nearest", "midpoint"]
SAMPLES[torch.quantile] = [
    call(real(2, 3), 0.4), call(real(2, 3), FRACTIONS), call(real(5, 3), 0.4, 0), call(real(5, 3), FRACTIONS, 1),
    call(real(5, 3), 0.25, 0, True), call(real(2, 3), FRACTIONS, keepdim=True), call(real(33, 17), FRACTIONS, 0, True),
    call(real(), 0.5), call(real(5), real(2, lo=0.1, hi=0.9)), call(GAPS, 0.5, 1).kink("NaN"),
    call(TIED, 0.3).kink("a tie"), *[call(real(2, 5), FRACTIONS, -1, interpolation=way) for way in WAYS],
]  # fmt: skip
SAMPLES[torch.nanquantile] = [
    *SAMPLES[torch.quantile],
    call(HOLES, 0.5, 1).kink("NaN"),
    call(HOLES, FRACTIONS).kink("NaN"),
]

# --- softmax ---

SAMPLES[F.softmin] = [c.inexact(VECTORS, rtol=16) for c in SOFT]
SAMPLES[torch.ops.aten._safe_softmax.default] = [
    call(real(2, 3), 1).inexact(VECTORS, rtol=16), call(real(33, 17), 0).inexact(VECTORS, rtol=16), call(real(3), -1),
    call(values(-INF, -INF, -INF, 0.0, 1.0, -INF, shape=(2, 3)), 1).kink("infinite").inexact(VECTORS, rtol=16),
]  # fmt: skip

# --- running along a dimension ---

RUNS = [
    call(real(3), 0), call(real(2, 3), 0), call(real(2, 3), 1), call(real(2, 3), dim=-1), call(real(33, 17), 0),
    call(real(33, 17), 1), call(real(2, 3, 2), 1), call(real(), 0), call(real(0, 3), 1), call(real(1), 0),
]  # fmt: skip
CASTS = "torch casts the gradient before it sums"
WIDER = call(real(2, 3), 1, dtype=torch.float64).inexact(CASTS, rtol=4)
SAMPLES[torch.cumsum] = [*RUNS, WIDER]
SAMPLES[torch.cumprod] = [*RUNS, *[c.zeros(SIGNS) for c in ZEROS if len(c.args) == 2], WIDER]
SAMPLES[torch.logcumsumexp] = [*RUNS, call(values(1000.0, 0.0, -1000.0), 0).kink("saturated")]
for function in (torch.cummax, torch.cummin):
    SAMPLES[function] = [*RUNS, call(TIED, 1).kink("a tie"), call(GAPS, 1).kink("NaN")]
SAMPLES[torch.diff] = [
    call(real(4)), call(real(2, 4)), call(real(4, 2), dim=0), call(real(2, 4), 2), call(real(4), n=3),
    call(real(2, 4), n=0), call(real(2, 3), prepend=real(2, 1), append=const(2, 2)),
    call(real(3), 1, -1, real(1), real(1)), call(real(33, 17), 2, 0), call(real(2), 5).zeros("of nothing"),
]  # fmt: skip
SAMPLES[torch.trapezoid] = [
    call(real(4)), call(real(2, 3)), call(real(3, 2), dim=0), call(real(4), dx=0.3), call(real(2, 3), real(3)),
    call(real(2, 3), real(2, 3)), call(real(3, 2), x=const(3), dim=0), call(real(33, 17), real(17)),
    call(const(4), real(4)), call(y=real(3), dx=2),
    call(real(2, 2, 3), real(2, 3)), call(real(3, 1), real(3, 4), dim=0), call(real(2, 1), real(1)),
]  # fmt: skip
SAMPLES[torch.trapz] = SAMPLES[torch.trapezoid]
SAMPLES[torch.cumulative_trapezoid] = SAMPLES[torch.trapezoid]
POINTS = Spec((5,), "real", given=(0.0, 0.5, 1.5, 1.75, 2.0))  # their own gradient has other roundings: test_calls.py
SAMPLES[torch.gradient] = [
    call(real(3, 4)), call(real(5), spacing=0.5), call(real(3, 4), spacing=None, dim=1), call(real(2)),
    call(real(3, 4), spacing=(2.0, 0.5)), call(real(3, 2), dim=(-2,)), call(real(33, 17)),
    call(real(3, 4), spacing=0.5, edge_order=2), call(real(5), spacing=[POINTS]),
    call(real(5, 2), spacing=[POINTS], dim=0, edge_order=2),
]  # fmt: skip

# --- norms ---

HALFWAY = "torch takes the gradient in the wider type"
ORDERS = [2, 1, 3, 0.5, 1.5, INF, -INF, -1, -2.5]  # of order 0 torch has None for a gradient: tests/rules/test_edges.py
ORIGIN = values(0.0, 0.0, 3.0, 4.0, shape=(2, 2))
SAMPLES[torch.linalg.vector_norm] = [
    *[call(x, p) for p in ORDERS for x in (real(2, 3, **AWAY), real(33, 17))],
    *[call(real(2, 3, 2), p, (0, 2), True) for p in ORDERS],
    *[call(real(2, 3), p, 1) for p in ORDERS], *[call(ORIGIN, p, 1).kink("the norm at 0") for p in ORDERS],
    call(real()), call(real(0, 3), 2, 1), call(real(2, 3), ord=2, dim=0), call(x=real(3)),
    call(real(2, 3), dtype=torch.float64).inexact(HALFWAY, rtol=4), call(values(1.0, -1.0, 0.5), INF).kink("a tie"),
    call(values(1.0, NAN), INF).kink("NaN"),
]  # fmt: skip
SAMPLES[torch.norm] = [
    call(real(2, 3)), call(real(2, 3), 2), call(real(2, 3), 1, 0), call(real(2, 3), p=3, dim=1, keepdim=True),
    call(real(2, 3), "fro"), call(real(2, 3), "fro", 1), call(real(2, 3, 2), "fro", (0, 1), True),
    call(real(2, 3), INF, (0, 1)), call(real(33, 17), 2, 0), call(real(2, 3), 2, 1, dtype=torch.float64),
    call(ORIGIN, 2, 1).kink("the norm at 0"), call(real()), call(real(3), None),
]  # fmt: skip
SAMPLES[torch.linalg.matrix_norm] = [
    *[call(real(3, 4), order) for order in ("fro", 1, -1, INF, -INF)], call(real(2, 3, 4), 1, (0, 2)),
    call(real(2, 3, 4), INF, (2, 0), True), call(real(2, 3, 4)), call(input=real(2, 3), ord=1, keepdim=True),
    call(real(2, 3), dtype=torch.float64), call(real(2, 3, 4), -1, (-1, 0)),
]  # fmt: skip
SAMPLES[torch.linalg.norm] = [
    call(real(2, 3)), call(real(3)), call(real(2, 3), "fro"), call(real(2, 3), 1), call(real(3), 1),
    call(real(2, 3), INF, 1), call(real(2, 3, 4), None, (1, 2)), call(real(2, 3, 4), 1, (1, 2), True),
    call(real(2, 3, 4)), call(real(3), 0.5), call(input=real(2, 3), dim=1, keepdim=True),
    call(real(2, 3), dtype=torch.float64).inexact(HALFWAY, rtol=4), call(ORIGIN).kink("the norm at 0"),
]  # fmt: skip
ROUNDS = "torch sums within its kernel in another order"
SAMPLES[torch.renorm] = [
    c.inexact(ROUNDS, rtol=64)
    for c in [call(real(2, 3), 2, 0, 0.5), call(real(3, 2, 2), 1, 1, 1.0), call(real(2, 3), p=3, dim=-1, maxnorm=100.0)]
]
SAMPLES[F.normalize] = [
    call(real(2, 3)), call(real(2, 3), 1), call(real(2, 3), p=3, dim=0), call(real(33, 17)),
    call(real(2, 3), 2.0, 1, 10.0), call(ORIGIN).kink("the norm at 0"), call(real(2, 3, 2), dim=(1, 2)),
    call(real(3), dim=0),
]  # fmt: skip

# --- distances ---

SAMPLES[torch.dist] = [
    call(real(2, 3), real(2, 3)), call(real(2, 3), real(3), 1), call(real(33, 17), real(17), p=3),
    call(real(2, 3), const(2, 1), INF), call(values(1.0, 2.0), values(1.0, 2.0)).kink("the norm at 0"),
    call(const(3), real(3), 0.5),
]  # fmt: skip
SAMPLES[F.pairwise_distance] = [
    call(real(2, 3), real(2, 3)), call(real(2, 3), real(3)), call(real(3), real(3)), call(real(2, 3), real(2, 3), 1.0),
    call(real(33, 17), real(33, 17), keepdim=True), call(real(2, 3), const(2, 3), p=3, eps=0.1),
]  # fmt: skip
SAMPLES[F.cosine_similarity] = [
    call(real(2, 3), real(2, 3)), call(real(2, 3), real(3)), call(real(2, 3), real(2, 3), 0),
    call(real(33, 17), real(33, 17)), call(real(3), real(3), dim=0),
    call(real(2, 3), const(2, 3), eps=10.0).kink("held by eps"), call(ORIGIN, real(2, 2)).kink("the norm at 0"),
    call(real(1, 2, 3), real(2, 1, 3), -2),
]  # fmt: skip
ONCE = "torch has no rule for the gradient's gradient"
PAIRS = [
    call(real(2, 3), real(2, 3)), call(real(3, 2), real(2, 2), 1.0), call(real(2, 2, 2), real(2, 3, 2), p=3.0),
    call(real(2, 3), const(4, 3)), call(real(2, 2), real(2, 2), INF), call(real(7, 5), real(9, 5)),
]  # fmt: skip
SAMPLES[torch.cdist] = [c.inexact(ROUNDS, rtol=64).torch_once(ONCE) for c in PAIRS]
ROWS = [call(real(3, 2)), call(real(3, 2), 1.0), call(real(4, 3), p=3.0), call(real(9, 5))]
SAMPLES[F.pdist] = [c.inexact(ROUNDS, rtol=64).torch_once(ONCE) for c in ROWS]

# --- covariance ---

SAMPLES[torch.cov] = [
    call(real(2, 3)), call(real(3)), call(real(2, 3), correction=0),
    call(real(2, 3), fweights=ints(3, below=4, above=1)), call(real(2, 3), aweights=real(3, **AWAY)),
    call(real(2, 4), fweights=ints(4, below=4, above=1), aweights=const(4, **AWAY)), call(real(5, 17)),
]  # fmt: skip
SAMPLES[torch.corrcoef] = [call(real(2, 4)), call(real(3)), call(real(5, 17))]
