"""Rules of losses: of differences, of two classes and of more; cross-entropy is in ``crossentropy.py``."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import rule


def mean_factor(x: Any, reduction: str) -> float:
    """The factor of an element's loss in the result: 1, or 1 / n in a mean over the n elements of ``x``."""
    return 1 / x.numel() if reduction == "mean" and x.numel() else 1.0


# --- differences ---


def difference(x: Any, y: Any) -> Any:
    """x - y, where truth values count as 0 and 1."""
    return (x.int() if x.dtype is torch.bool else x) - (y.int() if y.dtype is torch.bool else y)


def squared_gradient(g: Any, d: Any, reduction: str) -> Any:
    """The gradient of a difference: twice itself."""
    return 2 * mean_factor(d, reduction) * d * g


# Of the mean of d^2, with d = x - y: 2 d / n.
mse_loss = rule(
    F.mse_loss,
    "input, target, *, reduction='mean'",
    input=lambda g, input, target, reduction: squared_gradient(g, difference(input, target), reduction),
    target=lambda g, input, target, reduction: squared_gradient(g, difference(target, input), reduction),
)


def smooth_l1_gradient(g: Any, d: Any, reduction: str, beta: float) -> Any:
    """The gradient of a difference: its sign, or within beta of 0 its share of beta."""
    return mean_factor(d, reduction) * torch.where(d.abs() >= beta, d.sign(), d / beta) * g


# d^2 / 2 beta where |d| < beta, |d| - beta / 2 beyond.
smooth_l1_loss = rule(
    F.smooth_l1_loss,
    "input, target, *, reduction='mean', beta=1.0",
    input=lambda g, input, target, reduction, beta: smooth_l1_gradient(g, difference(input, target), reduction, beta),
    target=lambda g, input, target, reduction, beta: smooth_l1_gradient(g, difference(target, input), reduction, beta),
)


def huber_gradient(g: Any, d: Any, reduction: str, delta: float) -> Any:
    """The gradient of a difference: itself, cut off at delta."""
    return torch.where(d.abs() >= delta, d.sign() * delta, d) * mean_factor(d, reduction) * g


# The same, times beta, which is here called delta.
huber_loss = rule(
    F.huber_loss,
    "input, target, *, reduction='mean', delta=1.0",
    input=lambda g, input, target, reduction, delta: huber_gradient(g, input - target, reduction, delta),
    target=lambda g, input, target, reduction, delta: huber_gradient(g, target - input, reduction, delta),
)

# --- two classes ---

EPSILON = 9.999999960041972e-13  # 1e-12 in single precision


def per_element(slope: Any, input: Any, weight: Any, reduction: str) -> Any:
    """A slope for each element, weighted, and averaged in a mean."""
    slope = slope if weight is None else slope * weight
    return slope / input.numel() if reduction == "mean" else slope


# -(y log x + (1 - y) log(1 - x)) has the slope (x - y) / x (1 - x). torch's divisors stop at EPSILON.
binary_cross_entropy = rule(
    F.binary_cross_entropy,
    "input, target, weight=None, *, reduction='mean'",
    input=lambda g, input, target, weight, reduction: per_element(
        g * (input - target) / ((1 - input) * input).clamp(min=EPSILON), input, weight, reduction
    ),
    target=lambda g, input, weight, reduction: per_element(-input.logit() * g, input, weight, reduction),
)


def logit_slope(z: Any, y: Any, pos_weight: Any) -> Any:
    """The slope of an element's loss in its logit."""
    if pos_weight is None:
        return z.sigmoid() - y
    positive = pos_weight * y
    return (positive + 1 - y) * z.sigmoid() - positive


def logit_target_slope(z: Any, pos_weight: Any) -> Any:
    """The slope of an element's loss in its target."""
    return -z if pos_weight is None else F.logsigmoid(-z) - pos_weight * F.logsigmoid(z)


# With x = sigmoid(z), the slope in z is x - y; a positive target counts pos_weight times.
binary_cross_entropy_with_logits = rule(
    F.binary_cross_entropy_with_logits,
    "input, target, weight=None, *, reduction='mean', pos_weight=None",
    input=lambda g, input, target, weight, reduction, pos_weight: per_element(
        logit_slope(input, target, pos_weight) * g, input, weight, reduction
    ),
    target=lambda g, input, weight, reduction, pos_weight: per_element(
        logit_target_slope(input, pos_weight) * g, input, weight, reduction
    ),
)
# log(1 + exp(-y x)), for y = 1 or -1.
soft_margin_loss = rule(
    F.soft_margin_loss,
    "input, target, *, reduction='mean'",
    input=lambda g, input, target, reduction: (
        target * (-target * input).exp() * -mean_factor(input, reduction) / ((-target * input).exp() + 1) * g
    ),
)

# --- more classes ---


def margin_gradient(g: Any, input: Any, target: Any, p: int, margin: float, weight: Any, reduction: str) -> Any:
    """Each class within the margin gets its slope, and the target class minus the sum of them."""
    x = input.view(1) if input.ndim == 0 else input
    index = target.reshape(x.shape[:-1]).unsqueeze(-1)
    others = torch.arange(x.shape[-1], device=x.device) != index
    short = margin - x.gather(-1, index) + x
    slope = torch.where(others & (short > 0), p * short ** (p - 1) / x.shape[-1], 0.0)
    slope = slope if weight is None else slope * weight[index]
    slope = slope - torch.where(others, 0.0, slope.sum(-1, keepdim=True))
    g = g.reshape(x.shape[:-1]).unsqueeze(-1) if reduction == "none" else g * mean_factor(index, reduction)
    return (slope * g).view(input.shape)


# The sum over the other classes i of max(0, margin - x[y] + x[i])^p: each class gets its slope, and y minus their sum.
multi_margin_loss = rule(
    F.multi_margin_loss,
    "input, target, p=1, margin=1.0, weight=None, *, reduction='mean'",
    input=margin_gradient,
)
