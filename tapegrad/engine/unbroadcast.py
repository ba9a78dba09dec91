"""Undoing a broadcast, where the forward pass copied a value, and an indexing, where it left values out."""

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
        raise RuntimeError(
            f"a rule gave a gradient of shape {tuple(g.shape)} for an argument of shape {tuple(shape)}, which does not "
            f"broadcast to it"
        )
    return summed


def zeros_for(g: Any, shape: torch.Size) -> Any:
    """Zeros like ``g``, of another shape."""
    return g.new_zeros(*shape) if shape else g.new_zeros(())  # torch takes numbers quicker than a torch.Size


class Part:
    """The gradient of a tensor of which only a part was used: zeros but at an index.

    The zeros need not be written for each part: the gradients of a tensor that was taken apart cost no more than the
    gradient of the whole. A kernel may return it.

    Args:
        g: the gradient of the part.
        index: where the part is: integers, slices, None and Ellipsis, so that no element is there twice.
    """

    __slots__ = ("g", "index")

    shape = None  # unlike that of any tensor

    def __init__(self, g: Any, index: Any) -> None:
        self.g = g
        self.index = index

    def whole(self, shape: torch.Size) -> Any:
        """The gradient, written out."""
        zeros = zeros_for(self.g, shape)
        zeros[self.index] = self.g
        return zeros

    def add_to(self, total: torch.Tensor) -> None:
        """Add it to a gradient, in place."""
        total[self.index].add_(self.g)
