"""Finding what the user called a tensor: the variables of a scope, read backwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

import torch

from tapegrad.engine.tensor import Tensor
from tapegrad.engine.tensor import node as node_of

_DEPTH = 3  # model.layers[0].weight
_LONGEST = 256  # lists longer than this are data, not parameters


def name_nodes(names: Mapping[str, Any]) -> dict[Any, str]:
    """The name of each record or leaf that a scope's variables stand for: of several, the first of ``tensors_in``."""
    found: dict[Any, str] = {}
    for name, value in tensors_in(names):
        if isinstance(value, Tensor):
            node = node_of(value)
            found.setdefault(value if node is None else node, name)
    return found


def tensors_in(names: Mapping[str, Any]) -> Iterator[tuple[str, Tensor | torch.Tensor]]:
    """The Tensors and torch tensors that a scope's variables hold, with their names.

    Args:
        names: variable name -> value, for example ``locals()``. Tensors inside lists, dicts and objects get names such
            as ``layers[0].weight``, and come after those with shorter paths. Names that begin with an underscore are
            passed over.

    Raises:
        TypeError: there are no names, or one is no string.
    """
    if not isinstance(names, Mapping):
        raise TypeError(
            f"names: expected a dict of names and what they stand for, such as locals() or {{'x': x}}, not a "
            f"{type(names).__name__}"
        )
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"names: a name must be a string, not {name!r}, of type {type(name).__name__}")
    level: list[tuple[str, Any]] = [(name, value) for name, value in names.items() if not name.startswith("_")]
    seen: set[int] = set()
    for _ in range(_DEPTH):
        deeper: list[tuple[str, Any]] = []
        for name, value in level:
            if isinstance(value, (Tensor, torch.Tensor)):
                yield name, value
            elif id(value) not in seen:
                seen.add(id(value))
                deeper.extend(_parts(name, value))
        level = deeper


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
