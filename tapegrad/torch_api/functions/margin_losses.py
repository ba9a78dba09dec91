"""Losses that demand a margin: between two embeddings, or between the scores of two classes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import TABLE, composition
from tapegrad.rules import losses
from tapegrad.torch_api.functions.spellings import reduced, reduction_of

# --- of embeddings ---


@composition(F.cosine_embedding_loss)
def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    dim = target.ndim
    product = (input1 * input2).sum(dim)
    square1, square2 = (input1 * input1).sum(dim) + losses.EPSILON, (input2 * input2).sum(dim) + losses.EPSILON
    cosine = product / (square1 * square2).sqrt()
    alike = torch.where(target == 1, 1 - cosine, 0.0)
    unlike = torch.where(target == -1, (cosine - margin).clamp(min=0), 0.0)
    return reduced(alike + unlike, reduction_of(reduction, size_average, reduce))


@composition(F.margin_ranking_loss)
def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError("margin_ranking_loss(): all tensors should have the same number of dimensions")
    loss = (-target * (input1 - input2) + margin).clamp(min=0)
    return reduced(loss, reduction_of(reduction, size_average, reduce))


@composition(F.hinge_embedding_loss)
def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    loss = torch.where(target != 1, (margin - input).clamp(min=0), 0.0) + torch.where(target != -1, input, 0.0)
    return reduced(loss, reduction_of(reduction, size_average, reduce))


@composition(F.triplet_margin_with_distance_loss)
def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Any = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    distance = distance_function or F.pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    far = torch.minimum(far, distance(positive, negative)) if swap else far
    return reduced((margin + near - far).clamp(min=0), reduction)


@composition(F.triplet_margin_loss)
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    return triplet_margin_with_distance_loss(
        anchor,
        positive,
        negative,
        distance_function=lambda x, y: F.pairwise_distance(x, y, p, eps),
        margin=margin,
        swap=swap,
        reduction=reduction_of(reduction, size_average, reduce),
    )


# --- of scores ---


@composition(F.multi_margin_loss)
def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    reduction = reduction_of(reduction, size_average, reduce)
    return losses.multi_margin_loss(input, target, p, margin, weight, reduction=reduction)


@composition(F.multilabel_margin_loss)
def multilabel_margin_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Any:
    """Each row of ``target`` lists classes, up to a -1."""
    reduction = reduction_of(reduction, size_average, reduce)
    if input.ndim == 0:
        return multilabel_margin_loss(input.view(1), target.view(1), reduction=reduction)
    given = (target < 0).cumsum(-1) == 0
    index = torch.where(given, target, 0)
    classes = torch.arange(input.shape[-1], device=input.device)
    wanted = ((index.unsqueeze(-1) == classes) & given.unsqueeze(-1)).any(-2)
    short = 1 - input.gather(-1, index).unsqueeze(-1) + input.unsqueeze(-2)
    counts = given.unsqueeze(-1) & ~wanted.unsqueeze(-2) & (short > 0)  # neither a tie nor NaN does, as in torch
    loss = torch.where(counts, short, 0.0).sum((-2, -1)) / input.shape[-1]
    return reduced(loss, reduction)


@composition(F.multilabel_soft_margin_loss)
def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    loss = -(target * F.logsigmoid(input) + (1 - target) * F.logsigmoid(-input))
    loss = loss if weight is None else loss * weight
    return reduced(loss.sum(-1) / input.shape[-1], reduction_of(reduction, size_average, reduce))


# torch.<name> takes the reduction as a number, and in another position, than F.<name>.
for _name in """
    binary_cross_entropy_with_logits cosine_embedding_loss hinge_embedding_loss kl_div margin_ranking_loss
    poisson_nll_loss triplet_margin_loss
""".split():
    del TABLE[getattr(torch, _name)]
