"""Rules of layers and losses: one op each, its gradient derived by hand as in the lecture's exercises 2 and 3."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.op import TABLE, composition, kernel, rule
from tapegrad.rules.loss import named
from tapegrad.scalar import as_tensor

# --- cross-entropy ---


# With p = softmax(x), the loss -log p[y] has the gradient p - onehot(y): what was predicted less what is true. A weight
# for each class multiplies the losses of its targets; the mean divides by the weights of those that count.
@rule(
    aux=["logprobs"],
    input=lambda g, input, target, weight, ignore_index, reduction: (
        per_target(g, target, weight, ignore_index, reduction)
        * (F.softmax(input, classes(input)) - onehot(target, ignore_index, input.shape, input.dtype))
    ),
)
def cross_entropy(input: Any, target: Any, weight: Any, ignore_index: Any, reduction: Any) -> Any:
    """Cross-entropy of scores against class indices."""
    logprobs = F.log_softmax(input, classes(input))
    return F.nll_loss(logprobs, target, weight, ignore_index=ignore_index, reduction=reduction), logprobs


# The second half alone: -log p[y], given log p.
nll_loss = rule(
    F.nll_loss,
    "input, target, weight=None, *, ignore_index=-100, reduction='mean'",
    input=lambda g, input_shape, target, weight, ignore_index, reduction: (
        -per_target(g, target, weight, ignore_index, reduction) * onehot(target, ignore_index, input_shape, g.dtype)
    ),
)


def classes(input: Any) -> int:
    """The dimension of the classes: (C), (N, C) or (N, C, d1, d2, ...)."""
    return 1 if input.ndim > 1 else 0


def onehot(target: torch.Tensor, ignore_index: int, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    """1 at each target's class, 0 elsewhere, in the shape of the scores."""
    dim = 1 if len(shape) > 1 else 0
    index = target.masked_fill(target == ignore_index, 0).unsqueeze(dim)  # which need not be a class
    return torch.zeros(shape, dtype=dtype, device=target.device).scatter_(dim, index, 1.0)


def per_target(g: Any, target: torch.Tensor, weight: Any, ignore_index: int, reduction: str) -> Any:
    """The loss's gradient with respect to each target's own loss, with a dimension for the classes."""
    w = weights_of(target, weight, ignore_index)
    g = g / w.sum() if reduction == "mean" else g
    g = g.expand(target.shape) if weight is None else g * w
    return g.masked_fill(target == ignore_index, 0.0).unsqueeze(1 if target.ndim else 0)


def weights_of(target: torch.Tensor, weight: Any, ignore_index: int) -> Any:
    """How much each target counts."""
    ignored = target == ignore_index
    return ~ignored if weight is None else weight[target.masked_fill(ignored, 0)].masked_fill(ignored, 0.0)


def _cross_entropy_kernel(
    g: torch.Tensor, logprobs: torch.Tensor, target: torch.Tensor, weight: Any, ignore_index: int, reduction: str
) -> torch.Tensor:
    """torch's two steps, each with its rounding: nll_loss gives -w onehot(y); log_softmax adds w p to it."""
    if weight is None and target.ndim and target.is_cpu and not (target == ignore_index).any():  # elsewhere, a wait
        return _every_target(g, logprobs, target, reduction)
    w = per_target(g, target, weight, ignore_index, reduction)
    # torch.exp and the exponential in torch's log_softmax differ in the last bit; log_sigmoid's buffer, exp(-|x|),
    # comes from the latter.
    p = torch.ops.aten.log_sigmoid_forward(logprobs)[1]
    dlogprobs = onehot(target, ignore_index, logprobs.shape, logprobs.dtype).mul_(-w)
    return dlogprobs.addcmul_(p, w)


def _every_target(g: torch.Tensor, logprobs: torch.Tensor, target: torch.Tensor, reduction: str) -> torch.Tensor:
    """The same where all targets count, and count the same."""
    w = (g / as_tensor(target.numel(), g) if reduction == "mean" else g).expand(target.shape).unsqueeze(1)
    p = torch.ops.aten.log_sigmoid_forward(logprobs)[1]
    return torch.zeros_like(logprobs).scatter_(1, target.unsqueeze(1), -w).addcmul_(p, w)


