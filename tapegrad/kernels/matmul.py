"""Kernels of matmul: a matrix stored by columns gets its gradient by columns, and a batch is folded as in torch."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import kernel
from tapegrad.rules.matmul import folded, left_gradient, linear, right_gradient, rows, two_matrices


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
    return left_gradient(g, other, input.ndim) if other.ndim == 1 else two_matrices.kernels["input"](g, input, other)


def right_factor(g: Any, input: Any, other: Any) -> Any:
    """The gradient of the right factor, which may be a vector."""
    return right_gradient(g, input, other.ndim) if other.ndim == 1 else two_matrices.kernels["other"](g, input, other)


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


# Folded backward, too: one product sums over the whole batch.
kernel(folded, input=folded_left, other=folded_right)


def linear_input(g: Any, input: Any, weight: Any) -> Any:
    """The gradient of what goes through a layer: as the left factor's where it is one matrix."""
    if input.ndim == 2 == weight.ndim:
        return two_matrices.kernels["input"](g, input, weight.t())
    return linear.formulas["input"](g, weight, input.shape)


def linear_weight(g: Any, input: Any, weight: Any) -> Any:
    """The gradient of a layer's weight: torch multiplies by its transpose, and has the transpose's gradient first."""
    if weight.ndim == 2 and input.ndim > 1:
        return two_matrices.kernels["other"](rows(g), rows(input), weight.t()).t()
    return linear.formulas["weight"](g, input, weight.shape)


kernel(linear, input=linear_input, weight=linear_weight)
