"""Rules of layers and losses: one op each, its gradient derived by hand as in the lecture's exercises 2 and 3."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.errors import MissingRule
from tapegrad.op import TABLE, composition, kernel, rule
from tapegrad.rules.indexing import place

# --- cross-entropy ---


# With p = softmax(x), the loss -log p[y] has the gradient p - onehot(y): what was predicted less what is true.
@rule(
    aux=["logprobs"],
    input=lambda g, input, target, ignore_index, reduction: (
        per_target(g, target, ignore_index, reduction) * (F.softmax(input, classes(input)) - onehot(target, input))
    ),
)
def cross_entropy(input: Any, target: Any, ignore_index: Any, reduction: Any) -> Any:
    """Cross-entropy of scores against class indices."""
    logprobs = F.log_softmax(input, classes(input))
    return F.nll_loss(logprobs, target, ignore_index=ignore_index, reduction=reduction), logprobs


def classes(input: Any) -> int:
    """The dimension of the classes: (C), (N, C) or (N, C, d1, d2, ...)."""
    return 1 if input.ndim > 1 else 0


def onehot(target: torch.Tensor, like: Any) -> torch.Tensor:
    """1 at each target's class, 0 elsewhere, in the shape of the scores."""
    index = target.clamp(min=0).unsqueeze(classes(like))  # an ignored target may be negative
    return torch.zeros(like.shape, dtype=like.dtype, device=like.device).scatter_(classes(like), index, 1.0)


def per_target(g: Any, target: torch.Tensor, ignore_index: int, reduction: str) -> Any:
    """The loss's gradient with respect to each target's own loss, with a dimension for the classes."""
    counted = target != ignore_index
    g = torch.where(counted, g / counted.sum() if reduction == "mean" else g, 0.0)
    return g.unsqueeze(1 if target.ndim else 0)


def _cross_entropy_kernel(
    g: torch.Tensor, logprobs: torch.Tensor, target: torch.Tensor, ignore_index: int, reduction: str
) -> torch.Tensor:
    """torch's two steps, each with its rounding: nll_loss gives -w onehot(y); log_softmax adds w p to it."""
    w = per_target(g, target, ignore_index, reduction)
    # torch.exp and the exponential in torch's log_softmax differ in the last bit; log_sigmoid's buffer, exp(-|x|),
    # comes from the latter.
    p = torch.ops.aten.log_sigmoid_forward(logprobs)[1]
    dlogprobs = onehot(target, logprobs).mul_(-w)
    return dlogprobs.addcmul_(p, w)


kernel(cross_entropy, input=_cross_entropy_kernel)


@composition(F.cross_entropy)
def _torch_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    if size_average is not None or reduce is not None:
        reduction = torch.nn._reduction.legacy_get_string(size_average, reduce)
    if weight is None and label_smoothing == 0.0 and not target.is_floating_point():
        return cross_entropy(input, target, ignore_index, reduction)[0]
    raise MissingRule(
        "cross_entropy(): no rule yet for class weights, label_smoothing or class probabilities; "
        "write it out with log_softmax, for example -(target * log_softmax(input, 1)).sum(1).mean()"
    )


# --- batch normalization ---


# With xhat = (x - mean) / std over the n values of each channel, the three paths (x, mean, variance) collapse into
# dx = w / (n std) (n g - sum g - xhat sum(g xhat)): Ioffe & Szegedy 2015, section 3, simplified.
@rule(
    aux=["mean", "invstd"],
    input=lambda g, input, weight, running_mean, running_var, training, eps: normalized_gradient(
        g, *normalized(input, running_mean, running_var, training, eps), weight, training
    ),
    weight=lambda g, input, running_mean, running_var, training, eps: total(
        g * normalized(input, running_mean, running_var, training, eps)[0]
    ),
    bias=lambda g: total(g),
)
def batch_norm(
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: Any, momentum: Any, eps: Any
) -> Any:
    """Batch normalization; ``mean`` and ``invstd`` are those of the batch when training."""
    return torch.native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)


def normalized(input: Any, mean: Any, var: Any, training: bool, eps: float) -> tuple[Any, Any]:
    """The normalized values and 1 / std, each channel's statistics being the batch's own when training."""
    if training:
        dims = others(input)
        mean = input.mean(dims, keepdim=True)
        var = ((input - mean) ** 2).mean(dims, keepdim=True)
    else:
        mean, var = per_channel(mean, input), per_channel(var, input)
    invstd = (var + eps) ** -0.5
    return (input - mean) * invstd, invstd


def normalized_gradient(g: Any, xhat: Any, invstd: Any, weight: Any, training: bool) -> Any:
    """dx from dy: see above. With fixed statistics only the first path is there."""
    if weight is not None:
        g = g * per_channel(weight, xhat)
    if training:
        dims = others(xhat)
        g = g - g.mean(dims, keepdim=True) - xhat * (g * xhat).mean(dims, keepdim=True)
    return g * invstd


def others(input: Any) -> list[int]:
    """The dimensions besides that of the channels, (N, C, d1, d2, ...)."""
    return [d for d in range(input.ndim) if d != 1]


def per_channel(value: Any, like: Any) -> Any:
    """A value per channel, shaped to broadcast."""
    return value.view([1, -1] + [1] * (like.ndim - 2))


def total(g: Any) -> Any:
    """The sum for each channel."""
    return g.sum(others(g))


@composition(F.batch_norm)
def _torch_batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if training and input.numel() // input.shape[1] <= 1:
        raise ValueError(
            f"batch_norm(): expected more than 1 value per channel when training, got {tuple(input.shape)}"
        )
    return batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)[0]


# The function of this name in torch's own namespace takes its arguments in another order; so with embedding and dropout.
TABLE[torch.batch_norm] = lambda input, weight, bias, mean, var, training, momentum, eps, cudnn_enabled: (
    _torch_batch_norm(input, mean, var, weight, bias, training, momentum, eps)
)


# --- tables and noise ---


@rule(weight=lambda g, input, weight_shape: place(g, weight_shape, input))
def lookup(input: Any, weight: Any) -> Any:
    """A row of ``weight`` for each index in ``input``."""
    return F.embedding(input, weight)


@composition(F.embedding)
def _embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    if padding_idx is not None or max_norm is not None or scale_grad_by_freq or sparse:
        raise MissingRule(
            "embedding(): padding_idx, max_norm, scale_grad_by_freq and sparse have no rule yet; use weight[input]"
        )
    return lookup(input, weight)


TABLE[torch.embedding] = lambda weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False: (
    _embedding(indices, weight, None if padding_idx == -1 else padding_idx, None, 2.0, scale_grad_by_freq, sparse)
)


@composition(F.dropout)
def _dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Zero elements with probability ``p``, drawn from torch's generator, and scale the rest by 1 / (1 - p)."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout(): p must be between 0 and 1, got {p}")
    if not training or p == 0.0:
        return input
    noise = torch.empty_like(input).bernoulli_(1 - p)
    noise = noise.div_(1 - p) if p < 1.0 else noise
    return input.mul_(noise) if inplace else input * noise


TABLE[torch.dropout] = lambda input, p, train: _dropout(input, p, train)
