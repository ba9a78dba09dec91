"""Accumulation: the gradients that the nodes of a tape have so far, and those that leaves keep."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import starmap
from sys import getrefcount
from threading import RLock
from typing import Any

import torch

from tapegrad.engine.tape import shape_text
from tapegrad.engine.tensor import Tensor
from tapegrad.engine.unbroadcast import unbroadcast
from tapegrad.engine.versions import refuse_other_shapes
from tapegrad.errors import misfit, not_one_each


class Part:
    """The gradient of a tensor of which only a part was used: zeros but at an index.

    The zeros need not be written for each part: the gradients of a tensor that was taken apart cost no more than the
    gradient of the whole. A kernel may return it.

    Args:
        g: the gradient of the part.
        index: where the part is: integers, slices, None and Ellipsis, so that no element is there twice.
    """

    __slots__ = ("g", "index")

    shape = None  # equal to no tensor's, so that what is given is looked at

    def __init__(self, g: Any, index: Any) -> None:
        self.g, self.index = g, index

    def whole(self, shape: torch.Size) -> Any:
        """The gradient, written out."""
        zeros = zeros_for(self.g, shape)
        zeros[self.index] = self.g
        return zeros


def zeros_for(g: Any, shape: torch.Size) -> Any:
    """Zeros like ``g``, of another shape."""
    return g.new_zeros(*shape) if shape else g.new_zeros(())  # torch takes numbers quicker than a torch.Size


def _counted(pending: dict[Any, Any], node: Any) -> int:
    """How many references Python counts to a gradient that a local variable holds in place of ``pending``."""
    g, pending[node] = pending[node], None
    return getrefcount(g)


ALONE = _counted({0: object()}, 0)  # where nobody else holds it
_held = torch.empty(1)
# What torch counts of a storage that one tensor uses: some versions count this very expression.
SOLE = torch._C._storage_Use_Count(_held.untyped_storage()._cdata)
if _counted({0: _held}, 0) <= ALONE:
    raise ImportError("tapegrad counts references to tell a shared gradient from its own, and this Python does not")


LARGE = 4096  # elements from which it pays to ask whether a sum may be made in place, as torch does


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

    def give(self, node: Any, part: Any, record: Any = None, argument: str = "") -> bool:
        """Give a node its part of a gradient, and say whether it is the first that the node gets.

        Args:
            node: whose gradient it is.
            part: a tensor that unbroadcasts to the node's shape, or a Part.
            record: whose rule has computed it, for messages.
            argument: which of its gradients it is, likewise.

        Raises:
            TypeError, RuntimeError: it is no tensor, or does not fit.
        """
        pending, sums = self.pending, self.sums
        try:
            fits = part.shape == node.shape and part.dtype is node.dtype
        except AttributeError as error:
            raise _misfit(node, part, record, argument) from error
        if not fits:
            if type(part) is not Part:
                part = fitted(part, node, record, argument)
            elif node in sums:
                pending[node][part.index].add_(part.g)
                return False
            else:
                part = part.whole(node.shape).to(node.dtype)
                if node not in pending:
                    sums.add(node)  # the zeros are made here
        if node not in pending:
            pending[node] = part
            return True
        if node in sums:
            pending[node].add_(part)
            return False
        g, pending[node] = pending[node], None  # as in _counted
        alone = self.in_place and getrefcount(g) <= ALONE and g.numel() >= LARGE and _has_own_storage(g)
        pending[node] = g.add_(part) if alone else g + part
        if self.in_place:
            sums.add(node)
        return False


def _has_own_storage(g: Any) -> bool:
    """Whether a gradient that Python refers to once is nobody else's buffer for torch either."""
    return (
        type(g) is torch.Tensor
        and torch._C._has_storage(g)
        and g.is_contiguous()
        and g._use_count() == 1  # type: ignore[attr-defined]  # torch may hold it too; its stubs leave this out
        and torch._C._storage_Use_Count(g.untyped_storage()._cdata) == SOLE
    )


def fitted(part: Any, node: Any, record: Any, argument: str) -> Any:
    """What a rule has given, in its node's shape and dtype; refused if it is no tensor, or cannot be."""
    shape = node.shape
    try:
        part = unbroadcast(part, shape) if part.shape != shape else part
        if part.dtype is node.dtype:
            return part
        if not node.dtype.is_complex and part.dtype.is_complex and record.dtype.is_complex:
            part = part.real  # dL = Re(g dx), and dx is real
        if node.dtype.is_complex or not part.dtype.is_complex:
            return part.to(node.dtype)
    except (AttributeError, RuntimeError) as error:
        raise _misfit(node, part, record, argument) from error
    raise _misfit(node, part, record, argument)


