"""Kernels of matmul: the mathematics of the rules, on raw tensors."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import kernel
from tapegrad.rules.matmul import folded, left, right, rows, two_matrices


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


def left_factor(g: Any, input: Any, other: Any) -> Any:
    """The gradient of the left factor, which may be a vector."""
    return left(g, other, input.ndim) if other.ndim == 1 else two_matrices.kernels["input"](g, input, other)


def right_factor(g: Any, input: Any, other: Any) -> Any:
    """The gradient of the right factor, which may be a vector."""
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


# The same fold backward: the batch is summed over in one go.
kernel(
    folded,
    input=lambda g, input, other: folded_left(g, input, other),
    other=lambda g, input, other: folded_right(g, input, other),
)
