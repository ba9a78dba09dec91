"""Rules of losses other than cross-entropy, which is in ``nn.py``."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.op import composition, rule

# --- reductions ---


def part(x: Any, reduction: str) -> float:
    """How much of an element's loss comes out: all, or in a mean over the elements of ``x`` one n-th."""
    return 1 / x.numel() if reduction == "mean" and x.numel() else 1.0


def reduced(loss: Any, reduction: str) -> Any:
    """All losses, or their mean or sum."""
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction != "none":
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return loss


def named(reduction: str, size_average: Any, reduce: Any) -> str:
    """The reduction, given in torch's present or former way."""
    if size_average is None and reduce is None:
        return reduction
    return str(torch.nn._reduction.legacy_get_string(size_average, reduce))


# --- differences ---

# Of the mean of d^2, with d = x - y: 2 d / n.
mse_loss = rule(
    F.mse_loss,
    "input, target, *, reduction='mean'",
    input=lambda g, input, target, reduction: 2 * part(input - target, reduction) * (input - target) * g,
    target=lambda g, input, target, reduction: 2 * part(input - target, reduction) * (target - input) * g,
)
# d^2 / 2 beta where |d| < beta, |d| - beta / 2 beyond.
smooth_l1_loss = rule(
    F.smooth_l1_loss,
    "input, target, *, reduction='mean', beta=1.0",
    input=lambda g, input, target, reduction, beta: smooth_slope(g, input - target, reduction, beta),
    target=lambda g, input, target, reduction, beta: smooth_slope(g, target - input, reduction, beta),
)
# The same, times beta.
huber_loss = rule(
    F.huber_loss,
    "input, target, *, reduction='mean', delta=1.0",
    input=lambda g, input, target, reduction, delta: huber_slope(g, input - target, reduction, delta),
    target=lambda g, input, target, reduction, delta: huber_slope(g, target - input, reduction, delta),
)


def smooth_slope(g: Any, d: Any, reduction: str, beta: float) -> Any:
    return part(d, reduction) * torch.where(d.abs() >= beta, d.sign(), d / beta) * g


def huber_slope(g: Any, d: Any, reduction: str, delta: float) -> Any:
    n = part(d, reduction)
    return torch.where(d.abs() >= delta, n * d.sign() * g * delta, n * d * g)


@composition(F.mse_loss)
def _mse_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    reduction = named(reduction, size_average, reduce)
    if weight is None:
        return mse_loss(input, target, reduction=reduction)
    return weighted((input - target) ** 2, input, weight, reduction)


@composition(F.l1_loss)
def l1_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    reduction = named(reduction, size_average, reduce)
    weight = forgotten_weight() if weight is None else weight
    loss = (input - target).abs()
    return reduced(loss, reduction) if weight is None else weighted(loss, input, weight, reduction)


def forgotten_weight() -> Any:
    """torch 2.13's F.l1_loss does not hand its ``weight`` on; it is still in its frame."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not F.l1_loss.__code__:
        frame = frame.f_back  # type: ignore[assignment]  # None ends the search
    return None if frame is None else frame.f_locals.get("weight")


def weighted(loss: Any, input: Any, weight: Any, reduction: str) -> Any:
    """Losses with a weight each; their mean is divided by the sum of the weights."""
    if weight.shape != input.shape:
        raise ValueError("Weights and input must have the same size.")
    return reduced(loss * weight, "sum") / weight.sum() if reduction == "mean" else reduced(loss * weight, reduction)


@composition(F.smooth_l1_loss)
def _smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Any:
    reduction = named(reduction, size_average, reduce)
    if beta == 0:
        return reduced((input - target).abs(), reduction)
    return smooth_l1_loss(input, target, reduction=reduction, beta=beta)


@composition(F.huber_loss)
def _huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    if weight is None:
        return huber_loss(input, target, reduction=reduction, delta=delta)
    if weight.shape != input.shape:
        raise ValueError("Weights and input must have the same size.")
    return reduced(huber_loss(input, target, reduction="none", delta=delta) * weight, reduction)


# --- two classes ---

EPSILON = 9.999999960041972e-13  # 1e-12 in single precision

# -(y log x + (1 - y) log(1 - x)) has the slope (x - y) / x (1 - x). torch's divisors stop at EPSILON.
binary_cross_entropy = rule(
    F.binary_cross_entropy,
    "input, target, weight=None, *, reduction='mean'",
    input=lambda g, input, target, weight, reduction: each(
        g * (input - target) / ((1 - input) * input).clamp(min=EPSILON), input, weight, reduction
    ),
    target=lambda g, input, weight, reduction: each(-input.logit() * g, input, weight, reduction),
)
# With x = sigmoid(z), the slope in z is x - y; a positive target counts pos_weight times.
binary_cross_entropy_with_logits = rule(
    F.binary_cross_entropy_with_logits,
    "input, target, weight=None, *, reduction='mean', pos_weight=None",
    input=lambda g, input, target, weight, reduction, pos_weight: each(
        logit_slope(input, target, pos_weight) * g, input, weight, reduction
    ),
    target=lambda g, input, weight, reduction, pos_weight: each(
        logit_target_slope(input, pos_weight) * g, input, weight, reduction
    ),
)


def each(slope: Any, input: Any, weight: Any, reduction: str) -> Any:
    """A slope for each element, weighted, and averaged in a mean."""
    slope = slope if weight is None else slope * weight
    return slope / input.numel() if reduction == "mean" else slope


def logit_slope(z: Any, y: Any, pos_weight: Any) -> Any:
    if pos_weight is None:
        return z.sigmoid() - y
    positive = pos_weight * y
    return (positive + 1 - y) * z.sigmoid() - positive


def logit_target_slope(z: Any, pos_weight: Any) -> Any:
    return -z if pos_weight is None else F.logsigmoid(-z) - pos_weight * F.logsigmoid(z)


@composition(F.binary_cross_entropy)
def _binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    return binary_cross_entropy(input, target, weight, reduction=named(reduction, size_average, reduce))


@composition(F.binary_cross_entropy_with_logits)
def _binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    reduction = named(reduction, size_average, reduce)
    return binary_cross_entropy_with_logits(input, target, weight, reduction=reduction, pos_weight=pos_weight)


# log(1 + exp(-y x)), for y = 1 or -1.
soft_margin_loss = rule(
    F.soft_margin_loss,
    "input, target, *, reduction='mean'",
    input=lambda g, input, target, reduction: (
        target * (-target * input).exp() * -part(input, reduction) / ((-target * input).exp() + 1) * g
    ),
)


@composition(F.soft_margin_loss)
def _soft_margin_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Any:
    return soft_margin_loss(input, target, reduction=named(reduction, size_average, reduce))


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
    reduction = named(reduction, size_average, reduce)
    if reduction == "batchmean":
        return loss.sum() / input.shape[0] if input.ndim else loss.sum()
    return reduced(loss, reduction)


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
    return reduced(loss, named(reduction, size_average, reduce))


@rule(x=lambda g: g)
def at_least(x: Any, low: float) -> Any:
    """``x``, kept from being too small; the gradient passes as if it were not."""
    out = x.clone()
    with torch.no_grad():
        return out.clamp_(min=low)


@composition(F.gaussian_nll_loss)
def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    if isinstance(var, int):
        raise TypeError("gaussian_nll_loss(): var must be a tensor or a float, not int")  # as torch, in other words
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