def conjugated(g: Any) -> Any:
    """Torch's gradient for what the walk carries, and the other way: complex numbers are conjugated."""
    return g.conj_physical() if g.is_complex() else g


def one_each(parts: Any, nodes: tuple[Any, ...], record: Any, argument: str) -> Any:
    """The gradients of a sequence of tensors, if there is one for each."""
    if not isinstance(parts, (tuple, list)) or len(parts) != len(nodes):
        raise not_one_each(f"rule for {record.op.name}, gradient of {argument}", parts, len(nodes))
    return parts


def _misfit(node: Any, part: Any, record: Any, argument: str) -> Exception:
    """What to say of a rule that gave no gradient, or one that does not fit."""
    if record is not None:
        refuse_other_shapes([node], record.rank)
    return misfit(f"rule for {record.op.name}, gradient of {argument}" if record is not None else "a rule", part, node)


def own(pending: dict[Any, Any]) -> None:
    """Copy the gradients of leaves that are somebody else's buffer too, or views: they outlive the walk.

    The caller drops its own references first, so that only outside holders are counted. In inference mode views do not
    tell that they are. What a rule or a hook has taken ``.detach()`` of, nobody can tell; in torch neither.
    """
    for leaf in pending:
        g, pending[leaf] = pending[leaf], None  # as in _counted
        if type(g) is Tensor:  # a formula has worked with one
            g = g._data.clone()
        elif getrefcount(g) > ALONE or g._is_view() or g.is_inference():
            g = g.clone(memory_format=torch.contiguous_format)
        # A number may have met tensors of another device; a leaf without numbers only stands for one.
        pending[leaf] = g if g.ndim or leaf._data.is_meta else g.to(leaf._data.device)


_accumulating = RLock()  # leaves may be shared between threads
_exhaust = deque[Any](maxlen=0).extend
_set_grad = vars(torch._C.TensorBase)["grad"].__set__  # in C, so that no signal is looked at in between


def _is_fixed(grad: torch.Tensor) -> bool:
    """Whether torch would refuse to add to a tensor in place."""
    outlived = grad.is_inference() and not torch.is_inference_mode_enabled()
    return outlived or torch._debug_has_internal_overlap(grad) == 1


# Hands torch leaves their gradients, for the leaves that stand for them; nn/, which makes these, sets it.
deliver: Callable[[list[tuple[torch.Tensor, torch.Tensor]]], None] | None = None


def accumulate(gradients: dict[Any, Any]) -> None:
    """Add gradients to their leaves' ``grad``, in place, as torch does, so that whoever holds it sees the sum.

    All leaves get theirs, or none does: also if the user interrupts. Python looks for signals when a call returns, so
    there is one call for the sums, and one for the leaves that had no gradient, and neither goes without the other.

    Raises:
        RuntimeError: a leaf is none any more, or nothing can be added to its ``grad``.
    """
    with _accumulating:
        theirs: list[tuple[torch.Tensor, torch.Tensor]] = []
        new: list[tuple[torch.Tensor, torch.Tensor]] = []
        sums: list[torch.Tensor] = []
        parts: list[torch.Tensor] = []
        for leaf, g in gradients.items():
            if type(leaf) is not Tensor:  # a computed target, whose gradient is where it retains it
                continue
            if leaf.record is not None:
                raise RuntimeError(
                    f"backward: a leaf, of shape {shape_text(leaf.shape)}, was changed in place after it was used, by "
                    f"{leaf.record.op.name}, so that it is no leaf any more; change a copy (x.clone())"
                )
            if not leaf._requires_grad:  # it was switched off since the forward pass
                continue
            g = g if leaf.hooks is None else g.clone()  # a hook may have kept or returned what others hold
            holder = leaf._holder
            grad = holder.grad
            if holder is not leaf._data:
                theirs.append((holder, g))
            elif grad is None:
                new.append((holder, g))
            elif _is_fixed(grad):
                raise RuntimeError(
                    f"backward: nothing can be added in place to grad, of shape {shape_text(g.shape)}, for it is an "
                    f"expanded tensor, or of torch.inference_mode(); set grad = grad.clone() first"
                )
            else:
                sums.append(grad)
                parts.append(g)
        if deliver is not None and theirs:
            deliver(theirs)
        give_new = starmap(_set_grad, new)
        try:
            if sums:
                torch._foreach_add_(sums, parts)
        finally:
            _exhaust(give_new)
