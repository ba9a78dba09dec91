"""Undoing a broadcast: where the forward pass copied a value, the backward pass sums over the copies."""

from __future__ import annotations

from typing import Any

import torch


def unbroadcast(g: Any, shape: torch.Size) -> Any:
    """Sum a gradient over the dimensions along which its tensor was broadcast.

    Broadcasting puts new dimensions in front and stretches dimensions of size 1. Every copy contributes to the loss,
    so the gradient of the original is the sum over the copies.

    Args:
        g: gradient with respect to the broadcast tensor, of a shape that ``shape`` broadcasts to; a torch tensor, or a
            Tensor when the walk is recorded.
        shape: shape of the tensor before it was broadcast.

    Returns:
        The gradient with respect to the original, of shape ``shape``.

    Raises:
        RuntimeError: ``shape`` does not broadcast to the shape of ``g``: a rule is wrong.
    """
    new = g.ndim - len(shape)
    if not new and shape.count(1) == 1:
        summed = g.sum(shape.index(1), True)  # a row or a column, most likely
    elif new == 1 and 1 not in shape:
        summed = g.sum(0)
    else:
        dims = [*range(new), *[i for i, n in enumerate(shape, new) if n == 1]]
        summed = g.sum(dims, True) if dims else g
        if new > 0 and summed.numel() == shape.numel():
            summed = summed.view(shape)
    if summed.shape != shape:
        raise RuntimeError(f"a gradient of shape {tuple(g.shape)} does not come from broadcasting {tuple(shape)}")
    return summed
