"""Finding what the user called a tensor: the variables of a scope, read backwards."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from types import CodeType, FrameType, FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any

import torch

from tapegrad.engine.tensor import Tensor
from tapegrad.engine.tensor import node as node_of

_DEPTH = 3  # model.layers[0].weight; in modules, any depth
_COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}
_LONGEST = 256  # lists longer than this are data, not parameters
_MOST = 10_000  # values that are looked at in all
_LONGEST_KEY = 80  # characters
_PASSED_OVER = (type, ModuleType, FunctionType, str, bytes)
_DESCRIPTORS = (GetSetDescriptorType, MemberDescriptorType)  # Python's own; the latter of SimpleNamespace
_FrameLocals = type(sys._getframe().f_locals)

# What Python itself keeps, whatever a class says of it.
_mro = type.__dict__["__mro__"].__get__
_members = type.__dict__["__dict__"].__get__
_WRAPPERS = {
    "tapegrad.nn.quiet",
    "tapegrad.tracebacks",
}  # modules whose functions stand between a public one and its caller


class Scope(dict[str, Any]):
    """Variables, and the code that they belong to.

    Args:
        variables: name -> value.
        code: what computed them, for its lines to be quoted; None if there is none to be read.
        given: whether the user has given the variables: then their names go before those that a tape has.
        cells: in a notebook, the cells that ran.
    """

    def __init__(
        self, variables: Mapping[str, Any], code: CodeType | None, given: bool, cells: Collection[str] = ()
    ) -> None:
        super().__init__(variables)
        self.code, self.given, self.cells = code, given, tuple(cells)


def scope_of(names: Mapping[str, Any] | None, depth: int = 1) -> Scope:
    """The variables that the user gave as ``names=``, or else those that the code ``depth`` calls up can see.

    Those are its own, then its module's.
    """
    if isinstance(names, Scope):
        return names
    frame = sys._getframe(depth + 1)
    while frame.f_back is not None and dict.get(frame.f_globals, "__name__") in _WRAPPERS:
        frame = frame.f_back
    seen: dict[str, Any] = {}
    while frame.f_code.co_name in _COMPREHENSIONS and frame.f_back is not None:  # a scope of its own, until Python 3.12
        seen = {**_locals(frame), **seen}
        frame = frame.f_back
    cells = dict.get(frame.f_globals, "In")
    cells = [c for c in list.__iter__(cells) if type(c) is str] if type(cells) is list else []
    if names is not None:
        return Scope(checked(names), frame.f_code, True, cells)
    module = {name: value for name, value in _items(frame.f_globals, sys.maxsize) if type(name) is str}
    own = _locals(frame)
    return Scope({**own, **_without(seen, own), **_without(module, {**own, **seen})}, frame.f_code, False, cells)


def _locals(frame: FrameType) -> dict[str, Any]:
    found = frame.f_locals if type(frame.f_locals) is not _FrameLocals else dict(frame.f_locals)
    return {name: value for name, value in _items(found, sys.maxsize) if type(name) is str}


def _without(scope: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in scope.items() if name not in other}


def checked(names: Any) -> Mapping[str, Any]:
    """What a user gave as ``names=``, if it is of the right types.

    Raises:
        TypeError: it is no dict, or a name in it is no string.
    """
    if not isinstance(names, Mapping):
        raise TypeError(
            f"names: expected a dict of names and what they stand for, such as locals() or {{'x': x}}, not a "
            f"{type(names).__name__}"
        )
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"names: a name must be a string, not {name!r}, a {type(name).__name__}")
    return names


def name_nodes(names: Mapping[str, Any], last: Collection[str] = ()) -> dict[Any, str]:
    """The name of each record or leaf that a scope's variables stand for: of several, the first of ``tensors_in``.

    Args:
        names: variable name -> value.
        last: variables that give their name only to what has no other, such as those of loops.
    """
    found: dict[Any, str] = {}
    for part in (
        {k: v for k, v in names.items() if k not in last},
        {k: v for k, v in names.items() if k in last},
    ):
        for name, value in tensors_in(part):
            if type(value) is Tensor:
                node = node_of(value)
                found.setdefault(value if node is None else node, name)
    return found


def merged(tape_names: Mapping[Any, str], scope: Mapping[str, Any]) -> dict[Any, str]:
    """The names that a tape has, and those of a scope.

    Names that the user gave go first; those of the calling code are for nodes that have none.
    """
    named = name_nodes(scope)
    first, second = (tape_names, named) if isinstance(scope, Scope) and not scope.given else (named, tape_names)
    taken = set(first.values())
    return {**{node: name for node, name in second.items() if node not in first and name not in taken}, **first}


def tensors_in(names: Mapping[str, Any], depth: int = _DEPTH) -> Iterator[tuple[str, Tensor | torch.Tensor]]:
    """The Tensors and torch tensors that a scope's variables hold, with their names.

    No code of a user's runs: a scope may hold anything, and most of it has nothing to do with the tape.

    Args:
        names: variable name -> value, for example ``locals()``. Tensors inside lists, dicts and objects get names such
            as ``layers[0].weight``, and come after those with shorter paths; those of a ``torch.nn.Module`` the names
            that it has for them, such as ``layers.0.weight``. Names that begin with an underscore are passed over.
        depth: how long a path may be: with 1, the variables themselves and nothing inside them.

    Raises:
        TypeError: there are no names, or one is no string.
    """
    level = [(str.__str__(name), value) for name, value in checked(names).items()]
    level = [(name, value) for name, value in level if not name.startswith(("_", "@"))]  # @py_assert1 is pytest's
    modules = [(name, value) for name, value in level if issubclass(type(value), torch.nn.Module)]
    taken = Counter(path for _, module in _once(modules) for path, _ in _of_module(module))
    seen: set[int] = set()
    for further in reversed(range(depth)):
        deeper: list[tuple[str, Any]] = []
        for name, value in level:
            if issubclass(type(value), (Tensor, torch.Tensor)):
                yield name, value
            elif further and id(value) not in seen and len(seen) + len(deeper) < _MOST:
                seen.add(id(value))
                if issubclass(type(value), torch.nn.Module):
                    for path, tensor in _of_module(value):
                        # As torch calls it, if that says enough: not "weight", "0.weight", or what two models have.
                        alone = taken[path] == 1 and "." in path and not path[0].isdecimal()
                        deeper.append((path if alone else f"{name}.{path}", tensor))
                deeper.extend(_parts(name, value))
        level = deeper


def _once(named: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Each value with its first name."""
    return list({id(value): (name, value) for name, value in reversed(named)}.values())


def _of_module(module: torch.nn.Module) -> list[tuple[str, Any]]:
    """The parameters, buffers and Tensors of a module and of those within it, by the names that it has for them."""
    found: list[tuple[str, Any]] = []
    stack: list[tuple[str, Any]] = [("", module)]
    seen: set[int] = set()
    while stack and len(seen) < _MOST:
        path, inner = stack.pop()
        if id(inner) in seen or not issubclass(type(inner), torch.nn.Module):
            continue
        seen.add(id(inner))
        own = dict(_items(_attributes(inner)))
        held = [*_items(own.get("_parameters")), *_items(own.get("_buffers")), *_items(own)]
        named = [(name, value) for name, value in held if type(name) is str and not name.startswith("_")]
        found += [(path + name, value) for name, value in named if issubclass(type(value), (Tensor, torch.Tensor))]
        stack += [
            (f"{path}{name}.", value) for name, value in reversed(_items(own.get("_modules"))) if type(name) is str
        ]
    return found


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
            return own.__get__(value) if type(own) in _DESCRIPTORS else None
    return None
