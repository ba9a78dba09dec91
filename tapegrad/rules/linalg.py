"""Rules of matrix products."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.op import kernel, rule

# C = A B gives dA = dC B^T and dB = A^T dC; a vector is a matrix of one row (left) or one column (right). Batches that
# were broadcast are the walk's business.
matmul = rule(
    torch.matmul,
    "input, other",
    input=lambda g, other, input_shape: left(g, other, len(input_shape)),
    other=lambda g, input, other_shape: right(g, input, len(other_shape)),
)
# torch folds the batch of a many-matrices-by-one-matrix product into rows: one big product, summed over in one go.
kernel(
    matmul,
    input=lambda g, other, input_shape: folded_left(g, other, input_shape),
    other=lambda g, input, other_shape: folded_right(g, input, other_shape),
)


def left(g: Any, other: Any, ndim: int) -> Any:
    """Gradient of the left factor, which has ``ndim`` dimensions."""
    if other.ndim == 1:
        return g.unsqueeze(-1) * other
    if ndim == 1:
        return (other @ g.unsqueeze(-1)).squeeze(-1)
    return g @ other.mT


def right(g: Any, input: Any, ndim: int) -> Any:
    """Gradient of the right factor, which has ``ndim`` dimensions."""
    if input.ndim == 1:
        return input.unsqueeze(-1) * g.unsqueeze(-2) if ndim > 1 else input * g
    if ndim == 1:
        return (input.mT @ g.unsqueeze(-1)).squeeze(-1)
    return input.mT @ g


def folded_left(g: Any, other: Any, shape: torch.Size) -> Any:
    """``left``, with a batch against a single matrix folded into rows."""
    if len(shape) == 2 and other.ndim > 2:
        return rows(g.mT).mT @ rows(other.mT)
    if len(shape) > 2 and other.ndim == 2:
        return (rows(g) @ other.mT).view(shape)
    return left(g, other, len(shape))


def folded_right(g: Any, input: Any, shape: torch.Size) -> Any:
    """``right``, with a batch against a single matrix folded into rows."""
    if len(shape) == 2 and input.ndim > 2:
        return rows(input).mT @ rows(g)
    if len(shape) > 2 and input.ndim == 2:
        return (rows(g.mT) @ input).view(*shape[:-2], shape[-1], shape[-2]).mT
    return right(g, input, len(shape))


def rows(x: Any) -> Any:
    """All rows of a batch of matrices as one matrix."""
    return x.reshape(-1, x.shape[-1])


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
