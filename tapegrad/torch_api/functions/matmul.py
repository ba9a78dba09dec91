"""Matrix products of any number of dimensions, broken into the steps that torch takes, for the bits."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.rules.matmul import folded, linear, matmul, two_matrices
from tapegrad.torch_api.composition import composition


def requires_grad(x: Any) -> bool:
    """Whether a factor gets a gradient: torch asks, and folds a batch into rows to save memory in the backward pass."""
    return bool(x.requires_grad)


def has_even_rows(x: Any) -> bool:
    """Whether the rows of a batch of matrices lie at equal distances, so that no copy is needed to make them one."""
    strides, shape = x.stride(), x.shape
    return x.numel() == 0 or all(strides[i] == strides[i + 1] * shape[i + 1] for i in range(len(shape) - 2))


@composition(torch.matmul, torch.linalg.matmul)
def batched(input: Any, other: Any) -> Any:
    """Products of more than two dimensions, by the same steps as torch, for the bits."""
    if input.ndim == 3 == other.ndim and input.shape[0] != other.shape[0]:
        if input.shape[0] == 1 and requires_grad(input):
            return batched(input.squeeze(0), other)
        if other.shape[0] == 1 and requires_grad(other):
            return batched(input, other.squeeze(0))
    if input.ndim > 2 >= other.ndim and (requires_grad(other) or has_even_rows(input)):
        return folded(input, other)
    if other.ndim > 2 >= input.ndim and (requires_grad(input) or (input.ndim == 1 and has_even_rows(other.mT))):
        return folded(input, other)
    return two_matrices(input, other) if input.ndim == 2 == other.ndim else matmul(input, other)


@composition(F.linear)
def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    if input.ndim <= 2 or input.is_contiguous():
        return linear(input, weight, bias)
    out = input @ weight.t()
    return out if bias is None else out + bias
