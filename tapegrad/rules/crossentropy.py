"""Rules of cross-entropy: one op for the whole of it, its gradient derived by hand as in the lecture's exercise 2."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import rule


def class_dim(input: Any) -> int:
    """The dimension of the classes: (C), (N, C) or (N, C, d1, d2, ...)."""
    return 1 if input.ndim > 1 else 0


def onehot(target: torch.Tensor, ignore_index: int, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    """1 at each target's class, 0 elsewhere, in the shape of the scores."""
    dim = 1 if len(shape) > 1 else 0
    index = target.masked_fill(target == ignore_index, 0).unsqueeze(dim)  # ignore_index need not be a valid class
    zeros = torch.zeros(shape, dtype=dtype, device=target.device)
    return zeros.scatter_(dim, index, 1.0) if shape[dim] else zeros


def weight_of_targets(target: torch.Tensor, weight: Any, ignore_index: int) -> Any:
    """How much each target counts."""
    ignored = target == ignore_index
    return ~ignored if weight is None else weight[target.masked_fill(ignored, 0)].masked_fill(ignored, 0.0)


def per_target(g: Any, target: torch.Tensor, weight: Any, ignore_index: int, reduction: str) -> Any:
    """The loss's gradient with respect to each target's own loss, with a dimension for the classes."""
    w = weight_of_targets(target, weight, ignore_index)
    g = g / w.sum() if reduction == "mean" else g
    g = g.expand(target.shape) if weight is None else g * w
    return g.masked_fill(target == ignore_index, 0.0).unsqueeze(1 if target.ndim else 0)


# With p = softmax(x), the loss -log p[y] has the gradient p - onehot(y): what was predicted less what is true. A weight
# for each class multiplies the losses of its targets; the mean divides by the weights of those that count.
@rule(
    aux=["logprobs"],
    input=lambda g, input, target, weight, ignore_index, reduction: (
        per_target(g, target, weight, ignore_index, reduction)
        * (F.softmax(input, class_dim(input)) - onehot(target, ignore_index, input.shape, input.dtype))
    ),
)
def cross_entropy(input: Any, target: Any, weight: Any, ignore_index: Any, reduction: Any) -> Any:
    """Cross-entropy of scores against class indices."""
    logprobs = F.log_softmax(input, class_dim(input))
    return F.nll_loss(logprobs, target, weight, ignore_index=ignore_index, reduction=reduction), logprobs


# The second half alone: -log p[y], given log p.
nll_loss = rule(
    F.nll_loss,
    "input, target, weight=None, *, ignore_index=-100, reduction='mean'",
    # Chosen, not multiplied by 0: a mean of no weight, which is NaN, stays with the targets.
    input=lambda g, input_shape, target, weight, ignore_index, reduction: torch.where(
        onehot(target, ignore_index, input_shape, torch.bool),
        -per_target(g, target, weight, ignore_index, reduction),
        0.0,
    ),
)
