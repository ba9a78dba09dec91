"""torch's functions behind its functions: normalizations with their statistics, gradients with names of their own."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.rules.normalization import batch_norm, layer_norm
from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.raw import raw

# --- normalizations; their statistics take no gradient, as in torch ---


@composition(torch.native_layer_norm)
def native_layer_norm(input: Any, normalized_shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    return layer_norm(input, tuple(normalized_shape), weight, bias, eps)


@composition(torch.native_batch_norm)
def native_batch_norm(
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, momentum: float,
    eps: float,
) -> Any:  # fmt: skip
    return batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)


@composition(torch._native_batch_norm_legit)
def native_batch_norm_legit(input: Any, weight: Any, bias: Any, *options: Any, **named: Any) -> Any:
    """With running statistics, or without."""
    if len(options) + len(named) == 3:
        return native_batch_norm(input, weight, bias, None, None, *options, **named)
    return native_batch_norm(input, weight, bias, *options, **named)


@composition(torch.ops.aten._batch_norm_with_update)
def batch_norm_with_update(
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, momentum: float, eps: float
) -> Any:
    reserve = torch.empty(0, dtype=torch.uint8, device=input.device)
    return (*native_batch_norm(input, weight, bias, running_mean, running_var, True, momentum, eps), reserve)


# --- gradients ---


def as_input(gradient: Any, input_dtype: torch.dtype) -> Any:
    """Of an input of half precision, whose softmax was computed in float32; torch leaves others as they are."""
    return gradient.to(input_dtype) if input_dtype in (torch.float16, torch.bfloat16) else gradient


@composition(torch.ops.aten._softmax_backward_data, torch._softmax_backward_data)
def softmax_backward_data(grad_output: Any, output: Any, dim: int, input_dtype: torch.dtype) -> Any:
    return as_input((grad_output - (grad_output * output).sum(dim, keepdim=True)) * output, input_dtype)


@composition(torch.ops.aten._log_softmax_backward_data, torch._log_softmax_backward_data)
def log_softmax_backward_data(grad_output: Any, output: Any, dim: int, input_dtype: torch.dtype) -> Any:
    return as_input(grad_output - output.exp() * grad_output.sum(dim, keepdim=True), input_dtype)


@composition(torch.ops.aten.max_pool2d_with_indices_backward.default, torch.ops.aten.max_pool2d_with_indices_backward)
def max_pool2d_with_indices_backward(
    grad_output: Any, input: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    indices: Any,
) -> Any:  # fmt: skip
    *batch, height, width = input.shape
    zeros = torch.zeros(*batch, height * width, dtype=grad_output.dtype, device=grad_output.device)
    back = torch.scatter_add(zeros, -1, raw(indices).flatten(-2), grad_output.flatten(-2))
    # As in torch, it depends on the input by jumps alone.
    return torch.where(torch.ones_like(raw(input), dtype=torch.bool), back.view(input.shape), input)


@composition(torch.ops.aten.native_dropout_backward.default, torch.ops.aten.native_dropout_backward)
def native_dropout_backward(grad_output: Any, mask: Any, scale: float) -> Any:
    return grad_output * raw(mask) * scale


# --- indices that reach outside ---


def inside(mask: Any, indices: Any, shape: Any) -> Any:
    """The indices, 0 where the mask says that they are not to be looked at."""
    return tuple([i if i is None else i.where(mask, 0).clamp(0, n - 1) for i, n in zip(indices, shape, strict=False)])


@composition(torch._unsafe_masked_index, torch.ops.aten._unsafe_masked_index)
def unsafe_masked_index(input: Any, mask: Any, indices: Any, fill: Any) -> Any:
    index = tuple([slice(None) if i is None else i for i in inside(raw(mask), raw(indices), input.shape)])
    return input[index].masked_fill(~raw(mask), fill)


@composition(torch._unsafe_masked_index_put_accumulate, torch.ops.aten._unsafe_masked_index_put_accumulate)
def unsafe_masked_index_put_accumulate(input: Any, mask: Any, indices: Any, values: Any) -> Any:
    index = inside(raw(mask), raw(indices), input.shape)
    return torch.index_put(input, index, values.masked_fill(~raw(mask), 0), True)


# --- resizing with antialiasing: each way a matrix, whose rows torch's own function gives ---


def resampling(n: int, m: int, align_corners: bool, scale: Any, like: Any) -> torch.Tensor:
    """The matrix that resizes ``n`` elements to ``m``: torch's answer to the unit vectors.

    They stand side by side, and one of zeros with them, for with a width of 1 torch 2.13 takes the first row for all.
    """
    unit = torch.eye(n, n + 1, dtype=like.dtype, device=like.device).view(1, 1, n, n + 1)
    resized: torch.Tensor = torch.ops.aten._upsample_bilinear2d_aa(unit, [m, n + 1], align_corners, scale, None)
    return resized[0, 0, :, :n]


@composition(torch.ops.aten._upsample_bilinear2d_aa)
def upsample_bilinear2d_aa(
    input: Any, output_size: Any, align_corners: bool, scales_h: Any = None, scales_w: Any = None,
    scale_factors: Any = None,
) -> Any:  # fmt: skip
    if scale_factors is not None:
        scales_h, scales_w = scale_factors
        output_size = [int(n * scale) for n, scale in zip(input.shape[-2:], scale_factors, strict=True)]
    down = resampling(input.shape[-2], output_size[0], align_corners, scales_h, raw(input))
    across = resampling(input.shape[-1], output_size[1], align_corners, scales_w, raw(input))
    return down @ input @ across.t()
