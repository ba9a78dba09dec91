"""Undoing a broadcast: where the forward pass copied a value, the backward pass sums."""

from __future__ import annotations

from typing import TypeVar

import torch

T = TypeVar("T")  # a torch.Tensor, or a Tensor when the walk itself is recorded


def unbroadcast(g: T, shape: torch.Size) -> T:
    """Sum a gradient over the dimensions along which its tensor was broadcast.

    Broadcasting puts new dimensions in front and stretches dimensions of size 1. Every copy contributes to the loss,
    so the gradient of the original is the sum over the copies.

    Args:
        g: gradient with respect to the broadcast tensor, of a shape that ``shape`` broadcasts to.
        shape: shape of the tensor before it was broadcast.

    Returns:
        The gradient with respect to the original, of shape ``shape``.
    """
    if g.shape == shape:  # type: ignore[attr-defined]
        return g
    new = g.ndim - len(shape)  # type: ignore[attr-defined]
    stretched = [new + i for i, n in enumerate(shape) if n == 1 and g.shape[new + i] != 1]  # type: ignore[attr-defined]
    summed = g.sum([*range(new), *stretched], keepdim=True)  # type: ignore[attr-defined]
    return summed.view(shape) if new else summed  # type: ignore[no-any-return]