kernel(cross_entropy, input=_cross_entropy_kernel)


@composition(F.nll_loss)
def _nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    reduction = named(reduction, size_average, reduce)
    return nll_loss(input, target, weight, ignore_index=ignore_index, reduction=reduction)


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
    reduction = named(reduction, size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"cross_entropy(): label_smoothing must be between 0.0 and 1.0, got {label_smoothing}")
    if target.shape == input.shape:
        if not target.is_floating_point():
            raise RuntimeError(f"cross_entropy(): expected floating point class probabilities, got {target.dtype}")
        if ignore_index >= 0:
            raise RuntimeError("cross_entropy(): ignore_index is not supported for floating point target")
        return soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    if label_smoothing == 0.0:
        return cross_entropy(input, target, weight, ignore_index, reduction)[0]
    logprobs = F.log_softmax(input, classes(input))
    loss = nll_loss(logprobs, target, weight, ignore_index=ignore_index, reduction=reduction)
    smooth = all_classes(logprobs, target, weight, ignore_index, reduction)
    return (1 - label_smoothing) * loss + smooth * (label_smoothing / input.shape[classes(input)])


def soft_cross_entropy(input: Any, target: Any, weight: Any, reduction: str, smoothing: float) -> Any:
    """Cross-entropy against probabilities of the classes."""
    dim = classes(input)
    if smoothing > 0:
        target = target * (1 - smoothing) + smoothing / input.shape[dim]
    logprobs = F.log_softmax(input, dim) * target
    if weight is not None:
        logprobs = logprobs * weight.view([-1] + [1] * (input.ndim - 2))
    if reduction == "none":
        return -logprobs.sum(dim)
    return -logprobs.sum() / (input.numel() / input.shape[dim]) if reduction == "mean" else -logprobs.sum()


def all_classes(logprobs: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
    """The loss of a target that is every class at once, for label smoothing."""
    dim = classes(logprobs)
    if weight is not None:
        logprobs = logprobs * weight.view([-1] + [1] * (logprobs.ndim - 2))
    ignored = target == ignore_index
    loss = (-logprobs.sum(dim)).masked_fill(ignored, 0.0)
    if reduction == "mean":
        return loss.sum() / weights_of(target, weight, ignore_index).sum()
    return loss.sum() if reduction == "sum" else loss


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
    logits = torch.tensordot(input, linear_weight, ([-1], [-1]))
    logits = logits if linear_bias is None else logits + linear_bias
    if ignore_index is not None and target.shape == logits.shape:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    ignore = -100 if ignore_index is None else ignore_index
    return F.cross_entropy(
        logits, target, weight, ignore_index=ignore, reduction=reduction, label_smoothing=label_smoothing
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
    if not training and (running_mean is None or running_var is None):
        raise RuntimeError("batch_norm(): expected running_mean and running_var to be defined when training=False")
    channels = input.shape[1] if input.shape != (0,) else 0
    for name, value in {
        "running_mean": running_mean,
        "running_var": running_var,
        "weight": weight,
        "bias": bias,
    }.items():
        if value is not None and value.numel() != channels:
            raise RuntimeError(
                f"batch_norm(): {name} should contain {channels} elements, one per channel, not {value.numel()}"
            )
    if training and input.shape[0] * prod(input.shape[2:]) == 1:
        raise ValueError(
            f"batch_norm(): expected more than 1 value per channel when training, got {tuple(input.shape)}"
        )
    if input.numel() == 0:  # as torch does
        out = input.clone() if weight is None else input * weight[0]
        return out if bias is None else out + bias[0]
    return batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)[0]


# The function of this name in torch's own namespace takes its arguments in another order.
TABLE[torch.batch_norm] = lambda input, weight, bias, mean, var, training, momentum, eps, cudnn_enabled: (
    _torch_batch_norm(input, mean, var, weight, bias, training, momentum, eps)
)
