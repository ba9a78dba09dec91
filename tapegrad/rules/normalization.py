"""Rules of normalization, besides batch normalization, which is in ``nn.py``."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.op import composition, kernel, rule
from tapegrad.tensor import raw


# With n values normalized together, xhat = (x - mean) / std, and dy the gradient of xhat:
# dx = (dy - mean(dy) - xhat mean(dy xhat)) / std, the three paths of exercise 3.
def normalized_gradient(dy: Any, xhat: Any, invstd: Any, dims: list[int]) -> Any:
    """dx from dy: see above."""
    return (dy - dy.mean(dims, keepdim=True) - xhat * (dy * xhat).mean(dims, keepdim=True)) * invstd


def normalized(x: Any, dims: list[int], eps: float) -> tuple[Any, Any]:
    """The normalized values, and 1 / std."""
    centered = x - x.mean(dims, keepdim=True)
    invstd = ((centered * centered).mean(dims, keepdim=True) + eps) ** -0.5
    return centered * invstd, invstd


# --- over the last dimensions ---


@rule(
    aux=["mean", "invstd"],
    input=lambda g, input, shape, weight, eps: layer_gradient(
        g, weight, *normalized(input, last(shape), eps), last(shape)
    ),
    weight=lambda g, input, shape, eps: g * normalized(input, last(shape), eps)[0],
    bias=lambda g: g,
)
def layer_norm(input: Any, shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    """Normalization over the last dimensions, of the sizes ``shape``, with a weight and a bias for each element."""
    return torch.native_layer_norm(input, shape, weight, bias, eps)


# The same, of the statistics that torch has computed.
kernel(
    layer_norm,
    input=lambda g, input, shape, weight, mean, invstd: layer_gradient(
        g, weight, (input - mean) * invstd, invstd, last(shape)
    ),
    weight=lambda g, input, mean, invstd: g * ((input - mean) * invstd),
)


def layer_gradient(g: Any, weight: Any, xhat: Any, invstd: Any, dims: list[int]) -> Any:
    return normalized_gradient(g if weight is None else g * weight, xhat, invstd, dims)


def last(shape: Any) -> list[int]:
    """The dimensions that are normalized."""
    return list(range(-len(shape), 0))


@composition(F.layer_norm)
def _layer_norm(
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,  # torch.layer_norm has it
) -> Any:
    return layer_norm(input, normalized_shape, weight, bias, eps)[0]


@composition(F.rms_norm)
def rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    """``x`` over the root of the mean of its squares."""
    if tuple(input.shape[-len(normalized_shape) :]) != tuple(normalized_shape):
        raise RuntimeError(f"rms_norm(): the input's shape {tuple(input.shape)} must end in {tuple(normalized_shape)}")
    x = input.to(torch.promote_types(input.dtype, torch.float32))
    square = (x**2).mean(last(normalized_shape), keepdim=True)
    x = x * (square + (torch.finfo(x.dtype).eps if eps is None else eps)).rsqrt()
    return (x if weight is None else x * weight).to(input.dtype)


# --- over groups of channels ---


@rule(
    aux=["mean", "invstd"],
    input=lambda g, input, groups, weight, eps: group_gradient(
        g, weight, *normalized(grouped(input, groups), [-1], eps), groups
    ),
    weight=lambda g, input, groups, eps: per_channel(
        g * normalized(grouped(input, groups), [-1], eps)[0].view(g.shape)
    ),
    bias=lambda g: per_channel(g),
)
def group_norm(input: Any, groups: int, weight: Any, bias: Any, eps: float) -> Any:
    """Normalization of each image over groups of its channels."""
    n, channels, *image = input.shape
    weight, bias = (None if t is None else t.contiguous() for t in (weight, bias))
    return torch.native_group_norm(input.contiguous(), weight, bias, n, channels, prod(image), groups, eps)


kernel(
    group_norm,
    input=lambda g, input, groups, weight, mean, invstd: group_gradient(
        g, weight, *standard(input, groups, mean, invstd), groups
    ),
    weight=lambda g, input, groups, mean, invstd: per_channel(
        g * standard(input, groups, mean, invstd)[0].view(g.shape)
    ),
)


def grouped(x: Any, groups: int) -> Any:
    """The values that are normalized together, in the last dimension."""
    return x.reshape(x.shape[0], groups, prod(x.shape[1:]) // groups)


def standard(input: torch.Tensor, groups: int, mean: torch.Tensor, invstd: torch.Tensor) -> tuple[Any, Any]:
    invstd = invstd.unsqueeze(-1)
    return (grouped(input, groups) - mean.unsqueeze(-1)) * invstd, invstd


def group_gradient(g: Any, weight: Any, xhat: Any, invstd: Any, groups: int) -> Any:
    dy = g if weight is None else g * weight.view([-1] + [1] * (g.ndim - 2))
    return normalized_gradient(grouped(dy, groups), xhat, invstd, [-1]).view(g.shape)


def per_channel(g: Any) -> Any:
    """The sum for each channel."""
    return g.sum([0, *range(2, g.ndim)])


@composition(F.group_norm)
def _group_norm(
    input: Any,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,  # torch.group_norm has it
) -> Any:
    return group_norm(input, num_groups, weight, bias, eps)[0]


@composition(F.instance_norm)
def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Batch normalization in which each channel of each image is a channel of its own."""
    n, channels, *image = input.shape
    if use_input_stats and prod(image) <= 1:
        raise ValueError(
            f"instance_norm(): expected more than 1 spatial element when training, got {tuple(input.shape)}"
        )
    mean, var, weight, bias = (
        None if t is None else torch.cat([t] * n) for t in (running_mean, running_var, weight, bias)
    )
    out = F.batch_norm(input.reshape(1, n * channels, *image), mean, var, weight, bias, use_input_stats, momentum, eps)
    for running, updated in ((running_mean, mean), (running_var, var)):
        if running is not None:
            raw(running).copy_(raw(updated).view(n, channels).mean(0))
    return out.view(input.shape)


# --- over neighbouring channels ---


@composition(F.local_response_norm)
def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    n, channels, *image = input.shape
    if not image:
        raise ValueError(f"local_response_norm(): expected three dimensions or more, got {tuple(input.shape)}")
    if input.numel() == 0:
        return input
    square = (input * input).reshape(n, 1, channels, prod(image))
    square = F.pad(square, (0, 0, size // 2, (size - 1) // 2))
    mean = F.avg_pool2d(square, (size, 1), stride=1).reshape(input.shape)
    return input / (mean * alpha + k) ** beta
