"""Finding what the user called a tensor: the variables of a scope, read backwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from tapegrad.apply import node
from tapegrad.tensor import Tensor

_DEPTH = 3  # model.layers[0].weight
_LONGEST = 256  # lists longer than this are data, not parameters


def name_nodes(names: Mapping[str, Any]) -> dict[Any, str]:
    """Map each record or leaf that a scope's variables stand for to its name.

    Args:
        names: variable name -> value, for example ``locals()``. Tensors inside lists, dicts and objects get names such
            as ``layers[0].weight``. Of several names of one tensor the shortest path wins, then the first. Names that
            begin with an underscore are passed over.
    """
    found: dict[Any, str] = {}
    level: list[tuple[str, Any]] = [(name, value) for name, value in names.items() if not name.startswith("_")]
    seen: set[int] = set()
    for _ in range(_DEPTH):
        deeper: list[tuple[str, Any]] = []
        for name, value in level:
            if isinstance(value, Tensor):
                place = node(value)
                found.setdefault(value if place is None else place, name)
            elif id(value) not in seen:
                seen.add(id(value))
                deeper.extend(_parts(name, value))
        level = deeper
    return found


def caller_scope(depth: int) -> dict[str, Any]:
    """The variables that the code ``depth`` calls up can see: its own, then its module's."""
    frame = sys._getframe(depth + 1)
    return {**frame.f_locals, **{k: v for k, v in frame.f_globals.items() if k not in frame.f_locals}}


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (list, tuple)):
        if len(value) <= _LONGEST:
            yield from ((f"{name}[{i}]", v) for i, v in enumerate(value))
    elif isinstance(value, dict):
        if len(value) <= _LONGEST:
            yield from ((f"{name}[{k!r}]", v) for k, v in value.items())
    elif not isinstance(value, (type, ModuleType, FunctionType, str, bytes)) and hasattr(value, "__dict__"):
        yield from ((f"{name}.{k}", v) for k, v in vars(value).items() if not k.startswith("_"))
