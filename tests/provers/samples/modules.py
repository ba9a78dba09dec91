"""Sample calls of what modules call: attention, recurrent networks, bags of embeddings, CTC, grids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tests.provers.samples.calls import Call, Spec, call, const, real, values

SAMPLES: dict[Callable[..., Any], list[Call]] = {}
FUSED = "torch has one kernel for it"
ONCE = "torch has no second gradient"


def whole(*given: int, shape: tuple[int, ...] | None = None) -> Spec:
    """A torch tensor of these integers."""
    return Spec((len(given),) if shape is None else shape, "int", given=given, dtype=torch.int64)


# --- attention ---


def attention(**options: Any) -> Call:
    """Two heads over three vectors of size four, two sequences."""
    return call(
        real(3, 2, 4), real(3, 2, 4), real(3, 2, 4), 4, 2, const(12, 4), const(12), None, None, False, 0.0,
        real(4, 4), real(4), **options,
    ).inexact(FUSED, rtol=64)  # fmt: skip


SAMPLES[F.multi_head_attention_forward] = [
    attention(), attention(need_weights=False).torch_once("its fused kernel has no second gradient"), attention(attn_mask=const(3, 3)), attention(average_attn_weights=False),
]  # fmt: skip

# --- recurrent networks ---

for _cell, _gates in ((torch.rnn_tanh_cell, 1), (torch.rnn_relu_cell, 1), (torch.gru_cell, 3)):
    SAMPLES[_cell] = [
        call(real(2, 2), real(2, 2), real(2 * _gates, 2), const(2 * _gates, 2), real(2 * _gates), const(2 * _gates)),
        call(real(2, 2), real(2, 1), const(_gates, 2), real(_gates, 1)),
    ]
SAMPLES[torch.lstm_cell] = [
    call(real(2, 2), [real(2, 1), real(2, 1)], real(4, 2), const(4, 1), real(4), const(4)),
    call(real(1, 2), [const(1, 2), real(1, 2)], const(8, 2), real(8, 2)),
]  # fmt: skip


def networks(gates: int, memory: bool) -> list[Call]:
    """One layer; two in both directions, without biases, of batches first; packed sequences."""

    def state(*shape: int) -> Any:
        return [real(*shape), const(*shape)] if memory else real(*shape)

    one = [real(gates, 2), real(gates, 1), const(gates), const(gates)]
    two = [const(gates, 2), const(gates, 1)] * 3 + [real(gates, 2), const(gates, 1)]
    return [
        call(real(2, 2, 2), state(1, 2, 1), one, True, 1, 0.0, True, False, False),
        call(real(1, 2, 2), state(4, 1, 1), two, False, 2, 0.0, False, True, True),
        call(real(4, 2), whole(2, 1, 1), state(1, 2, 1), one, True, 1, 0.0, True, False),
        call(real(3, 2), whole(2, 1), state(2, 2, 1), one + one, True, 1, 0.0, True, True),
    ]


SAMPLES[torch.rnn_tanh] = networks(1, False)
SAMPLES[torch.rnn_relu] = [c.zeros("of products with zero") for c in networks(1, False)]
SAMPLES[torch.gru] = networks(3, False)
SAMPLES[torch.lstm] = [c.inexact("torch has it from another library in float32", rtol=64) for c in networks(4, True)]
SAMPLES[torch._pack_padded_sequence] = [
    call(real(3, 2, 2), whole(3, 1), False), call(real(2, 3), whole(3, 2), True),
]  # fmt: skip
SAMPLES[torch._pad_packed_sequence] = [
    call(real(4, 2), whole(2, 1, 1), False, 0.0, -1).torch_once(ONCE), call(real(3), whole(2, 1), True, 1.5, 4).torch_once(ONCE),
]  # fmt: skip
SAMPLES[torch._C._nn.pad_sequence] = [
    call([real(3), real(1)]), call([real(1, 2), real(2, 2)], True, 2.0), call([real(1), real(2)], False, 0.0, "left"),
]  # fmt: skip

# --- bags of embeddings ---

ROWS = whole(0, 2, 1, 2, 2)
SAMPLES[F.embedding_bag] = [
    c.torch_once(ONCE).inexact("torch sums in another order", rtol=8)
    for c in [
        *[call(ROWS, real(4, 2), whole(0, 2, 2), mode=mode) for mode in ("sum", "mean", "max")],
        *[call(ROWS, real(4, 2), whole(0, 2, 5), mode=m, padding_idx=2, include_last_offset=True) for m in ("sum", "mean", "max")],
        call(whole(0, 1, 2, 1, shape=(2, 2)), real(3, 2), mode="sum", per_sample_weights=real(2, 2)),
        call(whole(0, 1, 2, 1, shape=(2, 2)), real(3, 2), mode="sum", per_sample_weights=real(2, 2), padding_idx=1),
    ]
]  # fmt: skip

SAMPLES[torch.embedding_bag] = [call(real(3, 2), whole(0, 2, 1), whole(0, 1), False, 0).torch_once(ONCE)]

# --- segments ---

SAMPLES[torch.segment_reduce] = SAMPLES[torch._segment_reduce] = [
    *[
        call(real(5, 2), reduce, lengths=whole(2, 3), initial=start).torch_once(ONCE).zeros("of products with zero")
        for reduce in ("sum", "mean", "max", "min", "prod")
        for start in (None, 0.5)
    ],
    call(real(2, 4), "sum", lengths=whole(1, 3, 2, 2, shape=(2, 2)), axis=1).torch_once(ONCE),
    call(real(5), "prod", offsets=whole(0, 2, 2, 5)).torch_once(ONCE),
]

# --- CTC ---

# Logarithms of probabilities need not be normalized, as far as torch's values go; its gradient takes them to be.
NOT_NORMALIZED = "torch gives the gradient for normalized probabilities"
SAMPLES[F.ctc_loss] = [
    c.torch_once(ONCE).inexact(FUSED, rtol=64).kink(NOT_NORMALIZED)
    for c in (
        call(real(4, 2, 3, lo=-3, hi=-0.5), whole(1, 2, 2, 1, shape=(2, 2)), whole(4, 3), whole(2, 1)),
        call(real(4, 2, 3, lo=-3, hi=-0.5), whole(1, 1, 2), whole(4, 4), whole(2, 1), reduction="none"),
        call(real(4, 3, lo=-3, hi=-0.5), whole(0, 1), whole(4, shape=()), whole(2, shape=()), blank=2, reduction="sum"),
        call(real(2, 2, 3, lo=-3, hi=-0.5), whole(1, 2, 1, 1, 2, 1, shape=(2, 3)), whole(2, 2), whole(3, 1), zero_infinity=True),
    )
]  # fmt: skip

SAMPLES[torch.ctc_loss] = [
    call(real(3, 1, 3, lo=-3, hi=-0.5), whole(1, 2, shape=(1, 2)), [3], [2]).torch_once(ONCE).inexact(FUSED, rtol=64).kink(NOT_NORMALIZED)
]  # fmt: skip

# --- grids ---

POINTS = values(-0.9, 0.35, 0.2, -0.55, 1.3, 0.7, -1.6, 0.1, shape=(1, 2, 2, 2))
POINTS_3D = values(-0.9, 0.35, 0.2, -0.55, 1.3, 0.7, shape=(1, 1, 1, 2, 3))
SAMPLES[F.grid_sample] = [
    c.inexact(FUSED, rtol=64)
    for c in [
        *[
            call(real(1, 1, 3, 2), POINTS, mode=mode, padding_mode=padding, align_corners=corners)
            for mode in ("bilinear", "bicubic")
            for padding in ("zeros", "border", "reflection")
            for corners in (False, True)
        ],
        call(real(1, 2, 2, 3, 2), POINTS_3D, padding_mode="border", align_corners=False),
    ]
]
SAMPLES[F.grid_sample] = [c.torch_once("torch has no second gradient for all of them") for c in SAMPLES[F.grid_sample]]
SAMPLES[F.grid_sample] += [
    call(real(1, 1, 3, 2), POINTS, mode="nearest", padding_mode=padding, align_corners=False).kink("steps").torch_once(ONCE)
    for padding in ("zeros", "border", "reflection")
]  # fmt: skip
SAMPLES[torch.grid_sampler] = [call(real(1, 1, 3, 2), POINTS, 0, 1, True).inexact(FUSED, rtol=64).torch_once(ONCE)]
SAMPLES[torch.grid_sampler_2d] = [call(real(1, 1, 3, 2), POINTS, 0, 0, False).inexact(FUSED, rtol=64).torch_once(ONCE)]
SAMPLES[torch.grid_sampler_3d] = [
    call(real(1, 1, 2, 3, 2), real(1, 1, 2, 2, 3), 0, 1, True).inexact(FUSED, rtol=64).torch_once(ONCE)
]
SAMPLES[F.affine_grid] = [
    call(real(1, 2, 3), (1, 1, 2, 3), align_corners=False), call(real(1, 2, 3), (1, 1, 3, 2), align_corners=True),
    call(real(2, 3, 4), (2, 1, 2, 2, 3), align_corners=True),
]  # fmt: skip
SAMPLES[torch.affine_grid_generator] = [call(real(1, 2, 3), (1, 1, 2, 2), False)]

# --- products of reflections ---

SAMPLES[torch.linalg.householder_product] = [
    c.inexact(FUSED, rtol=64).torch_once("torch gives a second gradient for other arguments")
    for c in (call(real(3, 2), real(2)), call(real(2, 2, 2), real(2, 2)), call(real(3, 3), real(2)))
]

# --- older names ---

SAMPLES[F.upsample] = [call(real(1, 1, 2), scale_factor=2)]
SAMPLES[F.upsample_bilinear] = [call(real(1, 1, 2, 2), scale_factor=2).inexact(FUSED, rtol=4)]
SAMPLES[F.upsample_nearest] = [call(real(1, 1, 2, 2), scale_factor=2)]
