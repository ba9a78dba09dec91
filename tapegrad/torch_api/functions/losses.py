"""Losses, with torch's spellings of the reduction."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.rules import losses
from tapegrad.rules.norms import at_least
from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.functions.spellings import reduced, reduction_of

# --- differences ---


def difference(input: Any, target: Any) -> Any:
    """``input - target``; both are spread first, as in torch, so that a 0-d tensor's dtype counts in full."""
    if input.dtype != target.dtype:
        input, target = torch.broadcast_tensors(input, target)
    return input - target


def weighted_loss(loss: Any, input: Any, weight: Any, reduction: str) -> Any:
    """Losses times their weights; a mean divides by the sum of the weights."""
    if weight.shape != input.shape:
        raise ValueError("Weights and input must have the same size.")
    return reduced(loss * weight, "sum") / weight.sum() if reduction == "mean" else reduced(loss * weight, reduction)


@composition(F.mse_loss)
def mse_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    reduction = reduction_of(reduction, size_average, reduce)
    if weight is None:
        return losses.mse_loss(input, target, reduction=reduction)
    return weighted_loss(difference(input, target) ** 2, input, weight, reduction)


def forgotten_weight() -> Any:
    """The weight that torch 2.13's F.l1_loss was given and does not hand on to ``__torch_function__``.

    No argument holds it, and the types that torch passes list each type once, so that a weight of the target's type
    leaves no trace. Only torch's frame still has it. Without it the loss would silently be the unweighted one. Of the
    functions in torch.nn.functional no other forgets an argument.
    """
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not F.l1_loss.__code__:
        frame = frame.f_back  # type: ignore[assignment]  # None ends the search
    return None if frame is None else frame.f_locals.get("weight")


@composition(F.l1_loss)
def l1_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    reduction = reduction_of(reduction, size_average, reduce)
    weight = forgotten_weight() if weight is None else weight
    loss = difference(input, target).abs()
    return reduced(loss, reduction) if weight is None else weighted_loss(loss, input, weight, reduction)


@composition(F.smooth_l1_loss)
def smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Any:
    reduction = reduction_of(reduction, size_average, reduce)
    if beta == 0:
        return reduced(difference(input, target).abs(), reduction)
    return losses.smooth_l1_loss(input, target, reduction=reduction, beta=beta)


@composition(F.huber_loss)
def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    if weight is None:
        return losses.huber_loss(input, target, reduction=reduction, delta=delta)
    if weight.shape != input.shape:
        raise ValueError("Weights and input must have the same size.")
    return reduced(losses.huber_loss(input, target, reduction="none", delta=delta) * weight, reduction)


# --- two classes ---


@composition(F.binary_cross_entropy)
def binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    return losses.binary_cross_entropy(input, target, weight, reduction=reduction_of(reduction, size_average, reduce))


@composition(F.binary_cross_entropy_with_logits)
def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    reduction = reduction_of(reduction, size_average, reduce)
    return losses.binary_cross_entropy_with_logits(input, target, weight, reduction=reduction, pos_weight=pos_weight)


@composition(F.soft_margin_loss)
def soft_margin_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Any:
    return losses.soft_margin_loss(input, target, reduction=reduction_of(reduction, size_average, reduce))


# --- distributions ---


@composition(F.kl_div)
def kl_div(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Any:
    if log_target:
        ahead = target - input
        loss = target.exp() * ahead
    else:
        cross = target * input  # first, as in torch: gradients are summed in this order
        loss = torch.xlogy(target, target) - cross
    by_batch = reduction == "batchmean"  # as torch, also beside the former flags
    loss = reduced(loss, reduction_of("sum" if by_batch else reduction, size_average, reduce))
    return loss / input.shape[0] if by_batch and input.ndim and input.shape[0] else loss


@composition(F.poisson_nll_loss)
def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: Any = None,
    eps: float = 1e-8,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        tail = 0.5 * (2 * math.pi * target).log()
        stirling = target * target.log() - target + tail
        loss = loss + stirling.masked_fill(target <= 1, 0)
    return reduced(loss, reduction_of(reduction, size_average, reduce))


@composition(F.gaussian_nll_loss)
def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    if isinstance(var, int):
        raise TypeError("gaussian_nll_loss(): var must be a tensor or a float, not int")  # torch refuses it, too
    if isinstance(var, float):
        var = torch.full_like(input, var)
    if (var < 0).any():
        raise ValueError("var has negative entry/entries")
    if var.shape != input.shape and var.shape == input.shape[:-1]:
        var = var.unsqueeze(-1)
    differing = [n for m, n in zip(input.shape, var.shape, strict=False) if m != n]
    if var.ndim != input.ndim or (differing and sum(differing) != 1):
        raise ValueError("var is of incorrect size")
    var = at_least(var, eps)
    loss = 0.5 * (var.log() + (input - target) ** 2 / var)
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)
