"""The names of arguments: torch takes numpy's as well."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from tapegrad.engine.op import Op

RENAMED = {"axis": "dim", "keepdims": "keepdim", "x": "input", "self": "input"}


def torch_names(kwargs: dict[str, Any], entry: Callable[..., Any] | None = None) -> dict[str, Any]:
    """Keyword arguments under the names that rules know, but for ``entry``'s own: vecdot has an x."""
    if RENAMED.keys().isdisjoint(kwargs):
        return kwargs
    own: Any = entry.parameters if isinstance(entry, Op) else () if entry is None else _argument_names(entry)
    return {name if name in own else RENAMED.get(name, name): value for name, value in kwargs.items()}


@cache
def _argument_names(entry: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(entry).parameters)
