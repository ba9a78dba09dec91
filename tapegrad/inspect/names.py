"""Finding what the user called a tensor: the variables of a scope, read backwards."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch

from tapegrad.engine.tensor import Tensor
from tapegrad.engine.tensor import node as node_of

_DEPTH = 3  # model.layers[0].weight; in modules, any depth
_COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}
_LONGEST = 256  # lists longer than this are data, not parameters


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
    seen: dict[str, Any] = {}
    while frame.f_code.co_name in _COMPREHENSIONS and frame.f_back is not None:  # a scope of its own, until Python 3.12
        seen = {**frame.f_locals, **seen}
        frame = frame.f_back
    cells = frame.f_globals.get("In", ())
    cells = [c for c in cells if isinstance(c, str)] if isinstance(cells, list) else []
    if names is not None:
        return Scope(names, frame.f_code, True, cells)
    variables = {**frame.f_locals, **{k: v for k, v in seen.items() if k not in frame.f_locals}}
    rest = {k: v for k, v in frame.f_globals.items() if k not in variables}
    return Scope({**variables, **rest}, frame.f_code, False, cells)


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
            if isinstance(value, Tensor):
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


def tensors_in(names: Mapping[str, Any]) -> Iterator[tuple[str, Tensor | torch.Tensor]]:
    """The Tensors and torch tensors that a scope's variables hold, with their names.

    Args:
        names: variable name -> value, for example ``locals()``. Tensors inside lists, dicts and objects get names such
            as ``layers[0].weight``, and come after those with shorter paths; those of a ``torch.nn.Module`` the names
            that it has for them, such as ``layers.0.weight``. Names that begin with an underscore are passed over.

    Raises:
        TypeError: a name is no string.
    """
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"names: a name must be a string, not {name!r}, a {type(name).__name__}")
    level: list[tuple[str, Any]] = [(name, value) for name, value in names.items() if not name.startswith("_")]
    modules = [(name, value) for name, value in level if isinstance(value, torch.nn.Module)]
    taken = Counter(path for _, module in _once(modules) for path, _ in _of_module(module))
    seen: set[int] = set()
    for _ in range(_DEPTH):
        deeper: list[tuple[str, Any]] = []
        for name, value in level:
            if isinstance(value, (Tensor, torch.Tensor)):
                yield name, value
            elif id(value) not in seen:
                seen.add(id(value))
                if isinstance(value, torch.nn.Module):
                    for path, tensor in _of_module(value):
                        # As torch calls it, if that says enough: not "weight", "0.weight", or what two models have.
                        alone = taken[path] == 1 and "." in path and not path[0].isdecimal()
                        deeper.append((path if alone else f"{name}.{path}", tensor))
                deeper.extend(_parts(name, value))
        level = deeper


def _once(named: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Each value with its first name."""
    return list({id(value): (name, value) for name, value in reversed(named)}.values())


def _of_module(module: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """The parameters, buffers and Tensors of a module and of those within it, by the names that it has for them."""
    for path, inner in module.named_modules():
        own = {**inner._parameters, **inner._buffers, **{k: v for k, v in vars(inner).items() if k[:1] != "_"}}
        for name, value in own.items():
            if isinstance(value, (Tensor, torch.Tensor)):
                yield f"{path}.{name}".lstrip("."), value


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (list, tuple)):
        if len(value) <= _LONGEST:
            yield from ((f"{name}[{i}]", v) for i, v in enumerate(value))
    elif isinstance(value, dict):
        if len(value) <= _LONGEST:
            yield from ((f"{name}[{k!r}]", v) for k, v in value.items())
    elif not isinstance(value, (type, ModuleType, FunctionType, str, bytes)) and hasattr(value, "__dict__"):
        yield from ((f"{name}.{k}", v) for k, v in vars(value).items() if not k.startswith("_"))
