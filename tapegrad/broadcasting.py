"""Undoing a broadcast: where the forward pass copied a value, the backward pass sums."""

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
    if g.shape == shape:
        return g
    new = g.ndim - len(shape)
    stretched = [i for i, n in enumerate(shape, new) if n == 1]
    if not stretched and new > 0:
        summed = g.sum(tuple(range(new)))
    else:
        summed = g.sum((*range(new), *stretched), True)
        summed = summed.view(shape) if new > 0 else summed
    if summed.shape != shape:
        raise RuntimeError(
            f"a rule gave a gradient of shape {tuple(g.shape)} for an argument of shape {tuple(shape)}, which does not "
            f"broadcast to it"
        )
    return summed
