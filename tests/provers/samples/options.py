"""Sample calls over the whole range of options, where the other samples have the usual ones.

``GRIDS[function]`` is a list of calls: negative alphas, beta 0, norms of every order, corrections beyond the number of
elements, every reduction.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tests.provers.samples.calls import Call, Spec, const, ints, mask, real, values

INF = math.inf


def options(*args: Any, **grid: Any) -> list[Call]:
    """A call for each combination of options, each of which is given as a list."""
    return [Call(args, dict(zip(grid, chosen, strict=True))) for chosen in itertools.product(*grid.values())]


LINE = values(-3.0, -1.5, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 1.5, 3.0)
FAR = values(-300.0, -30.0, -3.0, -0.3, 0.3, 3.0, 30.0, 300.0)
TWICE = values(1.0, 1.0, 2.0, -3.0, 2.0, 0.0, shape=(2, 3))  # ties
REDUCTION = ["none", "mean", "sum"]
ORDERS = [0, 0.5, 1, 1.5, 2, 2.5, 3, INF, -INF, -1, -2]
AWAY = {"lo": 0.5, "hi": 2.0}
UNIT = {"lo": 0.05, "hi": 0.95}

GRIDS: dict[Callable[..., Any], list[Call]] = {
    # activations
    F.celu: [c for x in (LINE, FAR) for c in options(x, alpha=[-3.0, -1.0, -0.3, 0.01, 0.5, 1, 3.0, 100.0])],
    F.elu: [c for x in (LINE, FAR) for c in options(x, alpha=[-3.0, -1, 0.0, 0.5, 2.0])],
    torch._C._nn.elu: options(LINE, alpha=[-1.0, 0.0, 2.0], scale=[-1.0, 0.0, 1.0, 1.5]),
    F.softplus: [c for x in (LINE, FAR) for c in options(x, beta=[-2.0, -1, 0.5, 1, 3], threshold=[-INF, -1.0, 0, 1, 20, INF])],
    F.leaky_relu: options(LINE, negative_slope=[-1.0, 0.0, 1, 3.0, INF]),
    F.rrelu: options(LINE, lower=[-1.0, 0.0, 0.5], upper=[0.5, 1.0], training=[True, False]),
    F.threshold: options(LINE, threshold=[-INF, -1.0, 0, 0.5, INF], value=[-1.0, 0, INF]),
    F.hardtanh: options(LINE, min_val=[-INF, -1.0, 0.0, 0.5], max_val=[0.5, 1, INF]),
    F.hardshrink: options(LINE, lambd=[-0.5, 0.0, 0.5, 1, INF]),
    F.softshrink: options(LINE, lambd=[0.0, 0.5, 1, INF]),
    F.gelu: options(LINE, approximate=["none", "tanh"]),
    F.glu: options(real(4, 6, 2), dim=[0, 1, 2, -1]),
    F.prelu: [Call((LINE, values(w))) for w in (-1.0, 0.0, 1.0, 2.0)],
    F.logsigmoid: [Call((FAR,))],
    F.silu: [Call((FAR,))],
    F.mish: [Call((FAR,))],
    torch.tanh: [Call((FAR,))],
    F.relu: [Call((LINE,)), Call((real(70, 70),))],
    # arithmetic
    torch.pow: [Call((x, p)) for x in (LINE, FAR, real(4, **AWAY)) for p in (-2, -1, -0.5, 0, 0.0, 0.5, 1, 2, 2.0, 3, True)]
    + [Call((LINE, p)) for p in (INF, -INF)] + [Call((b, LINE)) for b in (0, 0.0, 1, 2, -1.0, 0.5)],
    torch.div: options(real(4, **AWAY), real(4, **AWAY), rounding_mode=[None, "floor", "trunc"]) + [Call((LINE, n)) for n in (2, -0.5, INF, True)],
    torch.mul: [Call((LINE, n)) for n in (0, -1, 2.5, True)],
    torch.add: options(real(2, 3), real(3), alpha=[-1, 0, 2, 0.5]),
    torch.sub: options(real(2, 3), real(3), alpha=[-1, 0, 2, 0.5]),
    torch.addcdiv: options(real(3), real(2, 3), real(3, **AWAY), value=[-1, 0, 0.3, 2]),
    torch.addcmul: options(real(3), real(2, 3), real(3), value=[-1, 0, 0.3, 2]),
    torch.lerp: [Call((real(3), real(3), w)) for w in (-1.0, 0.0, 0.3, 0.5, 0.7, 1, 2)],
    torch.clamp: [Call((LINE, lo, hi)) for lo in (None, -INF, -1.0, 0.5, 2) for hi in (None, -1, 0.5, INF) if (lo, hi) != (None, None)],
    torch.masked_fill: [Call((real(2, 3), mask(2, 3), v)) for v in (0, -1.5, INF, True, real())],
    torch.logit: options(real(5, **UNIT), eps=[None, 0.0, 0.1, 0.5]),
    torch.round: options(LINE, decimals=[-1, 0, 1]),
    torch.nan_to_num: options(LINE, nan=[None, 1.0], posinf=[None, 2.0], neginf=[None, -2.0]),
    # reductions
    **dict.fromkeys((torch.var, torch.std, torch.var_mean, torch.std_mean), [c for x in (real(2, 3), TWICE, real(2, 1)) for c in options(x, [1], correction=[0, 1, 2, 2.5, 3, 4, 5], keepdim=[True, False])]
    + options(real(2, 3), None, correction=[0, 5, 6, 7, 8]) + options(real(), correction=[0, 1, 2]) + options(real(2, 3), dim=[[], [0, 1], 0], unbiased=[True, False])),
    torch.mean: options(real(2, 3, 2), dim=[None, [], (), 0, -1, (0, 2), (0, 1, 2)], keepdim=[False, True]),
    torch.sum: options(real(2, 3, 2), dim=[None, [], (), 0, -1, (0, 2), (0, 1, 2)], keepdim=[False, True]),
    torch.nansum: options(real(2, 3, 2), dim=[None, [], 0, (0, 2)], keepdim=[False, True]),
    torch.prod: [c for x in (real(2, 3), TWICE, values(*[0.0, 2.0, 0.0, 1.0, 0.0, 3.0], shape=(2, 3)), real(2, 1)) for c in options(x, dim=[0, 1, -1], keepdim=[False, True])]
    + [Call((x,)) for x in (TWICE, values(0.0, 0.0, 3.0), values(0.0, 2.0), values(0.0), values(2.0), real())],
    torch.cumprod: options(TWICE, dim=[0, 1, -1]) + options(values(0.0, 2.0, 0.0, 3.0), dim=[0]) + options(real(), dim=[0, -1]),
    torch.cumsum: options(real(2, 3), dim=[0, 1, -1]),
    torch.logcumsumexp: options(TWICE, dim=[0, 1, -1]),
    torch.logsumexp: options(TWICE, dim=[[], 0, (0, 1)], keepdim=[False, True]),
    torch.amax: options(TWICE, dim=[(), 0, (0, 1)], keepdim=[False, True]),
    torch.max: [Call((TWICE,)), *options(TWICE, dim=[0, 1], keepdim=[False, True])],
    torch.median: [Call((TWICE,)), *options(TWICE, dim=[0, 1], keepdim=[False, True])],
    torch.linalg.vector_norm: [c for x in (real(2, 3), TWICE, values(0.0, 0.0)) for c in options(x, ord=ORDERS, dim=[None, -1], keepdim=[False, True])],
    torch.linalg.matrix_norm: options(real(2, 3, 4), ord=["fro", "nuc", 1, -1, 2, -2, INF, -INF], dim=[(-2, -1), (0, 1), (2, 0)], keepdim=[False, True]),
    torch.norm: options(real(2, 3), p=[*ORDERS, "fro", "nuc"]) + options(real(2, 3), p=ORDERS, dim=[0, (0, 1)], keepdim=[False, True]),
    torch.dist: options(real(2, 3), real(2, 3), p=ORDERS) + options(TWICE, TWICE, p=[0, 0.5, 1, 2, 3, INF]),
    torch.renorm: options(real(2, 3), p=[0.5, 1, 1.5, 2, 3, INF], dim=[0, 1], maxnorm=[0.0, 0.5, 100.0]),
    F.normalize: options(real(2, 3), p=[0.5, 1, 2, 3, INF], dim=[0, 1], eps=[0.0, 1e-12, 10.0]),
    torch.cdist: options(real(3, 2), real(2, 2), p=[0.0, 0.5, 1.0, 1.5, 2.0, 3.0, INF]) + options(TWICE, TWICE, p=[0.0, 0.5, 1.0, 1.5, 2.0, 3.0, INF]),
    F.pdist: options(real(4, 3), p=[0.0, 0.5, 1.0, 1.5, 2.0, 3.0, INF]) + options(values(*[1.0] * 6, shape=(3, 2)), p=[0.0, 0.5, 1.0, 1.5, 2.0, 3.0, INF]),
    F.pairwise_distance: options(real(2, 3), real(2, 3), p=ORDERS, keepdim=[False, True]),
    F.cosine_similarity: options(real(2, 3), real(2, 3), dim=[0, 1, -1], eps=[0.0, 1e-8, 10.0]),
    torch.quantile: options(real(3, 5), q=[0.0, 0.3, 0.5, 1.0], dim=[None, 0, 1], interpolation=["linear", "lower", "higher", "midpoint", "nearest"]),
    torch.cov: options(real(2, 4), correction=[0, 1, 2, 3]),
    # products and layers
    torch.addmm: options(real(2, 2), real(2, 3), real(3, 2), beta=[-1, 0, 0.5, 1], alpha=[-1, 0, 1, 2.5]),
    torch.addmv: options(real(2), real(2, 3), real(3), beta=[-1, 0, 0.5], alpha=[-1, 0, 2.5]),
    torch.addr: options(real(2, 3), real(2), real(3), beta=[-1, 0, 0.5], alpha=[-1, 0, 2.5]),
    torch.baddbmm: options(real(2, 2, 2), real(2, 2, 1), real(2, 1, 2), beta=[-1, 0, 0.5], alpha=[-1, 0, 2.5]),
    torch.addbmm: options(real(2, 2), real(2, 2, 1), real(2, 1, 2), beta=[-1, 0, 0.5], alpha=[-1, 0, 2.5]),
    F.bilinear: [Call((real(2, 3), real(2, 2), real(4, 3, 2), b)) for b in (None, real(4))],
    F.conv1d: [c for g in (1, 2) for b in (None, real(4)) for c in options(real(2, 4, 9), real(4, 4 // g, 3), b, stride=[1, 2, 3], padding=[0, 1, 2], dilation=[1, 2], groups=[g])],
    F.conv2d: [c for g in (1, 2) for c in options(real(1, 2, 5, 6), real(2, 2 // g, 2, 3), real(2), stride=[1, (2, 1)], padding=[0, (1, 2)], dilation=[1, (1, 2)], groups=[g])],
    F.conv3d: options(real(1, 1, 3, 4, 3), real(2, 1, 2, 2, 1), stride=[1, 2], padding=[0, 1], dilation=[1, 2]),
    F.conv_transpose1d: [c for g in (1, 2) for b in (None, real(2 * g)) for c in options(real(2, 4, 5), real(4, 2, 3), b, stride=[2, 3], padding=[0, 1], output_padding=[0, 1], groups=[g], dilation=[1, 2])],
    F.conv_transpose2d: options(real(1, 2, 3, 3), real(2, 1, 2, 2), stride=[2, (3, 2)], padding=[0, (0, 1)], output_padding=[0, (1, 0)], dilation=[1, 2]),
    F.layer_norm: [Call((real(2, 3, 4), shape, w, b, eps)) for shape in ([4], [3, 4]) for w in (None, real(*shape)) for b in (None, real(*shape)) for eps in (1e-12, 1e-5, 1.0)],
    F.group_norm: [Call((real(2, 4, 3), n, w, b, eps)) for n in (1, 2, 4) for w in (None, real(4)) for b in (None, real(4)) for eps in (1e-12, 1e-5, 1.0)],
    F.batch_norm: [Call((real(3, 2, 2), const(2), const(2, **AWAY), w, b, t, 0.1, eps)) for w in (None, real(2)) for b in (None, real(2)) for t in (True, False) for eps in (1e-12, 1.0)],
    F.rms_norm: [Call((real(2, 3), [3], w, eps)) for w in (None, real(3)) for eps in (None, 0.0, 1.0)],
    F.local_response_norm: options(real(2, 5, 3), size=[1, 2, 3], alpha=[-0.1, 0.0, 1.0], beta=[-1.0, 0.0, 0.75], k=[0.5, 2.0]),
    F.avg_pool2d: options(real(1, 2, 5, 6), kernel_size=[2, (3, 2)], stride=[None, 1, (1, 2)], padding=[0, 1], ceil_mode=[False, True], count_include_pad=[True, False], divisor_override=[None, 3, -1]),
    F.max_pool2d: options(real(1, 2, 6, 7), kernel_size=[2, (3, 2)], stride=[None, 1], padding=[0, 1], dilation=[1, 2], ceil_mode=[False, True]),
    F.lp_pool2d: options(real(1, 1, 4, 4, **AWAY), norm_type=[1, 1.5, 2, 3.0, INF], kernel_size=[2], stride=[None, 1]),
    F.interpolate: [c for m in ("bilinear", "bicubic") for c in options(real(1, 1, 3, 4), size=[2, (5, 3)], mode=[m], align_corners=[False, True], antialias=[False, True])],
    # indices
    torch.select: [Call((real(2, 3), d, i)) for d in (0, -1) for i in (0, 1, -1)],
    torch.narrow: [Call((real(2, 3), d, s, n)) for d in (1, -1) for s in (0, 1, -2) for n in (0, 1, 2)],
    torch.gather: [Call((real(3, 4), d, ints(2, 2, below=3))) for d in (0, 1, -1)] + options(real(3, 4), 0, ints(2, 2, below=3), sparse_grad=[False]),
    torch.embedding: [Call((real(3, 2), ints(4, below=3), -1, scaled, False)) for scaled in (False, True)],
    torch.index_select: [Call((real(3, 4), d, ints(5, below=3))) for d in (0, 1, -2)],
    # matrices
    torch.linalg.solve: [Call((real(3, 3), real(3, n)), {"left": True}) for n in (1, 2)] + [Call((real(3, 3), real(n, 3)), {"left": False}) for n in (1, 2)],
    torch.linalg.solve_ex: options(real(3, 3), real(3, 2), left=[True], check_errors=[False, True]) + options(real(3, 3), real(2, 3), left=[False], check_errors=[False, True]),
    torch.linalg.inv_ex: options(real(3, 3), check_errors=[False, True]),
    torch.linalg.det: [Call((real(n, n),)) for n in (0, 1, 2, 3, 4)] + [Call((real(2, 3, 3),)), Call((real(2, 2, 3, 3),))],
    torch.linalg.slogdet: [Call((real(n, n),)) for n in (0, 1, 2, 3)],
    torch.linalg.eigvalsh: [Call((values(2.0, 0.5, 0.5, 1.0, shape=(2, 2)), UPLO)) for UPLO in ("L", "U")],
    torch.linalg.svdvals: options(real(3, 2)) + options(real(2, 3)),
    torch.linalg.matrix_power: [Call((real(2, 2), n)) for n in range(-4, 5)],
    # losses
    F.cross_entropy: [c for w in (None, const(3, **AWAY)) for c in options(real(4, 3), ints(4, below=3), w, ignore_index=[-100, 0, 2], reduction=REDUCTION, label_smoothing=[0.0, 0.3, 1.0])]
    + [c for w in (None, const(3, **AWAY)) for c in options(real(4, 3), real(4, 3, **UNIT), w, reduction=REDUCTION, label_smoothing=[0.0, 0.3])],
    F.nll_loss: [c for w in (None, const(3, **AWAY)) for c in options(real(4, 3), ints(4, below=3), w, ignore_index=[-100, 0], reduction=REDUCTION)],
    F.mse_loss: options(real(2, 3), real(2, 3), reduction=REDUCTION) + options(real(2, 3), const(2, 3), reduction=REDUCTION, weight=[const(2, 3, **AWAY)]),
    F.l1_loss: options(TWICE, real(2, 3), reduction=REDUCTION),
    F.smooth_l1_loss: options(real(2, 3), real(2, 3), reduction=REDUCTION, beta=[0, 0.0, 0.3, 1, INF]),
    F.huber_loss: options(real(2, 3), real(2, 3), reduction=REDUCTION, delta=[0.3, 1, 100.0, INF]),
    F.binary_cross_entropy: [c for w in (None, const(3, **AWAY)) for c in options(real(2, 3, **UNIT), real(2, 3, **UNIT), w, reduction=REDUCTION)],
    F.binary_cross_entropy_with_logits: [c for w in (None, const(3, **AWAY)) for c in options(real(2, 3), real(2, 3, **UNIT), w, reduction=REDUCTION, pos_weight=[None, const(3, **AWAY)])],
    F.soft_margin_loss: options(real(2, 3), const(2, 3), reduction=REDUCTION),
    F.kl_div: options(real(2, 3), real(2, 3, **UNIT), reduction=[*REDUCTION, "batchmean"], log_target=[False, True]),
    F.poisson_nll_loss: options(real(2, 3, **AWAY), real(2, 3, **AWAY), reduction=REDUCTION, log_input=[False, True], full=[False, True], eps=[1e-8, 1.0]),
    F.gaussian_nll_loss: options(real(2, 3), real(2, 3), real(2, 3, **AWAY), reduction=REDUCTION, full=[False, True], eps=[1e-6, 1.0]),
    F.hinge_embedding_loss: options(real(2, 3), const(2, 3), reduction=REDUCTION, margin=[-1.0, 0.0, 1, 3.0]),
    F.margin_ranking_loss: options(real(4), real(4), const(4), reduction=REDUCTION, margin=[-1.0, 0.0, 1]),
    F.cosine_embedding_loss: options(real(4, 3), real(4, 3), Spec((4,), "int", given=(1, -1, 1, -1)), reduction=REDUCTION, margin=[-1.0, -0.5, 0.0, 0.5, 1]),
    F.triplet_margin_loss: options(real(4, 3), real(4, 3), real(4, 3), reduction=REDUCTION, margin=[0.1, 1, 5], p=[0.5, 1, 2, 3, INF], swap=[False, True]),
    F.multi_margin_loss: [c for w in (None, const(3, **AWAY)) for c in options(real(4, 3), ints(4, below=3), weight=[w], p=[1, 2], margin=[-1.0, 0.0, 1.0, 3.0], reduction=REDUCTION)],
    F.multilabel_margin_loss: options(real(2, 3), Spec((2, 3), "int", given=(0, 2, -1, 1, -1, 0)), reduction=REDUCTION),
    F.multilabel_soft_margin_loss: [c for w in (None, const(3, **AWAY)) for c in options(real(2, 3), const(2, 3), weight=[w], reduction=REDUCTION)],
}  # fmt: skip
