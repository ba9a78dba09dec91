"""Rules of matrix products."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import rule

# C = A B gives dA = dC B^T and dB = A^T dC.
two_matrices = rule(
    torch.matmul,
    "input, other",
    input=lambda g, other: g @ other.mT,
    other=lambda g, input: input.mT @ g,
)


def left_gradient(g: Any, other: Any, ndim: int) -> Any:
    """Gradient of the left factor, which has ``ndim`` dimensions."""
    if other.ndim == 1:
        return g.unsqueeze(-1) * other
    return (g.unsqueeze(-2) @ other.mT).squeeze(-2) if ndim == 1 else g @ other.mT


def right_gradient(g: Any, input: Any, ndim: int) -> Any:
    """Gradient of the right factor, which has ``ndim`` dimensions."""
    if input.ndim == 1:
        return input.unsqueeze(-1) * g.unsqueeze(-2) if ndim > 1 else input * g
    return (input.mT @ g.unsqueeze(-1)).squeeze(-1) if ndim == 1 and input.ndim > 2 else input.mT @ g


# A vector is a matrix of one row (left) or one column (right). Batches that were broadcast are the walk's business.
matmul = rule(
    torch.matmul,
    "input, other",
    input=lambda g, other, input_shape: left_gradient(g, other, len(input_shape)),
    other=lambda g, input, other_shape: right_gradient(g, input, len(other_shape)),
)


def rows(x: Any) -> Any:
    """All rows of a batch of matrices as one matrix: a product with a single matrix is one big product."""
    return x.reshape(x.shape[:-1].numel(), x.shape[-1])


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
    input=lambda g, other, input_shape: left_gradient(g, other, len(input_shape)),
    other=lambda g, input, other_shape: right_gradient(g, input, len(other_shape)),
)
# y = x W^T + b
linear = rule(
    F.linear,
    "input, weight, bias=None",
    input=lambda g, weight, input_shape: g @ weight if weight.ndim == 2 else g.unsqueeze(-1) * weight,
    weight=lambda g, input, weight_shape: (
        rows(g).mT @ rows(input) if len(weight_shape) == 2 and input.ndim > 1 else g.unsqueeze(-1) * input
    ),
    bias=lambda g: g,
)
