"""Functions that see a tensor's gradient as the walk passes, and may replace it. The walk runs them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any
from weakref import ref

Hook = Callable[[Any], Any]

_number = count()


class HookHandle:
    """What ``register_hook`` returns: ``remove()`` takes the hook away; so does the end of a ``with`` block."""

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
        retained: a weak reference to the computed Tensor that asked for its gradient, or None.
    """

    __slots__ = ("retained",)

    def __init__(self) -> None:
        self.retained: ref[Any] | None = None
