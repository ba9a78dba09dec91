"""Rules of normalization: one op each, its gradient derived by hand as in the lecture's exercise 3."""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from tapegrad.engine.table import rule


def normalized_gradient(dy: Any, xhat: Any, invstd: Any, dims: list[int]) -> Any:
    """dx = (dy - mean(dy) - xhat mean(dy xhat)) / std, where xhat = (x - mean) / std and dy is its gradient.

    The three paths, by x, its mean and its variance, collapse into that: Ioffe & Szegedy 2015, section 3, simplified.
    """
    return (dy - dy.mean(dims, keepdim=True) - xhat * (dy * xhat).mean(dims, keepdim=True)) * invstd


def normalized(x: Any, dims: list[int], eps: float) -> tuple[Any, Any]:
    """The normalized values, and 1 / std."""
    centered = x - x.mean(dims, keepdim=True)
    invstd = ((centered * centered).mean(dims, keepdim=True) + eps) ** -0.5
    return centered * invstd, invstd


def all_but_channels(x: Any) -> list[int]:
    """The dimensions besides that of the channels, (N, C, d1, d2, ...)."""
    return [d for d in range(x.ndim) if d != 1]


def channel_sums(g: Any) -> Any:
    """The sum for each channel."""
    return g.sum(all_but_channels(g))


# --- over the batch ---


def along_channels(value: Any, like: Any) -> Any:
    """A value per channel, shaped to broadcast."""
    return value.view([1, -1] + [1] * (like.ndim - 2))


def batch_normalized(input: Any, mean: Any, var: Any, training: bool, eps: float) -> tuple[Any, Any]:
    """The normalized values and 1 / std, each channel's statistics being the batch's own when training."""
    if training:
        dims = all_but_channels(input)
        mean = input.mean(dims, keepdim=True)
        var = ((input - mean) ** 2).mean(dims, keepdim=True)
    else:
        mean, var = along_channels(mean, input), along_channels(var, input)
    invstd = (var + eps) ** -0.5
    return (input - mean) * invstd, invstd


def batch_gradient(g: Any, xhat: Any, invstd: Any, weight: Any, training: bool) -> Any:
    """dx by all three paths; with fixed statistics, by the first alone."""
    dy = g if weight is None else g * along_channels(weight, xhat)
    return normalized_gradient(dy, xhat, invstd, all_but_channels(xhat)) if training else dy * invstd


@rule(
    aux=["mean", "invstd"],
    input=lambda g, input, weight, running_mean, running_var, training, eps: batch_gradient(
        g, *batch_normalized(input, running_mean, running_var, training, eps), weight, training
    ),
    weight=lambda g, input, running_mean, running_var, training, eps: channel_sums(
        g * batch_normalized(input, running_mean, running_var, training, eps)[0]
    ),
    bias=channel_sums,
)
def batch_norm(
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: Any, momentum: Any, eps: Any
) -> Any:
    """Batch normalization; ``mean`` and ``invstd`` are those of the batch when training."""
    return torch.native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)


# --- over the last dimensions ---


def last_dims(shape: Any) -> list[int]:
    """The dimensions that are normalized."""
    return list(range(-len(shape), 0))


def layer_gradient(g: Any, weight: Any, xhat: Any, invstd: Any, shape: Any) -> Any:
    """The gradient of what was normalized over its last dimensions."""
    return normalized_gradient(g if weight is None else g * weight, xhat, invstd, last_dims(shape))


@rule(
    aux=["mean", "invstd"],
    input=lambda g, input, shape, weight, eps: layer_gradient(
        g, weight, *normalized(input, last_dims(shape), eps), shape
    ),
    weight=lambda g, input, shape, eps: g * normalized(input, last_dims(shape), eps)[0],
    bias=lambda g: g,
)
def layer_norm(input: Any, shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    """Normalization over the last dimensions, of the sizes ``shape``, with a weight and a bias for each element."""
    return torch.native_layer_norm(input, shape, weight, bias, eps)


# --- over groups of channels ---


def grouped(x: Any, groups: int) -> Any:
    """The values that are normalized together, in the last dimension."""
    return x.reshape(x.shape[0], groups, prod(x.shape[1:]) // groups)


def group_gradient(g: Any, weight: Any, xhat: Any, invstd: Any, groups: int) -> Any:
    """The gradient of what was normalized in groups."""
    dy = g if weight is None else g * weight.view([-1] + [1] * (g.ndim - 2))
    return normalized_gradient(grouped(dy, groups), xhat, invstd, [-1]).view(g.shape)


@rule(
    aux=["mean", "invstd"],
    input=lambda g, input, groups, weight, eps: group_gradient(
        g, weight, *normalized(grouped(input, groups), [-1], eps), groups
    ),
    weight=lambda g, input, groups, eps: channel_sums(
        g * normalized(grouped(input, groups), [-1], eps)[0].view(g.shape)
    ),
    bias=channel_sums,
)
def group_norm(input: Any, groups: int, weight: Any, bias: Any, eps: float) -> Any:
    """Normalization of each image over groups of its channels."""
    n, channels, *image = input.shape
    weight, bias = (None if t is None else t.contiguous() for t in (weight, bias))
    return torch.native_group_norm(input.contiguous(), weight, bias, n, channels, prod(image), groups, eps)
