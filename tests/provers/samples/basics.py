"""Sample calls of the first rules: arithmetic, powers, activations, reductions, shapes, products, layers."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tests.provers.samples.calls import (
    INF,
    NAN,
    Call,
    binary,
    call,
    const,
    ints,
    mask,
    promoted,
    real,
    reductions,
    scalars,
    scalars_first,
    unary,
    values,
)

SAMPLES: dict[Callable[..., Any], list[Call]] = {}

# --- arithmetic ---

AWAY = {"lo": 0.5, "hi": 2.0}  # away from 0
MINUS = {"lo": -2.0, "hi": -0.5}

SAMPLES[torch.add] = [
    *binary(), *promoted(), *scalars(2, -0.5, True), call(real(2, 3), real(3), alpha=2),
    call(real(2, 3), 3, alpha=-0.5), call(real(33, 17), real(17), alpha=0.3), call(const(3), real(2, 3), alpha=1.5),
    call(input=real(3), other=real(3)),
]  # fmt: skip
SAMPLES[torch.sub] = [c for c in SAMPLES[torch.add] if True not in c.args]  # torch cannot subtract booleans
SAMPLES[torch.rsub] = [*binary(), *promoted(), *scalars(2, -0.5), call(real(2, 3), real(3), alpha=2)]
SAMPLES[torch.mul] = [*binary(), *promoted(), *scalars(2, -0.5, True)]
SAMPLES[torch.div] = [
    *binary(**AWAY), *binary(**MINUS), *promoted(**AWAY), *scalars(3, -0.7),
    call(values(1.0, 0.0, -2.0), values(0.0, 0.0, INF)).kink("a pole"),
    call(real(2, 3), real(3, **AWAY), rounding_mode=None),
    call(real(2, 3), real(3, **AWAY), rounding_mode="floor").kink("steps"),
    call(real(2, 3), 0.3, rounding_mode="trunc").kink("steps"),
]  # fmt: skip
SAMPLES[torch.Tensor.__pow__] = [call(real(3, **AWAY), const(2, 3, **AWAY)), call(const(3, **AWAY), real(2, 1, **AWAY))]
SAMPLES[torch.neg] = unary()
SAMPLES[torch.reciprocal] = [*unary(**AWAY), *unary(**MINUS), call(values(0.0, -0.0, INF)).kink("a pole")]

ARITHMETIC = [*binary(), *promoted(), *scalars(2, -0.5, True), *scalars_first(2, -0.5)]
for op in (operator.add, operator.mul):
    SAMPLES[op] = ARITHMETIC
SAMPLES[operator.sub] = [c for c in ARITHMETIC if True not in c.args]
SAMPLES[operator.truediv] = [*binary(**AWAY), *promoted(**AWAY), *scalars(3, -0.7), *scalars_first(1, -0.5, **AWAY)]
SAMPLES[operator.neg] = unary()
SAMPLES[operator.pos] = unary()

# --- powers ---

POWERS = [2, 3, -1, 0.5, -0.5, 1, 0, 2.5, -2]
SAMPLES[torch.pow] = [
    *binary(**AWAY), *promoted(**AWAY), *scalars(*POWERS, **AWAY), *scalars(2, 3, 1, 0, **MINUS),
    *[call(values(0.0, -0.0, 1.0, -1.5), p).kink("power at 0") for p in POWERS],
    call(values(0.0, 0.0, 0.0, 1.0), values(0.0, 2.0, 0.5, 0.0)).kink("0 ** 0"),
    call(values(0.0, 0.0, 2.0), values(1.0, -1.0, 0.0)).kink("0 ** -1"),
    call(values(-2.0, -1.0), values(2.0, 3.0)).kink("the logarithm of a negative base"), call(2.0, real(2, 3)),
    call(0.5, real(33, 17)), call(3, real()), call(0, values(0.0, 1.0, -1.0, 2.0)).kink("0 ** p"),
    call(0.0, values(0.0, 0.5)).kink("0 ** p"), call(1, real(3)),
    call(-2.0, values(2.0, 3.0)).kink("a negative base"),
]  # fmt: skip
SAMPLES[operator.pow] = [
    *binary(**AWAY), *scalars(*POWERS, **AWAY), *scalars_first(2.0, 0.5, **AWAY),
    call(0, values(0.0, 1.0, 2.0)).kink("0 ** p"),
]  # fmt: skip
SAMPLES[torch.square] = [*unary(), call(values(0.0, -0.0, INF)).kink("infinite")]
SAMPLES[torch.sqrt] = [*unary(**AWAY), call(values(0.0, -1.0, INF)).kink("infinite slope")]
SAMPLES[torch.rsqrt] = [*unary(**AWAY), call(values(0.0, -1.0, INF)).kink("infinite slope")]

# --- exponentials, logarithms, circular functions ---

SAMPLES[torch.exp] = [*unary(), call(values(-INF, 100.0, -200.0, 0.0)).kink("overflow")]
for function in (torch.log, torch.log2, torch.log10):
    SAMPLES[function] = [*unary(**AWAY), call(values(0.0, -1.0, INF, 1.0)).kink("a pole")]
SAMPLES[torch.log1p] = [*unary(**AWAY), call(values(0.0, -1.0, INF, 1e-10)).kink("a pole")]
SAMPLES[torch.expm1] = [*unary(), call(values(0.0, -INF, 1e-10)).kink("a limit")]
SAMPLES[torch.sin] = unary()
SAMPLES[torch.cos] = unary()

# --- activations ---

SATURATED = call(values(0.0, -0.0, 30.0, -30.0, 100.0, -200.0, INF, -INF)).kink("saturated")
SAMPLES[torch.tanh] = [*unary(), SATURATED, call(real(65, 33))]
SAMPLES[torch.sigmoid] = [*unary(), SATURATED]
SAMPLES[torch.relu] = [*unary(), call(real(64, 65)), call(values(0.0, -0.0, 1.0, -1.0, NAN, INF)).kink("a corner")]

# --- kinks and choices ---

SAMPLES[torch.abs] = [*unary(), call(values(0.0, -0.0, 1.0, -1.0, NAN)).kink("a corner")]
STEPS = [call(real(2, 3)).kink("steps"), call(values(0.0, -0.0, NAN, INF)).kink("steps")]
SAMPLES[torch.sgn] = STEPS
SAMPLES[torch.sign] = STEPS
SAMPLES[operator.abs] = SAMPLES[torch.abs]
for function in (torch.maximum, torch.minimum):
    SAMPLES[function] = [
        *binary(), *promoted(), call(values(1.0, 2.0, NAN, 0.0), values(1.0, 3.0, 1.0, -0.0)).kink("a tie"),
        call(values(1.0, 2.0, 1.0), values(1.0)).kink("a tie"),
    ]  # fmt: skip
SAMPLES[torch.where] = [
    call(mask(2, 3), real(2, 3), real(2, 3)), call(mask(3), real(2, 3), real(2, 1)),
    call(mask(2, 3), real(), real(3)), call(mask(2, 1), real(3), 0.5), call(mask(2, 3), -1.0, real(2, 3)),
    call(mask(33, 17), real(33, 17), real(17)), call(mask(3), const(3), real(3)), call(mask(), real(), real()),
    call(mask(0), real(0), real(1)), call(mask(3), real(3, dtype=torch.float32), real(3, dtype=torch.float64)),
]  # fmt: skip
SAMPLES[torch.masked_fill] = [
    call(real(2, 3), mask(2, 3), 0.5), call(real(2, 3), mask(3), -INF).kink("infinite"),
    call(real(33, 17), mask(17), 0), call(real(2, 3), mask(2, 1), real()), call(const(2, 3), mask(2, 3), real()),
    call(real(), mask(), 1.0), call(real(0, 3), mask(0, 3), 1.0), call(real(3), mask(2, 3), 0.5),
]  # fmt: skip
SAMPLES[torch.clone] = [*unary(), call(real(2, 3), memory_format=torch.contiguous_format)]

# --- reductions ---

SAMPLES[torch.sum] = [
    *reductions(), call(real()), call(real(0, 3)), call(real(0, 3), 0), call(real(0, 3), 1), call(real(), 0),
    call(real(2, 3), 1, dtype=torch.float64), call(real(2, 3), dim=[]), call(real(200, 300)), call(real(200, 300), 0),
    call(real(), -1, True),
]  # fmt: skip
SAMPLES[torch.mean] = [
    *reductions(), call(real()), call(real(), 0), call(real(0, 3), 1), call(real(0, 3), 0), call(real(0)),
    call(real(2, 3), 1, dtype=torch.float64), call(real(2, 3), dim=[]), call(real(200, 300)),
]  # fmt: skip
MOMENTS = [
    *reductions(), call(real(2, 3), unbiased=False), call(real(2, 3), False), call(real(2, 3), 0, unbiased=False),
    call(real(2, 3), 0, True, True), call(real(2, 3), 1, correction=0), call(real(2, 3), 1, correction=1.5),
    call(real(2, 3), (0, 1), correction=2, keepdim=True), call(real(33, 17), 0, keepdim=True, unbiased=True),
]  # fmt: skip
SAMPLES[torch.var] = [*MOMENTS, call(values(1.0, 1.0, 1.0)).kink("no spread")]
SAMPLES[torch.std] = [*MOMENTS, call(values(1.0, 1.0, 1.0)).kink("no spread")]
for function in (torch.max, torch.min):
    SAMPLES[function] = [
        *reductions(lists=False), call(real()), call(real(), 0), call(real(0, 3), 1), call(real(2, 3), 0, True),
        call(real(2, 3), real(3)), call(real(2, 3), other=real(2, 1)), call(real(2, 3), const(3)),
        call(values(2.0, 1.0, 2.0, 2.0)).kink("a tie"), call(values(2.0, 1.0, 2.0, 1.0), 0).kink("a tie"),
        call(values(*[1.0, 1.0, 0.0, 2.0, 2.0, 2.0], shape=(2, 3)), 1, keepdim=True).kink("a tie"),
        call(values(2.0, NAN, 1.0, NAN)).kink("NaN"), call(values(2.0, NAN, 1.0), 0).kink("NaN"),
        call(values(1.0, 2.0), values(1.0, 3.0)).kink("a tie"),
    ]  # fmt: skip
SOFT = [
    call(real(2, 3), 1), call(real(2, 3), 0), call(real(2, 3), -1), call(real(2, 3), dim=1), call(real(3), 0),
    call(real(2, 3, 2), 1), call(real(33, 17), 1), call(real(33, 17), 0), call(real(), 0), call(real(0, 3), 1),
    call(real(2, 3), dim=0, dtype=torch.float64), call(real(2, 3), 1, dtype=torch.float64),
    call(values(1000.0, 0.0, -1000.0), 0).kink("saturated"), call(values(-INF, 0.0, 1.0), 0).kink("infinite"),
]  # fmt: skip
VECTORS = "torch sums within its vector lanes and rounds each product once"
SAMPLES[F.softmax] = [c.inexact(VECTORS, rtol=16) for c in SOFT]
SAMPLES[F.log_softmax] = [c.inexact(VECTORS, rtol=16) for c in SOFT]
SAMPLES[torch.logsumexp] = [
    call(real(2, 3), 1), call(real(2, 3), 0, True), call(real(2, 3), (0, 1)), call(real(3), -1),
    call(real(2, 3, 2), (0, -1)), call(real(33, 17), 1), call(real(33, 17), dim=0, keepdim=True), call(real(0, 3), 1),
    call(real(), 0), call(values(1000.0, 0.0, -1000.0), 0).kink("saturated"),
    call(values(-INF, 0.0, 1.0), 0).kink("infinite"), call(values(-INF, -INF), 0).kink("infinite"),
]  # fmt: skip

# --- shapes ---

SAMPLES[torch.Tensor.view] = [
    call(real(2, 3), 6), call(real(2, 3), 3, 2), call(real(2, 3), (3, -1)), call(real(2, 3), -1), call(real(), 1),
    call(real(1), ()), call(real(0, 3), 3, 0), call(real(2, 3, 2), 2, -1), call(real(2, 3), torch.Size([6])),
]  # fmt: skip
SAMPLES[torch.reshape] = [
    call(real(2, 3), (6,)), call(real(2, 3), (3, 2)), call(real(2, 3), (-1,)), call(real(2, 3), [3, -1]),
    call(real(), (1, 1)), call(real(0, 3), (3, 0)), call(real(2, 3), shape=(1, 6)),
]  # fmt: skip
SAMPLES[torch.Tensor.reshape] = [call(real(2, 3), 3, 2), call(real(2, 3), (3, 2)), call(real(2, 3), -1)]
SAMPLES[torch.flatten] = [
    call(real(2, 3)), call(real(2, 3, 2), 1), call(real(2, 3, 2), 0, 1), call(real(2, 3, 2), start_dim=1, end_dim=-1),
    call(real()), call(real(2, 0, 3), 1),
]  # fmt: skip
SAMPLES[torch.squeeze] = [
    call(real(2, 1, 3)), call(real(2, 1, 3), 1), call(real(2, 1, 3), 0), call(real(1, 3, 1), (0, 2)),
    call(real(1, 3, 1), dim=-1), call(real()), call(real(1, 1)), call(real(1, 0)),
]  # fmt: skip
SAMPLES[torch.unsqueeze] = [
    call(real(2, 3), 0), call(real(2, 3), 1), call(real(2, 3), -1), call(real(2, 3), dim=2), call(real(), 0),
    call(real(0), 1),
]  # fmt: skip
SAMPLES[torch.Tensor.expand] = [
    call(real(3), 2, 3), call(real(3), (2, 3)), call(real(2, 1), 2, 3), call(real(2, 1), -1, 3), call(real(1), 4, -1),
    call(real(), 3), call(real(1, 3), 2, 2, 3), call(real(2, 3), 2, 3), call(real(1), 0),
]  # fmt: skip
SAMPLES[torch.t] = [call(real(2, 3)), call(real(3)), call(real()), call(real(0, 2))]
SAMPLES[torch.transpose] = [
    call(real(2, 3), 0, 1), call(real(2, 3, 2), 1, 2), call(real(2, 3, 2), -1, 0), call(real(2, 3), dim0=1, dim1=0),
    call(real(), 0, 0), call(real(2, 0), 0, 1),
]  # fmt: skip
SAMPLES[torch.swapaxes] = [call(real(2, 3, 2), 0, 1), call(real(2, 3), axis0=-1, axis1=0)]
SAMPLES[torch.swapdims] = [call(real(2, 3, 2), 0, 1), call(real(2, 3), dim0=-1, dim1=0)]
SAMPLES[torch.Tensor.softmax] = [
    call(real(2, 3), 1, torch.float64).inexact(VECTORS, rtol=16),
    call(real(2, 3), dim=0).inexact(VECTORS, rtol=16),
]
SAMPLES[torch.Tensor.where] = [call(real(2, 3), mask(3), real(2, 1)), call(real(3), mask(2, 3), 0.5)]
SAMPLES[torch.permute] = [
    call(real(2, 3), (1, 0)), call(real(2, 3, 4), (2, 0, 1)), call(real(2, 3, 4), (-1, 0, -2)),
    call(real(2, 3), dims=(1, 0)), call(real(), ()), call(real(2, 3, 4), [0, 2, 1]),
]  # fmt: skip
SAMPLES[torch.Tensor.permute] = [call(real(2, 3, 4), 2, 0, 1), call(real(2, 3, 4), (2, 0, 1)), call(real(2, 3), -1, -2)]
SAMPLES[torch.cat] = [
    call([real(2, 3), real(1, 3)]), call([real(2, 1), real(2, 3)], 1), call([real(2, 3), real(2, 3)], dim=-1),
    call((real(2), const(1), real(3)), 0), call([real(0), real(2, 3)], 0), call([real(0, 3), real(2, 3)]),
    call([real(3)]), call([real(2), real(3, dtype=torch.float64), real(1, dtype=torch.float32)]),
    call([real(2, 3), real(1, 3)], axis=0), call(tensors=[real(2), real(1)], dim=0),
    call([real(33, 17), real(33, 5)], 1),
]  # fmt: skip
SAMPLES[torch.stack] = [
    call([real(2, 3), real(2, 3)]), call([real(3), real(3), const(3)], 1), call([real(3), real(3)], dim=-1),
    call([real(), real()]), call((real(2, 3), real(2, 3)), -2), call([real(0, 3), real(0, 3)]),
    call([real(2, dtype=torch.float64), real(2, dtype=torch.float32)]),
]  # fmt: skip
SAMPLES[torch._C._nn.pad_sequence] = [
    call([real(3), real(1)]), call([real(2, 3), real(4, 3), const(1, 3)], True), call([real(2), real(3)], False, 0.5),
    call([real(2, 2), real(3, 2)], True, -1.0, "left"), call([real(2)]),
]  # fmt: skip
SAMPLES[torch.Tensor.contiguous] = [call(real(2, 3)), call(real(2, 3, 2, 2), memory_format=torch.channels_last)]
SAMPLES[torch.Tensor.to] = [
    call(real(2, 3), torch.float64), call(real(2, 3), torch.float32).kink("few bits"),
    call(real(3), dtype=torch.float64, copy=True), call(real(3), "cpu"),
    call(real(3), device="cpu", dtype=torch.float32).kink("few bits"), call(real(3), const(1, dtype=torch.float64)),
    call(real(3), torch.device("cpu"), torch.float64), call(real(3), torch.bfloat16).kink("few bits"),
    call(real(3), torch.float16).kink("few bits"),
]  # fmt: skip
SAMPLES[torch.Tensor.type] = [
    call(real(2, 3), torch.float64), call(real(3), torch.float32).kink("few bits"),
    call(real(3), "torch.DoubleTensor"), call(real(3), dtype=torch.float64),
]  # fmt: skip
SAMPLES[torch.Tensor.type_as] = [
    call(real(3), const(2, dtype=torch.float64)),
    call(real(3), const(1, dtype=torch.float32)).kink("few bits"),
]
for function in (torch.Tensor.double, torch.Tensor.cpu):
    SAMPLES[function] = [call(real(2, 3))]
for function in (torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16):
    SAMPLES[function] = [call(real(2, 3)).kink("few bits")]
SAMPLES[torch.narrow] = [
    call(real(3, 2), 0, 1, 2), call(real(3, 2), 1, 0, 1), call(real(3, 2), -1, -1, 1),
    call(real(3, 2), dim=0, start=-3, length=2), call(real(3, 2), 0, 1, 0),
]  # fmt: skip
SAMPLES[torch.select] = [call(real(3, 2), 0, 1), call(real(3, 2), 1, -1), call(real(3, 2), dim=-2, index=0)]
SAMPLES[torch.unbind] = [call(real(3, 2)), call(real(3, 2), 1), call(real(3, 2), dim=-1), call(real(0, 2))]
SAMPLES[torch.split] = [
    call(real(5, 2), 2), call(real(5, 2), [1, 4]), call(real(2, 5), 2, 1), call(real(2, 5), [2, 0, 3], dim=-1),
    call(real(4), 4), call(real(0, 2), 2),
]  # fmt: skip
SAMPLES[torch.chunk] = [
    call(real(5, 2), 2), call(real(2, 5), 3, 1), call(real(6), 4), call(real(2, 3), chunks=5, dim=-1),
    call(real(0, 2), 3),
]  # fmt: skip
SAMPLES[torch.Tensor.expand_as] = [call(real(3), const(2, 3)), call(real(2, 1), real(2, 3))]
SAMPLES[torch.Tensor.view_as] = [call(real(6), const(2, 3)), call(real(2, 3), real(3, 2))]
SAMPLES[torch.Tensor.reshape_as] = [call(real(6), const(2, 3)), call(real(2, 3), real(3, 2))]
SAMPLES[torch.broadcast_to] = [call(real(3), (2, 3)), call(real(2, 1), [2, 3]), call(real(), (2,))]
SAMPLES[torch.ravel] = [call(real(2, 3)), call(real()), call(real(0, 2))]

# --- indexing ---

NONE, DOTS = None, Ellipsis
INDICES = [
    0, -1, slice(None), slice(1, 3), slice(None, None, 2), NONE, DOTS, (0, 1), (slice(None), 2), (DOTS, 0),
    (NONE, 1, NONE), (slice(0, 2), slice(1, None, 2)), [0, 2, 0], (slice(None), [3, 0, 3]), ([0, 1, 0], [1, 1, 1]),
    (range(3), [0, 2, 0]), ([0, 1], slice(None)), (slice(1, 3), [0, 0]), ([[0, 1], [1, 0]],), ([[0], [1]], [0, 3]),
    [True, False, True], [], (0, [1, 1, 2]), ([1, 1], NONE, slice(2)), True, False, (NONE, [0, 0]),
]  # fmt: skip
SAMPLES[operator.getitem] = [call(real(3, 4), index) for index in INDICES]


def assigned(x: Any, index: Any, value: Any) -> Any:
    """``x`` with a value written at an index."""
    x = x.clone()
    x[index] = value
    return x


SAMPLES[assigned] = [
    call(real(3, 4), 0, real(4)), call(real(3, 4), (slice(None), 1), real(3)), call(real(3, 4), slice(0, 2), 0.0),
    call(real(3, 4), DOTS, real()), call(real(3, 4), [0, 2], real(2, 4)), call(real(3, 4), [0, 2], real(4)),
    call(real(3, 4), (range(3), [0, 1, 2]), real(3)), call(real(3, 4), (0, 1), 2.0),
    call(real(3, 4), mask(3, 4), real()), call(real(3, 4), mask(3), const(4)),
    call(real(3, 4), (NONE, 1), real(1, 4)), call(real(3, 4), 0, real(1, 1, 4)), call(real(3, 4), ints(2, 2, below=3), real(4)),
    call(real(3, 4), mask(3, 4), 1.0), call(real(), (), real()),
    call(real(3, 4, dtype=torch.float32), 0, real(4, dtype=torch.float64)), call(real(3), 0, real(1)),
    call(real(3, 4), slice(1, 1), real(4)),
]  # fmt: skip
SAMPLES[operator.getitem] += [
    call(real(3, 4), ints(5, below=3)), call(real(3, 4), (slice(None), ints(2, 2, below=4))),
    call(real(27, 10), ints(32, 3, below=27)), call(real(3, 4), mask(3, 4)), call(real(3, 4), mask(3)),
    call(real(3, 4), (slice(None), mask(4))), call(real(3, 4), ints(below=3)),
    call(real(3, 4), (range(3), ints(3, below=4))),
    call(real(2, 3, 4), (slice(None), ints(2, below=3), slice(0, 4, 2))),
    call(real(2, 3, 4), (ints(2, below=2), slice(None), ints(2, below=4))), call(real(3), ints(0, below=3)),
    call(real(3, 4), ints(5, below=3, dtype=torch.int32)), call(real(3, 4), ints(5, below=0, above=-3)),
    call(real(), DOTS), call(real(), NONE), call(real(), ()), call(real(0, 3), slice(1)),
    call(real(32, 27), (range(32), ints(32, below=27))),
]  # fmt: skip

# --- products ---

FACTORS = [
    ((2, 3), (3, 2)), ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 2, 3), (2, 3, 2)), ((2, 2, 3), (3, 2)),
    ((2, 3), (2, 3, 2)), ((2, 2, 3), (3,)), ((3,), (2, 3, 2)), ((2, 1, 2, 3), (2, 3, 1)), ((1, 2, 3), (2, 3, 2)),
    ((32, 30), (30, 64)), ((32, 64), (64, 27)), ((33, 17), (17,)), ((17,), (17, 33)), ((5, 33, 17), (17, 9)),
    ((33, 17), (5, 17, 9)), ((5, 33, 17), (5, 17, 9)), ((5, 33, 17), (17,)), ((17,), (5, 17, 9)),
    ((4, 1, 9, 8), (3, 8, 5)), ((1, 33, 17), (5, 17, 9)), ((5, 33, 17), (1, 17, 9)), ((4, 5, 33, 17), (17, 9)),
    ((4, 5, 33, 17), (17,)), ((33, 17), (4, 5, 17, 9)), ((17,), (4, 5, 17, 9)), ((3, 2, 0), (0, 2)),
    ((2, 0, 3), (3,)), ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((2, 3), (3, 0)), ((0,), (0,)), ((2, 0, 3), (3, 2)),
    ((1, 1), (1, 1)),
]  # fmt: skip
MATMUL = [call(real(*a), real(*b)) for a, b in FACTORS]
SAMPLES[torch.matmul] = [
    *MATMUL,
    call(real(2, 3), const(3, 2)),
    call(const(2, 3), real(3)),
    call(input=real(3), other=real(3)),
]
SAMPLES[operator.matmul] = SAMPLES[torch.matmul][:-1]
SAMPLES[F.linear] = [
    call(real(2, 3), real(2, 3)), call(real(2, 3), real(2, 3), real(2)), call(real(3), real(2, 3), real(2)),
    call(real(3), real(2, 3)), call(real(2, 2, 3), real(2, 3), bias=real(2)), call(real(2, 2, 3), real(2, 3)),
    call(real(3), real(3)), call(real(2, 3), real(3)), call(real(3), real(3), real()),
    call(real(4, 5, 33, 17), real(9, 17), real(9)), call(real(4, 5, 33, 17), real(9, 17)),
    call(real(32, 30), real(64, 30), real(64)), call(real(5, 33, 17), real(9, 17), real(9)),
    call(const(2, 3), real(2, 3), real(2)), call(real(2, 3), const(2, 3), const(2)),
    call(real(0, 3), real(2, 3), real(2)), call(real(2, 3), real(1, 3), real(1)),
]  # fmt: skip

# --- layers and losses ---

STRIDED = "torch mixes two exponentials, of its vector units and of the C library, along a dim that is not the last"
SAMPLES[F.cross_entropy] = [
    call(real(4, 3), ints(4, below=3)), call(real(4, 3), ints(4, below=3), reduction="sum"),
    call(real(3), ints(below=3)), call(real(4, 3), ints(4, below=3), reduction="none"),
    call(real(2, 3, 2), ints(2, 2, below=3)).inexact(STRIDED, rtol=16), call(real(32, 27), ints(32, below=27)),
    call(real(4, 3), ints(4, below=3), ignore_index=0),
    call(real(4, 3), ints(4, below=3), ignore_index=1, reduction="sum"),
    call(real(4, 3), ints(4, below=0, above=-1), ignore_index=-1).kink("nothing counted"),
    call(real(32, 27, 3), ints(32, 3, below=27)).inexact(STRIDED, rtol=16),
    call(real(2, 3, 2, 2), ints(2, 2, 2, below=3), reduction="none").inexact(STRIDED, rtol=16),
    call(real(0, 3), ints(0, below=3), reduction="sum"), call(input=real(4, 3), target=ints(4, below=3)),
    call(real(5, 3), ints(5, below=3), None, None, 1),
]  # fmt: skip
FUSED = "torch accumulates the sums of a channel in another order"
NORMS = [
    call(real(4, 3), None, None, real(3), real(3), training=True), call(real(4, 3), None, None, training=True),
    call(real(4, 3), const(3), const(3, **AWAY), real(3), real(3), True, 0.1, 1e-5),
    call(real(4, 3), None, None, real(3), None, True), call(real(4, 3), const(3), const(3, **AWAY), real(3), real(3)),
    call(real(4, 3), const(3), const(3, **AWAY)), call(real(2, 3, 2), None, None, real(3), real(3), True, eps=1e-3),
    call(real(32, 20), None, None, real(20), real(20), True), call(const(4, 3), None, None, real(3), real(3), True),
    call(real(2, 3, 2, 2), const(3), const(3, **AWAY), real(3), real(3), True),
    call(real(0), const(0), const(0), training=True), call(real(0, 3), None, None, real(3), real(3), True),
]  # fmt: skip
SAMPLES[F.batch_norm] = [c.inexact(FUSED, rtol=64) for c in NORMS]
SAMPLES[F.embedding] = [
    call(ints(4, below=3), real(3, 2)), call(ints(2, 3, below=3), real(3, 2)),
    call(ints(32, 3, below=27), real(27, 10)), call(ints(below=3), real(3, 2)),
    call(ints(0, below=3), real(3, 2)).torch_once("it reshapes an empty tensor to (0, -1)"),
]  # fmt: skip
SAMPLES[torch.batch_norm] = [
    call(real(4, 3), real(3), real(3), const(3), const(3, **AWAY), True, 0.1, 1e-5, False).inexact(FUSED, rtol=64),
    call(real(4, 3), None, None, const(3), const(3, **AWAY), False, 0.1, 1e-5, False).inexact(FUSED, rtol=64),
]
SAMPLES[torch.embedding] = [call(real(3, 2), ints(4, below=3)), call(real(3, 2), ints(2, 3, below=3), -1, False, False)]
SAMPLES[torch.dropout] = [call(real(3, 4), 0.5, True), call(real(3, 4), p=0.5, train=False)]
SAMPLES[F.dropout] = [
    call(real(3, 4)), call(real(3, 4), 0.2), call(real(3, 4), p=0.5, training=False), call(real(3, 4), 0.0),
    call(real(3, 4), 1.0), call(real(33, 17), 0.3, True), call(real(0, 3)),
]  # fmt: skip
