"""Sample calls of functions that read and write at indices. The format is that of samples.py."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tests.provers.samples.basics import assigned
from tests.provers.samples.calls import INF, NAN, Call, call, const, ints, mask, real, values

SAMPLES: dict[Callable[..., Any], list[Call]] = {}

# --- brackets ---

PLACES = [
    (0, (4,)), (-1, ()), (slice(None), (3, 4)), (slice(1, 3), (4,)), (slice(None, None, 2), (2, 1)), (..., (1, 4)), ((0, 1), ()), ((slice(None), 2), (3,)),
    ((..., 0), (3,)), ((None, 1), (1, 4)), (0, (1, 1, 4)), ([0, 2], (2, 4)), ((slice(None), [3, 0]), (3, 2)), (([0, 1, 2], [1, 1, 3]), (3,)),
    ((range(3), [0, 2, 0]), ()), (([[0, 1], [1, 0]],), (4,)), (([[0], [2]], [0, 3]), (2, 2)), ([True, False, True], (2, 4)), ([], (4,)),
    ((slice(1, 3), [0, 3]), (2, 1)), (True, (3, 4)), (slice(2, 2), (4,)),
]  # fmt: skip
SAMPLES[assigned] = [
    *[call(real(3, 4), index, real(*shape)) for index, shape in PLACES],
    call(real(3, 4), 1, 2.5), call(real(3, 4), (slice(None), 0), const(3)), call(real(3, 4), mask(3, 4), 0.0),
    call(real(3, 4), mask(3, 4), real()), call(real(3, 4), mask(3), real(4)), call(real(3, 4), (slice(None), mask(4)), real(3, 1)),
    call(real(3, 4), [0, 0], real(4)).kink("an element written twice"), call(real(3), 1, ints(below=5)), call(real(), ..., real()),
    call(real(), (), real()), call(real(3), 1, real(dtype=torch.float64)), call(real(33, 17), ints(9, below=33), real(17)).kink("an element written twice"),
    call(real(2, 3, 2), (slice(None), [0, 2], slice(0, 1)), real(2, 2, 1)),
]  # fmt: skip
SAMPLES[operator.getitem] = [
    call(real(), mask()), call(real(2, 3), mask()), call(real(2, 3), (0, mask(3))), call(real(2, 3), (mask(2), ..., None)),
    call(real(2, 3), (slice(0, 0),)), call(real(3), slice(-2, None)), call(real(2, 3), (ints(below=2), ints(2, below=3))),
    call(real(2, 3, 2), (ints(2, below=2), slice(1, None), 0)), call(real(33, 17), (slice(None), ints(40, below=17))),
]  # fmt: skip

# --- reading ---

SAMPLES[torch.gather] = [
    call(real(3, 4), 0, ints(2, 4, below=3)), call(real(3, 4), 1, ints(3, 2, below=4)), call(real(3, 4), -1, ints(2, 5, below=4)),
    call(real(3), 0, ints(5, below=3)), call(real(), 0, ints(below=1)), call(real(3, 4), dim=1, index=ints(1, 1, below=4)),
    call(real(2, 3, 2), 1, ints(2, 2, 2, below=3)), call(real(3, 4), 0, ints(0, below=3)), call(real(33, 17), 0, ints(50, 17, below=33)),
    call(real(33, 17), 1, ints(33, 40, below=17)),
]  # fmt: skip
SAMPLES[torch.index_select] = [
    call(real(3, 4), 0, ints(5, below=3)), call(real(3, 4), 1, ints(2, below=4)), call(real(3, 4), dim=-1, index=ints(6, below=4)),
    call(real(3), 0, ints(below=3)), call(real(), 0, ints(1, below=1)), call(real(3, 4), 0, ints(0, below=3)),
    call(real(3, 4), 0, ints(5, below=3, dtype=torch.int32)), call(real(33, 17), 0, ints(90, below=33)), call(real(33, 17), 1, ints(90, below=17)),
]  # fmt: skip
SAMPLES[torch.take] = [
    call(real(3, 4), ints(5, below=12)), call(real(3, 4), ints(2, 3, below=12)), call(real(3, 4), ints(3, below=0, above=-12)),
    call(real(), ints(2, below=1)), call(real(3), ints(below=3)), call(real(3), index=ints(0, below=3)), call(real(33, 17), ints(900, below=561)),
]  # fmt: skip
SAMPLES[torch.take_along_dim] = [
    call(real(3, 4), ints(3, 2, below=4), 1), call(real(3, 4), ints(1, 4, below=3), 0), call(real(3, 4), ints(5, below=12)),
    call(real(3, 1), ints(1, 4, below=1), dim=1), call(real(1, 4), ints(3, 2, below=4), -1), call(real(3, 4), ints(3, 2, below=0, above=-4), 1),
    call(real(33, 17), ints(33, 40, below=17), 1),
]  # fmt: skip
SAMPLES[torch.masked_select] = [
    call(real(3, 4), mask(3, 4)), call(real(3, 4), mask(4)), call(real(3, 4), mask(3, 1)), call(real(4), mask(3, 4)), call(real(), mask()),
    call(real(), mask(3)), call(real(0, 3), mask(3)), call(real(33, 17), mask=mask(33, 17)),
]  # fmt: skip

# --- writing ---

TWICE = "an element written twice"
SAMPLES[torch.scatter] = [
    call(real(3, 4), 0, ints(1, 4, below=3), real(1, 4)), call(real(3, 4), 1, ints(3, 1, below=4), real(3, 1)), call(real(3), 0, ints(below=3), real()),
    call(real(3, 4), 0, ints(2, 4, below=3), 1.5), call(real(3, 4), 1, ints(3, 2, below=4), value=0.0), call(real(3, 4), -1, ints(2, 1, below=4), const(3, 4)),
    call(const(3, 4), 0, ints(1, 4, below=3), real(1, 4)), call(real(3, 4), dim=1, index=ints(2, 1, below=4), src=const(2, 1)),
    call(real(), 0, ints(below=1), real()), call(real(3, 4), 0, ints(0, below=3), real(0)), call(real(33, 17), 1, ints(33, 1, below=17), real(33, 1)),
    call(real(3), 0, ints(3, below=1), real(3)).kink(TWICE),
]  # fmt: skip
SAMPLES[torch.index_copy] = [
    call(real(3, 4), 0, ints(1, below=3), real(1, 4)), call(real(3, 4), 1, ints(1, below=4), real(3, 1)),
    call(real(3), 0, ints(below=3), real()), call(real(3, 4), dim=-2, index=ints(1, below=3), source=const(1, 4)), call(const(3), 0, ints(1, below=3), real(1)),
    call(real(3, 4), 0, ints(0, below=3), real(0, 4)), call(real(3), 0, ints(2, below=1), real(2)).kink(TWICE),
]  # fmt: skip
SAMPLES[torch.index_fill] = [
    call(real(3, 4), 0, ints(2, below=3), 1.5), call(real(3, 4), 1, ints(3, below=4), real()), call(const(3, 4), -1, ints(6, below=4), real()),
    call(real(3), 0, ints(below=3), 2), call(real(3, 4), dim=0, index=ints(2, below=3), value=const()), call(real(), 0, ints(1, below=1), real()),
    call(real(3, 4), 0, ints(0, below=3), real()),
]  # fmt: skip
SAMPLES[torch.index_put] = [
    call(real(3, 4), (ints(2, below=3),), real(2, 4), True), call(real(3, 4), (ints(1, below=3), ints(1, below=4)), real(1)),
    call(real(3, 4), [ints(1, below=3)], real(4)), call(real(3, 4), (mask(3, 4),), real()), call(real(3, 4), (mask(3),), real(4), accumulate=True),
    call(real(3, 4), indices=(ints(5, below=3), ints(5, below=4)), values=real(5), accumulate=True), call(const(3), (ints(1, below=3),), real(1)),
    call(real(3), (ints(1, below=3),), const(1)), call(real(33, 17), (ints(90, below=33),), real(90, 17), True),
]  # fmt: skip
SAMPLES[torch.put] = [
    call(real(3, 4), ints(1, below=12), real(1)), call(real(3, 4), ints(5, below=12), real(5), True), call(real(3, 4), ints(2, 2, below=12), real(4), accumulate=True),
    call(const(3), ints(1, below=3), real(1)), call(real(3), index=ints(below=3), source=const()), call(real(), ints(1, below=1), real(1)),
    call(real(3), ints(2, below=1), real(2)).kink(TWICE),
]  # fmt: skip
SAMPLES[torch.masked_scatter] = [
    call(real(3, 4), mask(3, 4), real(12)), call(real(3, 4), mask(3, 4), real(3, 5)), call(real(3, 4), mask(4), real(13)), call(const(3, 4), mask(3, 1), real(12)),
    call(real(3, 4), mask(3, 4), const(12)), call(real(4), mask(3, 4), real(12)), call(real(), mask(), real()), call(real(0), mask(0), real(2)),
]  # fmt: skip
SAMPLES[torch.fill] = [
    call(real(2, 3), 1.5),
    call(real(2, 3), real()),
    call(const(2, 3), real()),
    call(real(), real()),
    call(real(0), real()),
]


def emptied(x: Any) -> Any:
    """What ``zero_`` and ``fill_`` leave."""
    return (x * 2).zero_() + (x * 3).fill_(0.5) * x


SAMPLES[emptied] = [call(real(2, 3)), call(real())]

# --- adding and reducing ---

SAMPLES[torch.scatter_add] = [
    call(real(3, 4), 0, ints(2, 4, below=3), real(2, 4)), call(real(3, 4), 1, ints(3, 5, below=4), real(3, 5)), call(real(3), 0, ints(below=3), real()),
    call(const(3), 0, ints(5, below=3), real(5)), call(real(3), dim=0, index=ints(5, below=3), src=const(5)), call(real(3, 4), -1, ints(2, 2, below=4), const(3, 4)),
    call(real(33, 17), 0, ints(90, 17, below=33), real(90, 17)), call(real(3, 4), 0, ints(0, below=3), real(0)),
]  # fmt: skip
SAMPLES[torch.index_add] = [
    call(real(3, 4), 0, ints(5, below=3), real(5, 4)), call(real(3, 4), 1, ints(2, below=4), real(3, 2)), call(real(3, 4), -1, ints(2, below=4), real(3, 2), alpha=2), call(real(3), 0, ints(5, below=3), real(5), alpha=-0.3), call(const(3), 0, ints(5, below=3), real(5)),
    call(real(3), dim=0, index=ints(5, below=3), source=const(5)), call(real(33, 17), 0, ints(90, below=33), real(90, 17), alpha=0.7), call(real(), 0, ints(1, below=1), real()),
]  # fmt: skip
AWAY = {"lo": 0.5, "hi": 2.0}
REDUCED = [
    call(real(3, 4, **AWAY), 0, ints(2, 4, below=3), real(2, 4, **AWAY), reduce, include_self=include)
    for reduce in ("sum", "mean", "prod", "amax", "amin")
    for include in (True, False)
]
SAMPLES[torch.scatter_reduce] = [
    *REDUCED, *[call(real(3), 0, ints(8, below=3), real(8), reduce) for reduce in ("sum", "mean", "prod", "amax", "amin")],
    call(real(33, 17), 0, ints(90, 17, below=33), real(90, 17), "mean"), call(real(33, 17), 1, ints(33, 40, below=17), real(33, 40), "amax"),
    call(real(33, 17, **AWAY), 1, ints(33, 40, below=17), real(33, 40, **AWAY), "prod"), call(real(3, 4), 1, ints(2, 2, below=4), const(3, 3), "sum"),
    call(values(0.0, 2.0), 0, ints(3, below=1), values(3.0, 5.0, 2.0), "prod").kink("a zero"),
    call(values(2.0, 2.0), 0, ints(3, below=1), values(3.0, 0.0, 2.0), "prod").kink("a zero"),
    call(values(1.0, 2.0), 0, ints(3, below=1), values(1.0, 1.0, 0.5), "amax").kink("a tie"),
    call(values(1.0, 2.0), 0, ints(3, below=1), values(1.0, 1.0, 3.0), "amin").kink("a tie"),
    call(const(3), 0, ints(8, below=3), real(8), "amax"), call(real(3), 0, ints(8, below=3), const(8), "prod"), call(real(), 0, ints(below=1), real(), "mean"),
    call(real(3), dim=0, index=ints(4, below=3), src=real(4), reduce="sum", include_self=False),
]  # fmt: skip
SAMPLES[torch.index_reduce] = [
    *[
        call(real(3, 2, **AWAY), 0, ints(3, below=3), real(3, 2, **AWAY), reduce, include_self=include)
        for reduce in ("mean", "prod", "amax", "amin")
        for include in (True, False)
    ],
    call(real(2, 3), -1, ints(2, below=3), real(2, 2), "mean"), call(real(), 0, ints(1, below=1), real(), "prod"), call(real(33, 17), 1, ints(40, below=17), real(33, 40), "mean"),
]  # fmt: skip

# --- tables ---

PADDING = "the gradient of padding is left out"
SAMPLES[F.embedding] = [
    call(ints(4, below=3), real(3, 2), 0).kink(PADDING), call(ints(2, 3, below=3), real(3, 2), padding_idx=-1).kink(PADDING),
    call(ints(32, 3, below=27), real(27, 10), padding_idx=0), call(input=ints(4, below=3), weight=real(3, 2)),
]  # fmt: skip
SAMPLES[torch.embedding] = [
    call(real(3, 2), ints(4, below=3)),
    call(real(3, 2), ints(2, 3, below=3), 1).kink(PADDING),
    call(real(3, 2), ints(4, below=3), padding_idx=0).kink(PADDING),
]

# --- order ---

SAMPLES[torch.sort] = [
    call(real(3)), call(real(3, 4)), call(real(3, 4), 0), call(real(3, 4), -1, True), call(real(3, 4), dim=0, descending=True), call(real(3, 4), stable=True),
    call(real(3, 4), stable=True, dim=0, descending=True), call(real()), call(real(0, 3)), call(real(33, 17), 0), call(real(33, 17), 1),
    call(values(2.0, 1.0, 2.0, 1.0), stable=True).kink("a tie"), call(values(2.0, NAN, 1.0, INF)).kink("NaN"),
]  # fmt: skip
SAMPLES[torch.msort] = [call(real(3)), call(real(3, 4)), call(real(33, 17)), call(real()), call(real(0, 3))]
SAMPLES[torch.topk] = [
    call(real(5), 2), call(real(3, 4), 2), call(real(3, 4), 1, 0), call(real(3, 4), 2, -1, False), call(real(3, 4), k=3, dim=1, largest=False, sorted=True), call(real(), 1),
    call(real(5), 0), call(real(33, 17), 5), call(real(33, 17), 5, 0, True, False),
]  # fmt: skip
SAMPLES[torch.kthvalue] = [
    call(real(5), 2), call(real(3, 4), 2), call(real(3, 4), 1, 0), call(real(3, 4), 4, -1, True), call(real(3, 4), k=3, dim=0, keepdim=True), call(real(), 1),
    call(real(33, 17), 5), call(real(33, 17), 5, 0),
]  # fmt: skip
