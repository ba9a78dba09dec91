"""Functions that see a tensor's gradient as the walk passes, and may replace it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import ref

import torch

if TYPE_CHECKING:
    from tapegrad.tensor import Tensor

Hook = Callable[[Any], Any]

_number = count()


class HookHandle:
    """What ``register_hook`` returns: ``remove()`` takes the hook away; also at the end of a ``with`` block."""

    def __init__(self, hooks: dict[int, Hook], hook: Hook) -> None:
        self._hooks = hooks
        self._key = next(_number)
        hooks[self._key] = hook

    def remove(self) -> None:
        """Take the hook away."""
        self._hooks.pop(self._key, None)

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class Hooks(dict[int, Hook]):
    """The hooks of one tensor, in the order they were registered, and whether it retains its gradient.

    Attributes:
        retained: a weak reference to the computed tensor that asked for its gradient, or None.
    """

    __slots__ = ("retained",)

    def __init__(self) -> None:
        self.retained: ref[Tensor] | None = None

    def run(self, g: Any) -> Any:
        """The gradient after each hook has seen it and maybe replaced it; it is then left where it is retained."""
        for hook in list(self.values()):
            replaced = hook(g)
            if replaced is not None:
                g = _fitting(replaced, g)
        tensor = None if self.retained is None else self.retained()
        if tensor is not None:
            data = g if isinstance(g, torch.Tensor) else g.data
            tensor.grad = data.clone() if tensor.grad is None else tensor.grad + data
        return g


def _fitting(replaced: Any, g: Any) -> Any:
    """What a hook returned, as the walk goes on with it: a Tensor where it is recorded, else a torch tensor."""
    from tapegrad.tensor import Tensor, raw

    if not isinstance(replaced, (Tensor, torch.Tensor)):
        raise TypeError(f"register_hook: a hook returns a gradient or None, not {type(replaced).__name__}")
    was, now = [(tuple(t.shape), t.dtype, t.device) for t in (g, replaced)]
    if was != now:
        raise RuntimeError(
            f"register_hook: a hook must keep the gradient's shape, dtype and device; it was {was[0]} {was[1]} on "
            f"{was[2]}, and is {now[0]} {now[1]} on {now[2]}"
        )
    if not isinstance(g, Tensor):
        return raw(replaced)
    return replaced if isinstance(replaced, Tensor) else Tensor(replaced)
