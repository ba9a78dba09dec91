"""Torch's words for leaves, and for who wants to see a gradient as it passes."""

from __future__ import annotations

from torch.utils.hooks import RemovableHandle

from tapegrad.engine.hooks import Hook, Hooks
from tapegrad.engine.tensor import Tensor, node, wrap


def is_leaf(self: Tensor) -> bool:
    """Whether the tensor was made by the user and not computed by a recorded op."""
    return self.record is None


def detach(self: Tensor) -> Tensor:
    """A tensor with the same storage, and no past."""
    return wrap(self._data.detach(), None)


def requires_grad_(self: Tensor, requires_grad: bool = True) -> Tensor:
    """Set ``requires_grad`` and return the tensor itself."""
    self.requires_grad = requires_grad
    return self


def register_hook(self: Tensor, hook: Hook) -> RemovableHandle:
    """Call ``hook(grad)`` whenever this tensor's gradient has been computed, before it goes further.

    Hooks of one tensor run in the order they were registered. Those of leaves run when the walk is over.

    Args:
        self: a leaf that requires grad, or a computed tensor.
        hook: takes the gradient, a torch tensor of this tensor's shape; returns None, or a gradient of the same
            shape to go on with instead.

    Returns:
        torch's handle, whose ``remove()`` takes the hook away again; so does the end of a ``with`` block.
    """
    owner = node(self)
    if owner is None:
        raise RuntimeError("register_hook: this tensor does not require grad, so it will have no gradient")
    if owner.hooks is None:
        owner.hooks = Hooks()
    handle = RemovableHandle(owner.hooks)
    owner.hooks[handle.id] = hook
    return handle
