"""Normalization with torch's arguments: over the batch, the last dimensions, groups, or neighbouring channels."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import TABLE
from tapegrad.rules import normalization
from tapegrad.torch_api.composition import asking, composition
from tapegrad.torch_api.raw import raw

# --- over the batch ---


@composition(F.batch_norm)
def batch_norm(
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
    return normalization.batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)[0]


# The function of this name in torch's own namespace takes its arguments in another order.
def _torch_batch_norm(
    input: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Any:
    return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


TABLE[torch.batch_norm] = asking(torch.batch_norm, _torch_batch_norm)

# --- over the last dimensions ---


@composition(F.layer_norm)
def layer_norm(
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,  # torch.layer_norm has it
) -> Any:
    return normalization.layer_norm(input, normalized_shape, weight, bias, eps)[0]


@composition(F.rms_norm)
def rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    """``x`` over the root of the mean of its squares."""
    if tuple(input.shape[-len(normalized_shape) :]) != tuple(normalized_shape):
        raise RuntimeError(f"rms_norm(): the input's shape {tuple(input.shape)} must end in {tuple(normalized_shape)}")
    if weight is not None and tuple(weight.shape) != tuple(normalized_shape):
        raise RuntimeError(f"rms_norm(): weight must be of shape {tuple(normalized_shape)}, not {tuple(weight.shape)}")
    x = input.to(torch.promote_types(input.dtype, torch.float32))
    square = (x**2).mean(normalization.last_dims(normalized_shape), keepdim=True)
    x = x * (square + (torch.finfo(x.dtype).eps if eps is None else eps)).rsqrt()
    return (x if weight is None else x * weight).to(input.dtype)


# --- over groups of channels ---


@composition(F.group_norm)
def group_norm(
    input: Any,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,  # torch.group_norm has it
) -> Any:
    return normalization.group_norm(input, num_groups, weight, bias, eps)[0]


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


# --- of weights ---


@composition(torch.norm_except_dim)
def norm_except_dim(v: Any, pow: int = 2, dim: int = 0) -> Any:
    """The norm over all dimensions but one; with ``dim=-1``, over all."""
    if dim == -1:
        return v.norm(pow)
    last = v.ndim - 1
    if dim not in (0, last):
        return norm_except_dim(v.transpose(0, dim), pow, 0).transpose(0, dim)
    shape = [v.shape[dim] if d == dim else 1 for d in range(v.ndim)]
    flat, across = (v.reshape(v.shape[0], -1), 1) if dim == 0 else (v.reshape(-1, v.shape[last]), 0)
    return flat.norm(pow, across).view(shape)


@composition(torch._weight_norm)
def weight_norm(v: Any, g: Any, dim: int = 0) -> Any:
    """Directions ``v`` of lengths ``g``: Salimans & Kingma 2016."""
    norm = norm_except_dim(v, 2, dim)
    if g.shape != norm.shape:
        raise RuntimeError(
            f"_weight_norm(): g, of shape {tuple(g.shape)}, must have the shape of the norms of v, {tuple(norm.shape)}"
        )
    return v * (g / norm)
