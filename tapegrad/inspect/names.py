"""Finding what the user called a tensor: the variables of a scope, read backwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import FunctionType, GetSetDescriptorType, ModuleType
from typing import Any

import torch

from tapegrad.engine.tensor import Tensor
from tapegrad.engine.tensor import node as node_of

_DEPTH = 3  # model.layers[0].weight
_LONGEST = 256  # lists longer than this are data, not parameters
_MOST = 10_000  # values that are looked at in all
_LONGEST_KEY = 80  # characters
_PASSED_OVER = (type, ModuleType, FunctionType, str, bytes)
_FrameLocals = type(sys._getframe().f_locals)

# What Python itself keeps, whatever a class says of it.
_mro = type.__dict__["__mro__"].__get__
_members = type.__dict__["__dict__"].__get__


def name_nodes(names: Mapping[str, Any]) -> dict[Any, str]:
    """The name of each record or leaf that a scope's variables stand for: of several, the first of ``tensors_in``."""
    found: dict[Any, str] = {}
    for name, value in tensors_in(names):
        if type(value) is Tensor:
            node = node_of(value)
            found.setdefault(value if node is None else node, name)
    return found


def tensors_in(names: Mapping[str, Any], depth: int = _DEPTH) -> Iterator[tuple[str, Tensor | torch.Tensor]]:
    """The Tensors and torch tensors that a scope's variables hold, with their names.

    No code of a user's runs: a scope may hold anything, and most of it has nothing to do with the tape.

    Args:
        names: variable name -> value, for example ``locals()``. Tensors inside lists, dicts and objects get names such
            as ``layers[0].weight``, and come after those with shorter paths. Names that begin with an underscore are
            passed over.
        depth: how long a path may be: with 1, the variables themselves and nothing inside them.

    Raises:
        TypeError: a name is no string.
    """
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"names: a name must be a string, not {name!r}, a {type(name).__name__}")
    level = [(str.__str__(name), value) for name, value in names.items()]
    level = [(name, value) for name, value in level if not name.startswith("_")]
    seen: set[int] = set()
    for further in reversed(range(depth)):
        deeper: list[tuple[str, Any]] = []
        for name, value in level:
            if issubclass(type(value), (Tensor, torch.Tensor)):
                yield name, value
            elif further and id(value) not in seen and len(seen) + len(deeper) < _MOST:
                seen.add(id(value))
                deeper.extend(_parts(name, value))
        level = deeper


def caller_scope(depth: int) -> dict[str, Any]:
    """The variables that the code ``depth`` calls up can see: its own, then its module's."""
    frame = sys._getframe(depth + 1)
    own = _items(frame.f_locals if type(frame.f_locals) is not _FrameLocals else dict(frame.f_locals), sys.maxsize)
    scope = {name: value for name, value in own if type(name) is str}
    for name, value in _items(frame.f_globals, sys.maxsize):
        if type(name) is str:
            scope.setdefault(name, value)
    return scope


def _parts(name: str, value: Any) -> list[tuple[str, Any]]:
    """What a list, dict or object holds, with names; nothing if it holds very much."""
    kind = type(value)
    if issubclass(kind, (list, tuple)):
        items = list.__iter__(value) if issubclass(kind, list) else tuple.__iter__(value)
        length = list.__len__(value) if issubclass(kind, list) else tuple.__len__(value)
        return [(f"{name}[{i}]", v) for i, v in enumerate(items)] if length <= _LONGEST else []
    if issubclass(kind, dict):
        return [(f"{name}[{key}]", v) for k, v in _items(value, _LONGEST) if (key := _key(k))]
    if issubclass(kind, _PASSED_OVER):
        return []
    return [(f"{name}.{k}", v) for k, v in _items(_attributes(value)) if type(k) is str and not k.startswith("_")]


def _items(value: Any, most: int = _MOST) -> list[tuple[Any, Any]]:
    """The items of a dict, all at once, as another thread may change it; none of many, or of what only acts as one."""
    if not issubclass(type(value), dict) or dict.__len__(value) > most:
        return []
    return list(dict.items(value))


def _key(key: Any) -> str:
    """How a key is written, if it is a string, a number or a few of these; else ""."""
    if type(key) is tuple:
        parts = [_key(part) for part in key[:_LONGEST]]
        text = f"({', '.join(parts)})" if all(parts) else ""
    elif type(key) is int:
        text = repr(key) if abs(key) < 2**63 else ""
    else:
        text = repr(key) if type(key) in (str, float, bool, type(None)) and len(str(key)) <= _LONGEST_KEY else ""
    return text if len(text) <= 2 * _LONGEST_KEY else ""


def _attributes(value: Any) -> Any:
    """The dict that Python keeps for an object; None if it keeps none, or the class has something else of that name."""
    for cls in _mro(type(value)):
        own = _members(cls).get("__dict__")
        if own is not None:
            return own.__get__(value) if type(own) is GetSetDescriptorType else None
    return None
