"""Functions that see a tensor's gradient as the walk passes, and may replace it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

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


def run_hooks(hooks: Mapping[int, Hook], g: Any) -> Any:
    """The gradient after each hook, in the order they were registered, has seen it and maybe replaced it."""
    for hook in list(hooks.values()):
        replaced = hook(g)
        if replaced is not None:
            if replaced.shape != g.shape:
                raise RuntimeError(
                    f"register_hook: a hook replaced a gradient of shape {tuple(g.shape)} with one of shape "
                    f"{tuple(replaced.shape)}; it must keep the shape"
                )
            g = replaced
    return g
