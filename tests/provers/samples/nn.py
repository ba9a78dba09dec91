"""Sample calls of layers and losses: convolutions, pools, norms, dropouts, attention, interpolation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tests.provers.samples.basics import AWAY
from tests.provers.samples.basics import SAMPLES as SIMPLE
from tests.provers.samples.calls import INF, NAN, Call, Spec, call, const, ints, mask, real, values

SAMPLES: dict[Callable[..., Any], list[Call]] = {}


def fixed(*given: int | bool, shape: tuple[int, ...] | None = None) -> Spec:
    """A torch tensor of these integers or booleans."""
    kind = torch.bool if isinstance(given[0], bool) else torch.int64
    return Spec((len(given),) if shape is None else shape, "int", given=given, dtype=kind)


# --- convolutions ---

SAMPLES[F.conv1d] = [
    call(real(1, 2, 4), real(1, 2, 2)), call(real(2, 2, 5), real(2, 2, 3), real(2)), call(real(2, 4), real(1, 2, 2), real(1)),
    call(real(1, 1, 6), real(1, 1, 2), None, 2), call(real(1, 1, 5), real(1, 1, 3), padding=1), call(real(1, 1, 6), real(1, 1, 2), dilation=2),
    call(real(1, 2, 4), real(2, 1, 2), groups=2), call(real(1, 1, 4), real(1, 1, 3), padding="same"), call(real(1, 1, 4), real(1, 1, 2), padding="same"),
    call(real(1, 1, 4), real(1, 1, 3), padding="valid"), call(real(4, 3, 33), real(5, 3, 7), real(5), stride=3, padding=2, dilation=2),
    call(const(1, 2, 4), real(1, 2, 2), real(1)), call(real(1, 2, 4), const(1, 2, 2)), call(const(2, 2, 5), const(2, 2, 3), real(2)),
    call(real(1, 1, 7), real(1, 1, 2), stride=3),
]  # fmt: skip
SAMPLES[F.conv2d] = [
    call(real(1, 1, 3, 3), real(1, 1, 2, 2)), call(real(2, 1, 2, 3), real(2, 1, 2, 2), real(2)), call(real(1, 3, 3), real(1, 1, 2, 2)),
    call(real(1, 1, 3, 3), real(1, 1, 2, 2), None, (1, 2), (1, 0)), call(real(1, 2, 2, 2), real(2, 1, 1, 2), groups=2),
    call(real(1, 1, 3, 3), real(1, 1, 2, 2), padding="same"), call(real(2, 3, 9, 8), real(4, 3, 3, 3), real(4), padding=1),
    call(real(2, 4, 9, 8), real(6, 2, 3, 2), real(6), 2, 1, (1, 2), 2), call(real(1, 1, 4, 3), real(1, 1, 2, 1), stride=2, dilation=(1, 2)),
]  # fmt: skip
SAMPLES[F.conv3d] = [
    call(real(1, 1, 2, 2, 2), real(1, 1, 1, 2, 1)), call(real(1, 2, 2, 1, 1), real(1, 2, 1, 1, 1), real(1)),
    call(real(2, 2, 4, 5, 3), real(3, 2, 2, 3, 2), real(3), stride=(1, 2, 1), padding=1),
]  # fmt: skip
SAMPLES[F.conv_transpose1d] = [
    call(real(1, 2, 3), real(2, 1, 2)), call(real(2, 2, 3), real(2, 2, 2), real(2)), call(real(2, 3), real(2, 1, 2)),
    call(real(1, 1, 3), real(1, 1, 2), stride=2, output_padding=1), call(real(1, 1, 3), real(1, 1, 3), padding=1, dilation=2),
    call(real(1, 2, 3), real(2, 1, 2), groups=2), call(real(4, 3, 9), real(3, 5, 4), real(5), 3, 1, 2),
    call(real(1, 1, 3), real(1, 1, 2), None, 1, 0, 2, 1, 3),
]  # fmt: skip
SAMPLES[F.conv_transpose2d] = [
    call(real(1, 1, 2, 2), real(1, 1, 2, 2)), call(real(1, 2, 2, 1), real(2, 1, 1, 2), real(1)), call(real(2, 3, 5, 4), real(3, 2, 3, 3), real(2), 2, 1, 1),
]  # fmt: skip
SAMPLES[F.conv_transpose3d] = [
    call(real(1, 1, 2, 1, 2), real(1, 1, 1, 2, 1)), call(real(2, 2, 3, 2, 3), real(2, 3, 2, 2, 2), real(3), stride=2),
]  # fmt: skip
SAMPLES[torch.convolution] = [call(real(1, 1, 4), real(1, 1, 2), real(1), [1], [0], [1], False, [0], 1)]

# --- pools ---

SAMPLES[F.max_pool1d] = [
    call(real(1, 1, 6), 2), call(real(2, 5), 3, 1), call(real(1, 2, 6), kernel_size=2, stride=3, padding=1), call(real(1, 1, 5), 2, ceil_mode=True),
    call(real(1, 1, 6), 2, dilation=2), call(real(3, 4, 33), 3, 2), call(values(1.0, 1.0, 0.0, 0.0, shape=(1, 1, 4)), 2).kink("a tie"),
    call(values(1.0, NAN, 0.0, -INF, shape=(1, 1, 4)), 2).kink("not a number"), call(real(1, 1, 6), 2, return_indices=True),
]  # fmt: skip
SAMPLES[F.max_pool2d] = [
    call(real(1, 1, 4, 3), 2), call(real(1, 3, 4), (1, 2), stride=1), call(real(1, 1, 3, 4), 2, 1, 1), call(real(1, 1, 3, 3), 2, ceil_mode=True),
    call(real(3, 4, 9, 8), 3, 2, 1), call(real(1, 1, 4, 3), 2, return_indices=True), call(values(*[1.0] * 6, shape=(1, 1, 2, 3)), 2, 1).kink("a tie"),
]  # fmt: skip
SAMPLES[F.max_pool3d] = [
    call(real(1, 1, 2, 2, 3), (1, 2, 2)),
    call(real(2, 3, 5, 4, 6), 2, 2, 1),
    call(real(1, 2, 2, 3), 2, return_indices=True),
]
for n, shape in ((1, (1, 1, 6)), (2, (1, 1, 3, 4)), (3, (1, 1, 2, 2, 3))):
    SAMPLES[getattr(F, f"adaptive_max_pool{n}d")] = [
        call(real(*shape), 2), call(real(*shape[1:]), 1), call(real(*shape), output_size=2, return_indices=True), call(real(2, 3, *[7] * n), 3),
    ]  # fmt: skip
    SAMPLES[getattr(F, f"adaptive_avg_pool{n}d")] = [
        call(real(*shape), 2), call(real(*shape[1:]), 1), call(real(2, 3, *[7] * n), 3), call(real(2, 3, *[7] * n), 5), call(real(2, 3, *[5] * n), 7),
    ]  # fmt: skip
    SAMPLES[getattr(F, f"lp_pool{n}d")] = [
        call(real(*shape, **AWAY), 2, 2), call(real(*shape, **AWAY), 3.0, 2, 1), call(real(*shape, **AWAY), 1, kernel_size=2, ceil_mode=True),
        call(real(*shape), INF, 2), call(real(*shape, lo=-2.0, hi=-0.5), 2, 2), call(real(*shape), -INF, 2),
    ]  # fmt: skip
    SAMPLES[getattr(F, f"avg_pool{n}d")] = [
        call(real(*shape), 2), call(real(*shape[1:]), 2, 1), call(real(*shape), 2, padding=1), call(real(*shape), 2, 1, 1, True, False),
        call(real(*shape), kernel_size=2, ceil_mode=True), call(real(2, 3, *[9] * n), 3, 2, 1), call(real(2, 3, *[8] * n), 3, 2, 1, ceil_mode=True),
    ]  # fmt: skip
SAMPLES[F.avg_pool2d] += [
    call(real(1, 1, 3, 4), (2, 1), divisor_override=3),
    call(real(1, 1, 3, 4), 2, 1, 1, divisor_override=2),
]
SAMPLES[F.avg_pool3d] += [call(real(1, 1, 2, 2, 3), 2, 1, divisor_override=3)]
SAMPLES[F.fractional_max_pool2d] = [
    call(real(1, 1, 4, 3), 2, 2), call(real(2, 3, 9, 8), 2, output_ratio=(0.5, 0.6)), call(real(1, 1, 4, 3), 2, output_size=2, return_indices=True),
]  # fmt: skip
SAMPLES[F.fractional_max_pool3d] = [
    call(real(1, 1, 3, 2, 2), (2, 1, 1), 1),
    call(real(1, 2, 5, 4, 6), 2, output_size=2, return_indices=True),
]
PLACES = {1: ((1, 1, 2), (0, 3)), 2: ((1, 1, 2, 2), (1, 4, 8, 11)), 3: ((1, 1, 1, 1, 1), (3,))}
for n, (shape, places) in PLACES.items():
    SAMPLES[getattr(F, f"max_unpool{n}d")] = [
        call(real(*shape), fixed(*places, shape=shape), 2),
        call(real(*shape[1:]), fixed(*places, shape=shape[1:]), kernel_size=2, stride=2),
    ]

for n, shape in ((1, (1, 1, 6)), (2, (1, 1, 4, 3)), (3, (1, 1, 2, 2, 3))):
    SAMPLES[getattr(F, f"max_pool{n}d_with_indices")] = [call(real(*shape), 2), call(real(*shape), 2, stride=1)]
    SAMPLES[getattr(F, f"adaptive_max_pool{n}d_with_indices")] = [
        call(real(*shape), 2),
        call(real(*shape), output_size=1),
    ]
    if n > 1:
        SAMPLES[getattr(F, f"fractional_max_pool{n}d_with_indices")] = [
            call(real(1, 1, 4, *[2] * (n - 1)), (2, *[1] * (n - 1)), 1)
        ]

# --- interpolation ---

RESIZED = "torch adds the parts of a place in another order"
SAMPLES[F.interpolate] = [
    call(real(1, 1, 3), 5), call(real(1, 1, 2, 3), scale_factor=2), call(real(1, 1, 2, 3), size=(3, 2)), call(real(2, 3, 4, 5), scale_factor=(1.7, 0.6)),
    call(real(1, 1, 2, 2, 2), size=3), call(real(1, 1, 3), 5, mode="nearest-exact"), call(real(2, 3, 4, 5), 7, mode="nearest-exact"),
    call(real(1, 1, 5), 3, mode="area"), call(real(2, 3, 4, 5), scale_factor=1.5, mode="area"), call(real(1, 1, 2, 2, 2), 3, mode="area"),
    call(real(1, 1, 2, 3), scale_factor=1.7, recompute_scale_factor=True),
    *[
        c.inexact(RESIZED, rtol=32)
        for c in [
            call(real(1, 1, 3), 5, mode="linear"), call(real(1, 1, 3), 5, mode="linear", align_corners=True), call(real(2, 3, 9), scale_factor=0.7, mode="linear"),
            call(real(1, 1, 2, 3), (3, 5), mode="bilinear"), call(real(1, 1, 2, 3), scale_factor=1.5, mode="bilinear", align_corners=True),
            call(real(2, 3, 9, 8), scale_factor=(0.5, 1.7), mode="bilinear"), call(real(1, 1, 4, 3), 2, mode="bilinear", antialias=True),
            call(real(1, 1, 3, 3), 4, mode="bicubic"), call(real(2, 3, 9, 8), 5, mode="bicubic", antialias=True), call(real(2, 3, 5, 4), 7, mode="bicubic", align_corners=True),
            call(real(1, 1, 2, 2, 2), 3, mode="trilinear"), call(real(2, 3, 4, 5, 3), (5, 3, 4), mode="trilinear", align_corners=True),
        ]
    ],
]  # fmt: skip

# --- losses ---

PAIR = [
    call(real(2, 3), real(2, 3)), call(real(2, 3), real(2, 3), reduction="sum"), call(real(2, 3), real(2, 3), reduction="none"), call(real(), real()),
    call(real(33, 17), real(33, 17)), call(real(33, 17), const(33, 17), reduction="sum"), call(real(0, 3), real(0, 3), reduction="sum"),
    call(real(2, 3), const(2, 3), size_average=False), call(input=real(3), target=real(3)),
]  # fmt: skip
SAMPLES[F.mse_loss] = [
    *PAIR,
    call(real(2, 3), const(2, 3), weight=real(2, 3, **AWAY)),
    call(real(3), real(3), weight=const(3, **AWAY), reduction="sum"),
]
SAMPLES[F.l1_loss] = [
    *PAIR,
    call(real(2, 3), const(2, 3), weight=const(2, 3, **AWAY)),
    call(values(1.0, 2.0), values(1.0, 3.0)).kink("a corner"),
]
CORNERS = (
    call(values(0.5, 2.0, -1.0, 1.0, NAN), values(0.5, 1.0, 0.0, 1.5, 1.0), reduction="none")
    .kink("a corner")
    .torch_once("it loses the NaN")
)
SAMPLES[F.smooth_l1_loss] = [
    *PAIR,
    call(real(2, 3), real(2, 3), beta=0.3),
    call(real(64), real(64), beta=2.0),
    call(real(2, 3), real(2, 3), beta=0),
    CORNERS,
]
SAMPLES[F.huber_loss] = [
    *[c for c in PAIR if "size_average" not in c.kwargs], call(real(2, 3), real(2, 3), delta=0.3).inexact("torch rounds the last few elements apart", rtol=4), call(real(64), real(64), delta=2.0), CORNERS,
    call(real(2, 3), real(2, 3), weight=real(2, 3, **AWAY)),
]  # fmt: skip
INNER = {"lo": 0.05, "hi": 0.95}
SAMPLES[F.binary_cross_entropy] = [
    call(real(2, 3, **INNER), real(2, 3, **INNER)), call(real(2, 3, **INNER), const(2, 3, **INNER), reduction="sum"), call(real(33, 17, **INNER), const(33, 17, **INNER)),
    call(real(2, 3, **INNER), real(2, 3, **INNER), const(3, **AWAY)), call(real(3, **INNER), const(3, **INNER), reduction="none"),
    call(values(0.0, 1.0, 1.0), values(0.0, 1.0, 0.0)).kink("certain").torch_once("it differs at the poles"),
]  # fmt: skip
SAMPLES[F.binary_cross_entropy_with_logits] = [
    call(real(2, 3), real(2, 3, **INNER)), call(real(2, 3), const(2, 3, **INNER), reduction="sum"), call(real(33, 17), const(33, 17, **INNER)),
    call(real(2, 3), real(2, 3, **INNER), const(3, **AWAY)), call(real(3), const(3, **INNER), reduction="none"), call(real(2, 3), real(2, 3, **INNER), pos_weight=const(3, **AWAY)),
    call(real(2, 3), const(2, 3, **INNER), const(2, 3, **AWAY), pos_weight=const(3, **AWAY), reduction="sum"),
    call(values(0.0, 100.0, -100.0), values(0.0, 1.0, 1.0)).kink("saturated"),
]  # fmt: skip
SAMPLES[F.soft_margin_loss] = [
    call(real(2, 3), const(2, 3)),
    call(real(3), const(3), reduction="sum"),
    call(real(33, 17), const(33, 17), reduction="none"),
]
SAMPLES[F.kl_div] = [
    call(real(2, 3), real(2, 3, **AWAY), reduction="batchmean"), call(real(2, 3), real(2, 3, **AWAY), reduction="sum"), call(real(2, 3), real(2, 3), reduction="none", log_target=True),
    call(real(33, 17), const(33, 17, **AWAY), reduction="batchmean"), call(real(3), values(0.0, 0.5, 0.5), reduction="sum").kink("0 log 0"),
]  # fmt: skip
SAMPLES[F.poisson_nll_loss] = [
    call(real(2, 3), real(2, 3, **AWAY)), call(real(2, 3, **AWAY), real(2, 3, **AWAY), log_input=False), call(real(2, 3), real(2, 3, **AWAY), full=True, reduction="sum"),
    call(real(33, 17), const(33, 17, **AWAY), reduction="none"),
]  # fmt: skip
SAMPLES[F.gaussian_nll_loss] = [
    call(real(2, 3), real(2, 3), real(2, 3, **AWAY)), call(real(2, 3), real(2, 3), real(2, 1, **AWAY), full=True), call(real(2, 3), real(2, 3), real(2, **AWAY), reduction="sum"),
    call(real(2, 3), const(2, 3), 0.5), call(real(3), const(3), values(0.0, 1e-9, 1.0)).kink("too small a variance"),
]  # fmt: skip
SIDES = fixed(1, -1)
SAMPLES[F.cosine_embedding_loss] = [
    call(real(2, 3), real(2, 3), SIDES),
    call(real(2, 3), real(2, 3), SIDES, margin=0.5, reduction="sum"),
    call(real(3), real(3), fixed(1, shape=())),
]
SAMPLES[F.margin_ranking_loss] = [
    call(real(2), real(2), SIDES),
    call(real(3, 2), real(3, 2), const(3, 2), margin=0.3, reduction="none"),
    call(real(33, 17), real(33, 17), const(33, 17)),
]
SAMPLES[F.hinge_embedding_loss] = [
    call(real(2), SIDES),
    call(real(3, 2), fixed(*[1, -1] * 3, shape=(3, 2)), 0.5, reduction="sum"),
    call(real(33, 2), fixed(*[1, -1] * 33, shape=(33, 2)), reduction="none"),
]
TRIPLE = (real(2, 2), real(2, 2), real(2, 2))
SAMPLES[F.triplet_margin_loss] = [
    call(*TRIPLE),
    call(*TRIPLE, swap=True, margin=3.0),
    call(*TRIPLE, p=3, reduction="sum"),
    call(real(9, 7), real(9, 7), real(9, 7), reduction="none"),
]
SAMPLES[F.triplet_margin_with_distance_loss] = [
    call(*TRIPLE),
    call(*TRIPLE, swap=True, margin=3.0),
    call(*TRIPLE, distance_function=lambda x, y: ((x - y) ** 2).sum(-1)),
]
MARGINS = "torch counts the classes one by one"
SAMPLES[F.multi_margin_loss] = [
    c.inexact(MARGINS, rtol=16).torch_once("it has no rule")
    for c in [
        call(real(4, 3), ints(4, below=3)), call(real(3), ints(below=3)), call(real(4, 3), ints(4, below=3), p=2, margin=0.7), call(real(4, 3), ints(4, below=3), reduction="none"),
        call(real(4, 3), ints(4, below=3), weight=const(3, **AWAY), reduction="sum"),
    ]
]  # fmt: skip
LISTS = fixed(0, 2, -1, 1, -1, 0, shape=(2, 3))
SAMPLES[F.multilabel_margin_loss] = [
    c.inexact(MARGINS, rtol=16).torch_once("it has no rule")
    for c in [
        call(real(2, 3), LISTS),
        call(real(3), fixed(0, 2, -1)),
        call(real(2, 3), LISTS, reduction="none"),
        call(real(2, 3), LISTS, reduction="sum"),
    ]
]
SAMPLES[F.multilabel_soft_margin_loss] = [
    call(real(2, 3), real(2, 3, **INNER)), call(real(2, 3), const(2, 3, **INNER), const(3, **AWAY)), call(real(2, 3), const(2, 3, **INNER), reduction="none"),
]  # fmt: skip

# --- cross-entropy ---

SIGNS = "torch writes its gradient into zeros"
SAMPLES[F.nll_loss] = [
    call(real(4, 3), ints(4, below=3)), call(real(4, 3), ints(4, below=3), reduction="sum"), call(real(3), ints(below=3)), call(real(4, 3), ints(4, below=3), reduction="none").zeros(SIGNS),
    call(real(2, 3, 2), ints(2, 2, below=3)), call(real(32, 27), ints(32, below=27), const(27, **AWAY)).inexact("a sum of weights", rtol=4),
    call(real(4, 3), fixed(0, 2, 1, 1), const(3, **AWAY), ignore_index=1).zeros(SIGNS), call(real(4, 3), fixed(0, 2, 255, 1), ignore_index=255).zeros(SIGNS),
    call(real(4, 3), fixed(-100, -100, -100, -100)).kink("nothing counted").zeros(SIGNS),
]  # fmt: skip
SOFT = "the sum over the classes is rounded in torch's vector lanes"
SAMPLES[F.cross_entropy] = SIMPLE[F.cross_entropy] + [
    call(real(4, 3), ints(4, below=3), const(3, **AWAY)), call(real(4, 3), fixed(0, 2, 1, 1), const(3, **AWAY), ignore_index=1, reduction="sum"),
    call(real(4, 3), fixed(0, 2, 255, 1), ignore_index=255),
    *[
        c.inexact(SOFT, rtol=32)
        for c in [
            call(real(4, 3), ints(4, below=3), label_smoothing=0.1), call(real(4, 3), fixed(0, 2, 1, 1), const(3, **AWAY), label_smoothing=0.1, ignore_index=1),
            call(real(4, 3), ints(4, below=3), label_smoothing=0.3, reduction="none"), call(real(2, 3, 2), ints(2, 2, below=3), const(3, **AWAY), label_smoothing=0.1, reduction="sum"),
            call(real(2, 3), real(2, 3, **INNER)), call(real(2, 3), real(2, 3, **INNER), const(3, **AWAY), label_smoothing=0.2), call(real(3), const(3, **INNER)),
            call(real(2, 3, 2), const(2, 3, 2, **INNER), reduction="sum"), call(real(2, 3, 2), real(2, 3, 2, **INNER), const(3, **AWAY), reduction="none"),
        ]
    ],
]  # fmt: skip
if hasattr(F, "linear_cross_entropy"):  # new in torch 2.13
    SAMPLES[F.linear_cross_entropy] = [
        c.inexact(SOFT, rtol=32)
        for c in [
            call(real(2, 3), real(2, 3), ints(2, below=2)), call(real(3), real(2, 3), ints(below=2), linear_bias=real(2)), call(real(2, 2), real(3, 2, 2), ints(2, 2, below=3)),
            call(real(2, 3), real(2, 3), real(2, 2, **INNER), reduction="sum"), call(real(9, 7), real(5, 7), ints(9, below=5), weight=const(5, **AWAY), ignore_index=1),
        ]
    ]  # fmt: skip

# --- normalization ---

ORDER = "torch adds up the normalized values in another order"
SAMPLES[F.layer_norm] = [
    c.inexact(ORDER, rtol=64)
    for c in [
        call(real(2, 3), (3,)), call(real(2, 3), (3,), real(3), real(3)), call(real(2, 2, 3), [2, 3], real(2, 3)), call(real(4, 9, 33), (33,), real(33), real(33), 1e-3),
        call(real(2, 3), (3,), None, real(3)).torch_once("it misses the weight"), call(const(2, 3), (3,), real(3), real(3)), call(real(0, 3), (3,), real(3), real(3)),
    ]
]  # fmt: skip
SAMPLES[F.group_norm] = [
    c.inexact(ORDER, rtol=64)
    for c in [
        call(real(2, 4, 2), 2), call(real(1, 4, 2), 2, real(4), real(4)), call(real(2, 4), 1, real(4)), call(real(3, 6, 5, 4), 3, real(6), real(6), 1e-3), call(const(2, 4, 2), 4, real(4), real(4)),
    ]
]  # fmt: skip
SAMPLES[F.instance_norm] = [
    c.inexact(ORDER, rtol=64)
    for c in [
        call(real(2, 2, 3)), call(real(1, 2, 3), None, None, real(2), real(2)), call(real(3, 4, 5, 6), None, None, real(4), real(4), eps=1e-3),
        call(real(2, 2, 3), const(2), const(2, **AWAY), real(2), real(2), False), call(real(2, 2, 3), const(2), const(2, **AWAY), momentum=0.3),
    ]
]  # fmt: skip
SAMPLES[F.rms_norm] = [
    call(real(2, 3), (3,)),
    call(real(2, 3), (3,), real(3)),
    call(real(2, 2, 3), [2, 3], real(2, 3), 1e-3),
    call(real(4, 9, 33), (33,), real(33)),
]
SAMPLES[F.local_response_norm] = [
    call(real(1, 3, 4), 2),
    call(real(2, 3, 2, 1), 3, 0.1, 0.5, 2.0),
    call(real(3, 7, 5, 4), 5),
]

# --- dropout ---

for function in (F.dropout2d, F.dropout3d, F.dropout1d):
    shape = {"dropout1d": (2, 3, 2), "dropout2d": (2, 3, 1, 2), "dropout3d": (2, 3, 1, 2, 1)}[function.__name__]
    SAMPLES[function] = [
        call(real(*shape)),
        call(real(*shape), 0.2),
        call(real(*shape), p=0.5, training=False),
        call(real(*shape), 1.0),
        call(real(*shape), 0.0),
    ]
SAMPLES[F.dropout3d] += [call(real(3, 1, 2, 1))]
SAMPLES[F.dropout1d] += [call(real(3, 2))]
for function in (F.alpha_dropout, F.feature_alpha_dropout):
    SAMPLES[function] = [
        call(real(3, 2), 0.3, True),
        call(real(3, 2, 2), training=True),
        call(real(3, 2)),
        call(real(3, 2), 1.0, True),
        call(real(0, 3), 0.5, True),
    ]
for function in (torch.feature_dropout, torch.alpha_dropout, torch.feature_alpha_dropout):
    SAMPLES[function] = [call(real(3, 2, 2), 0.4, True), call(real(3, 2), 0.4, False)]

# --- attention ---

BLOCKS = "torch works in blocks"
HEADS = (real(1, 2, 2, 1), real(1, 2, 3, 1), real(1, 2, 3, 1))
SAMPLES[F.scaled_dot_product_attention] = [
    call(real(2, 2), real(2, 2), real(2, 2)),
    call(real(2, 2), real(3, 2), real(3, 2)), call(real(2, 3, 2), real(2, 3, 2), real(2, 3, 1), is_causal=True), call(real(3, 2), real(3, 2), real(3, 2), mask(3, 3)),
    call(real(2, 2), real(3, 2), real(3, 2), real(2, 3)), call(real(2, 2), real(3, 2), real(3, 2), None, 0.4), call(real(3, 2), real(3, 2), real(3, 1), dropout_p=0.5, is_causal=True),
    call(real(2, 2), real(3, 2), real(3, 2), scale=-0.3),
    *[
        c.inexact(BLOCKS, rtol=64).torch_once("it has no rule")
        for c in [
            call(*HEADS), call(*HEADS, is_causal=True), call(*HEADS, mask(2, 3)), call(*HEADS, const(2, 3), scale=0.7), call(real(2, 4, 9, 8), real(2, 4, 9, 8), real(2, 4, 9, 8), is_causal=True),
            call(real(1, 4, 3, 2), real(1, 2, 3, 2), real(1, 2, 3, 2), enable_gqa=True), call(real(2, 1, 65, 16), real(2, 1, 65, 16), const(2, 1, 65, 16)),
            call(*HEADS, fixed(True, False, True, False, False, False, shape=(2, 3))),
        ]
    ],
]  # fmt: skip

# --- norms of weights ---

SAMPLES[torch.norm_except_dim] = [
    call(real(2, 3)), call(real(2, 3, 2), dim=1), call(real(3, 2), 2, 1), call(real(3, 2), 1, 0), call(real(2, 3), dim=-1), call(real(4)),
]  # fmt: skip
SAMPLES[torch._weight_norm] = [
    c.inexact("torch has one kernel for it", rtol=16).torch_once("torch's second gradient fails its own gradgradcheck")
    for c in (
        call(real(2, 3), real(2, 1)), call(real(2, 3), real(1, 3), 1), call(real(2, 3, 2), real(1, 3, 1), 1), call(real(2, 3), real(), -1),
    )
]  # fmt: skip
