"""Rules of matrix products."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import kernel, rule
from tapegrad.torch_api.composition import composition

# C = A B gives dA = dC B^T and dB = A^T dC.
two_matrices = rule(
    torch.matmul,
    "input, other",
    input=lambda g, other: g @ other.mT,
    other=lambda g, input: input.mT @ g,
)
# A vector is a matrix of one row (left) or one column (right). Batches that were broadcast are the walk's business.
matmul = rule(
    torch.matmul,
    "input, other",
    input=lambda g, other, input_shape: left(g, other, len(input_shape)),
    other=lambda g, input, other_shape: right(g, input, len(other_shape)),
)


def left(g: Any, other: Any, ndim: int) -> Any:
    """Gradient of the left factor, which has ``ndim`` dimensions."""
    if other.ndim == 1:
        return g.unsqueeze(-1) * other
    return (g.unsqueeze(-2) @ other.mT).squeeze(-2) if ndim == 1 else g @ other.mT


def right(g: Any, input: Any, ndim: int) -> Any:
    """Gradient of the right factor, which has ``ndim`` dimensions."""
    if input.ndim == 1:
        return input.unsqueeze(-1) * g.unsqueeze(-2) if ndim > 1 else input * g
    return (input.mT @ g.unsqueeze(-1)).squeeze(-1) if ndim == 1 and input.ndim > 2 else input.mT @ g


def by_columns(x: torch.Tensor) -> bool:
    """Whether a matrix is the transpose of a contiguous one."""
    rows, columns = x.stride()
    return rows == 1 and columns == x.shape[0]


# The gradient of a matrix that is stored by columns is computed by columns, as in torch.
kernel(
    two_matrices,
    input=lambda g, input, other: torch.mm(other, g.mT).mT if by_columns(input) else torch.mm(g, other.mT),
    other=lambda g, input, other: torch.mm(g.mT, input).mT if by_columns(other) else torch.mm(input.mT, g),
)


def _folded(input: Any, other: Any) -> Any:
    """``input @ other``, a batch against a single matrix or vector, as one big product of all the batch's rows."""
    if input.ndim > 2:
        return (rows(input) @ other).view(*input.shape[:-1], *other.shape[1:])
    out = (rows(other.mT) @ input.t()).view(*other.mT.shape[:-1], *input.shape[:-1])
    return out.mT.contiguous() if input.ndim == 2 else out


_folded.__name__ = "matmul"
folded = rule(
    _folded,
    "input, other",
    input=lambda g, other, input_shape: left(g, other, len(input_shape)),
    other=lambda g, input, other_shape: right(g, input, len(other_shape)),
)
# The same fold backward: the batch is summed over in one go.
kernel(
    folded,
    input=lambda g, input, other: folded_left(g, input, other),
    other=lambda g, input, other: folded_right(g, input, other),
)


def left_factor(g: Any, input: Any, other: Any) -> Any:
    return left(g, other, input.ndim) if other.ndim == 1 else two_matrices.kernels["input"](g, input, other)


def right_factor(g: Any, input: Any, other: Any) -> Any:
    return right(g, input, other.ndim) if other.ndim == 1 else two_matrices.kernels["other"](g, input, other)


def folded_left(g: Any, input: Any, other: Any) -> Any:
    """Gradient of the left factor of a folded product."""
    if input.ndim > 2:
        return left_factor(rows(g) if other.ndim == 2 else g.reshape(-1), rows(input), other).view(input.shape)
    return right_factor(rows(g.mT) if input.ndim == 2 else g.reshape(-1), rows(other.mT), input.t()).t()


def folded_right(g: Any, input: Any, other: Any) -> Any:
    """Gradient of the right factor of a folded product."""
    if input.ndim > 2:
        return right_factor(rows(g) if other.ndim == 2 else g.reshape(-1), rows(input), other)
    turned = other.mT
    return left_factor(rows(g.mT) if input.ndim == 2 else g.reshape(-1), rows(turned), input.t()).view(turned.shape).mT


@composition(torch.matmul)
def batched(input: Any, other: Any) -> Any:
    """Products of more than two dimensions, by the same steps as torch, for the bits."""
    if input.ndim == 3 == other.ndim and input.shape[0] != other.shape[0]:
        if input.shape[0] == 1 and requires_grad(input):
            return batched(input.squeeze(0), other)
        if other.shape[0] == 1 and requires_grad(other):
            return batched(input, other.squeeze(0))
    if input.ndim > 2 >= other.ndim and (requires_grad(other) or stacked(input)):
        return folded(input, other)
    if other.ndim > 2 >= input.ndim and (requires_grad(input) or (input.ndim == 1 and stacked(other.mT))):
        return folded(input, other)
    return two_matrices(input, other) if input.ndim == 2 == other.ndim else matmul(input, other)


def rows(x: Any) -> Any:
    """All rows of a batch of matrices as one matrix: a product with a single matrix is one big product."""
    return x.reshape(x.shape[:-1].numel(), x.shape[-1])


def requires_grad(x: Any) -> bool:
    """Whether a factor gets a gradient: torch asks, and folds a batch into rows to save memory in the backward pass."""
    return bool(x.requires_grad)


def stacked(x: Any) -> bool:
    """Whether the rows of a batch of matrices lie at equal distances, so that no copy is needed to make them one."""
    strides, shape = x.stride(), x.shape
    return x.numel() == 0 or all(strides[i] == strides[i + 1] * shape[i + 1] for i in range(len(shape) - 2))


# y = x W^T + b
linear = rule(
    F.linear,
    "input, weight, bias=None",
    input=lambda g, weight, input_shape: g @ weight if weight.ndim == 2 else g.unsqueeze(-1) * weight,
    weight=lambda g, input, weight_shape: (
        g.reshape(-1, g.shape[-1]).mT @ input.reshape(-1, input.shape[-1])
        if len(weight_shape) == 2 and input.ndim > 1
        else g.unsqueeze(-1) * input
    ),
    bias=lambda g: g,
)


@composition(F.linear)
def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    if input.ndim <= 2 or input.is_contiguous():
        return linear(input, weight, bias)
    out = input @ weight.t()
    return out if bias is None else out + bias
