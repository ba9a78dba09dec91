"""Accumulation: the gradients that the nodes of a tape have so far, and those that leaves keep."""

from __future__ import annotations

from sys import getrefcount
from typing import TYPE_CHECKING, Any

import torch

from tapegrad.broadcasting import Part, unbroadcast
from tapegrad.tape import shape_text

if TYPE_CHECKING:
    from tapegrad.tensor import Tensor


# What getrefcount says of a local variable that nothing else refers to.
ALONE = (lambda g: getrefcount(g))(object())


class Gradients:
    """The gradients that nodes have so far.

    Args:
        in_place: whether sums that are made here may be added to in place; not if the walk is recorded.

    Attributes:
        pending: node -> its gradient, so far.
        sums: the nodes whose pending gradient was made here, and is nobody else's buffer.
    """

    def __init__(self, in_place: bool) -> None:
        self.in_place = in_place
        self.pending: dict[Any, Any] = {}
        self.sums: set[Any] = set()

    def give(self, place: Any, part: Any) -> bool:
        """Give a node its part of a gradient, None for zeros; returns whether it is the first that the node gets."""
        pending, sums = self.pending, self.sums
        if part is None:
            return False
        if part.shape != place.shape:
            if type(part) is not Part:
                part = unbroadcast(part, place.shape)
            elif place in sums:
                part.add_to(pending[place])
                return False
            else:
                part = part.whole(place.shape)
                if place not in pending:
                    sums.add(place)  # the zeros are made here
        if part.dtype is not place.dtype:
            part = part.to(place.dtype)
        if place not in pending:
            pending[place] = part
            return True
        if place in sums:
            pending[place].add_(part)
        else:
            pending[place] = pending[place] + part
            if self.in_place:
                sums.add(place)
        return False

    def take(self, place: Any) -> Any:
        """The gradient of a node, which is complete, or None if it got none."""
        return self.pending.pop(place, None)


def accumulate(leaf: Tensor, g: torch.Tensor) -> None:
    """Add a gradient to a leaf's ``grad``; in place, as torch does, so that whoever holds it sees the sum."""
    if leaf.record is not None:
        raise RuntimeError(
            f"backward: a leaf, of shape {shape_text(leaf.shape)}, was changed in place after it was used, by "
            f"{leaf.record.op.name}, so that it is no leaf any more; change a copy (x.clone())"
        )
    if not leaf._requires_grad:  # switched off since
        return
    if leaf.hooks is not None:
        g = g.clone()  # a hook may have kept what it saw, or have given what somebody else keeps
    if leaf._grad is None:
        leaf._grad = g
    elif leaf._grad.shape == g.shape:
        leaf._grad.add_(g)
    else:
        raise RuntimeError(
            f"backward: a gradient of shape {shape_text(g.shape)} cannot be added to grad, which has shape "
            f"{shape_text(leaf._grad.shape)}; set grad = None after giving a tensor data of another shape"
        )
