"""Cross-entropy in each of torch's forms: of class indices or probabilities, smoothed, or of a linear layer."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.rules import crossentropy
from tapegrad.rules.opmath import in_float32
from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.functions.spellings import reduction_of


def class_indices(target: Any) -> Any:
    """Class indices as rules know them; uint8 would be a mask to what they index."""
    return target.long() if target.dtype is torch.uint8 else target


@composition(F.nll_loss)
def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    reduction, target = reduction_of(reduction, size_average, reduce), class_indices(target)
    return crossentropy.nll_loss(input, target, weight, ignore_index=ignore_index, reduction=reduction)


def cross_entropy_of_probabilities(input: Any, target: Any, weight: Any, reduction: str, smoothing: float) -> Any:
    """Cross-entropy against probabilities of the classes."""
    dim = crossentropy.class_dim(input)
    classes = input.shape[dim]
    if smoothing > 0 and classes:
        target = target * (1 - smoothing) + smoothing / classes
    logprobs = F.log_softmax(input, dim) * target
    if weight is not None:
        logprobs = logprobs * weight.view([-1] + [1] * (input.ndim - 2))
    if reduction == "none":
        return -logprobs.sum(dim)
    targets = input.numel() / classes if classes else math.nan
    return -logprobs.sum() / targets if reduction == "mean" else -logprobs.sum()


def smooth_loss(logprobs: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
    """The loss with every class as the target at once, the sum of all their losses, for label smoothing."""
    dim = crossentropy.class_dim(logprobs)
    if weight is not None:
        logprobs = logprobs * weight.view([-1] + [1] * (logprobs.ndim - 2))
    ignored = target == ignore_index
    loss = (-logprobs.sum(dim)).masked_fill(ignored, 0.0)
    if reduction == "mean":
        return loss.sum() / crossentropy.weight_of_targets(target, weight, ignore_index).sum()
    return loss.sum() if reduction == "sum" else loss


@composition(F.cross_entropy)
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    reduction = reduction_of(reduction, size_average, reduce)
    if label_smoothing > 1.0:
        raise RuntimeError(f"cross_entropy(): label_smoothing must be between 0.0 and 1.0, got {label_smoothing}")
    label_smoothing = label_smoothing if label_smoothing > 0.0 else 0.0  # of less torch takes no notice
    if target.shape == input.shape:
        if not target.is_floating_point():
            raise RuntimeError(f"cross_entropy(): expected floating point class probabilities, got {target.dtype}")
        if ignore_index >= 0:
            raise RuntimeError("cross_entropy(): ignore_index is not supported for floating point target")
        return cross_entropy_of_probabilities(input, target, weight, reduction, label_smoothing)
    target = class_indices(target)
    if label_smoothing == 0.0:
        return crossentropy.cross_entropy(input, target, weight, ignore_index, reduction)[0]
    logprobs = F.log_softmax(input, crossentropy.class_dim(input))
    loss = crossentropy.nll_loss(logprobs, target, weight, ignore_index=ignore_index, reduction=reduction)
    smooth = smooth_loss(logprobs, target, weight, ignore_index, reduction)
    return (1 - label_smoothing) * loss + smooth * (label_smoothing / input.shape[crossentropy.class_dim(input)])


@composition(*[F.linear_cross_entropy] if hasattr(F, "linear_cross_entropy") else [])  # new in torch 2.13
def linear_cross_entropy(
    input: Any,
    linear_weight: Any,
    target: Any,
    *,
    linear_bias: Any = None,
    weight: Any = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,  # how torch is to save memory
) -> Any:
    images = linear_weight.shape[1:-1]
    if input.ndim not in (1, 2) or linear_weight.ndim < 2 or (images and input.ndim == 1):
        raise RuntimeError(
            f"linear_cross_entropy(): expected input (N, in) or (in), and linear_weight (C, in) or (C, d1, ..., in) "
            f"for a batch, got {tuple(input.shape)} and {tuple(linear_weight.shape)}"
        )
    if linear_bias is not None and linear_bias.shape != linear_weight.shape[:-1]:
        raise RuntimeError(
            f"expected linear_bias shape {tuple(linear_weight.shape[:-1])}, got {tuple(linear_bias.shape)}"
        )
    dtype = input.dtype
    chunked = options is not None and linear_weight.dtype is dtype
    if chunked:  # torch goes in chunks, and keeps them in float32
        input, linear_weight, linear_bias, weight = in_float32((input, linear_weight, linear_bias, weight))
    logits = torch.tensordot(input, linear_weight, ([-1], [-1]))
    logits = logits if linear_bias is None else logits + linear_bias
    if ignore_index is not None and target.shape == logits.shape:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    ignore = -100 if ignore_index is None else ignore_index
    loss = F.cross_entropy(
        logits, target, weight, ignore_index=ignore, reduction=reduction, label_smoothing=label_smoothing
    )
    return loss.to(dtype) if chunked else loss
