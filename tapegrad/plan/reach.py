"""What a function can reach: its arguments, what its code names, and what is in these. Each has a path, as source.

A plan reads the paths again at every call. So a tensor that a closure or a module holds is an input and no constant,
and a number that has changed since asks for another plan.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch

from tapegrad.engine.tensor import Tensor

_LONGEST = 256  # a longer captured list is data
VALUES = (bool, int, float, complex, str, bytes, type(None), type(...), torch.dtype, torch.device, torch.Size,
           torch.memory_format, torch.layout, slice, range)  # fmt: skip
_FOREIGN = {"torch", "numpy", "tapegrad", "builtins"}  # what is named there does not change


@dataclass
class Scope:
    """What was found.

    Attributes:
        names: what paths begin with -> the object.
        tensors: Tensors and torch tensors, each with its path.
        arguments: how many of them, the first, are arguments or in arguments.
        lines: source that checks the rest, each with the path that it is about; some give a path a shorter name.
    """

    names: dict[str, Any] = field(default_factory=dict)
    tensors: list[tuple[str, Any]] = field(default_factory=list)
    arguments: int = 0
    lines: list[tuple[str, str]] = field(default_factory=list)


def reach(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Scope:
    """All that a call can reach.

    Args:
        function: what is called.
        args: with these.
        kwargs: and these, by name.
    """
    named: set[str] = {"training"}
    while True:  # a name in one function's code may lead to another function
        search = _Search(named)
        search.arguments(args, kwargs)
        search.scope.arguments = len(search.scope.tensors)
        search.function(function, "function")
        if search.named == named:
            return search.scope
        named = search.named


class _Search:
    """One search, for attributes of some names."""

    def __init__(self, named: set[str]) -> None:
        self.scope = Scope()
        self.wanted = named
        self.named = set(named)
        self.seen: dict[int, Any] = {}
        self.count = 0

    # --- the text ---

    def check(self, test: str, path: str) -> None:
        """Another plan is needed unless this is true."""
        self.scope.lines.append((f"if not ({test}): return None", path))

    def given(self, value: Any, hint: str) -> str:
        """A name for an object that source speaks of."""
        name = f"{hint}_{len(self.scope.names)}"
        self.scope.names[name] = value
        return name

    def bind(self, path: str) -> str:
        """A shorter name for a path."""
        self.count += 1
        self.scope.lines.append((f"p{self.count} = {path}", path))
        return f"p{self.count}"

    # --- what there is ---

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """The arguments, in full."""
        self.check(f"len(args) == {len(args)}", "the number of arguments")
        self.check(f"[*kwargs] == {list(kwargs)!r}" if kwargs else "not kwargs", "which keyword arguments there are")
        for i, value in enumerate(args):
            self.value(value, f"args[{i}]", argument=True)
        for name, value in kwargs.items():
            self.value(value, f"kwargs[{name!r}]", argument=True)

    def function(self, function: Any, path: str, *, root: bool = True) -> None:
        """What a function's code names."""
        if isinstance(function, partial):
            name = self.given(function, "partial")
            self.value(function.args, f"{name}.args")
            self.value(function.keywords, f"{name}.keywords")
            return self.function(function.func, f"{name}.func")
        if isinstance(function, MethodType):
            self.value(function.__self__, f"{self.given(function, 'method')}.__self__")
            return self.function(function.__func__, path)
        if isinstance(wrapped := getattr(function, "__wrapped__", None), FunctionType):
            self.function(wrapped, path)
        if not isinstance(function, FunctionType):
            if root and not isinstance(function, (type, BuiltinFunctionType)) and callable(function):
                self.value(function, self.given(function, "callable"))
            return None
        if self.was_seen(function):
            return None
        names = set(_names(function.__code__))
        self.named |= names
        if _is_foreign(function):  # a module of torch's: its attributes count, and nothing else does
            return None
        for i, cell in enumerate(function.__closure__ or ()):
            try:
                value = cell.cell_contents
            except ValueError:  # it has no value yet
                continue
            self.value(value, f"{self.given(cell, function.__code__.co_freevars[i])}.cell_contents")
        own = self.given(function.__globals__, "globals")
        for name in sorted(names & function.__globals__.keys()):
            self.value(function.__globals__[name], f"{own}[{name!r}]")
        if function.__defaults__:
            self.value(function.__defaults__, f"{self.given(function, 'function')}.__defaults__")
        if function.__kwdefaults__:
            self.value(function.__kwdefaults__, f"{self.given(function, 'function')}.__kwdefaults__")
        return None

    def was_seen(self, value: Any) -> bool:
        """Whether an object was met before; from now on it was."""
        if id(value) in self.seen:
            return True
        self.seen[id(value)] = value
        return False

    def value(self, value: Any, path: str, argument: bool = False) -> None:
        """One object, and what is in it."""
        kind = type(value)
        if kind is Tensor or isinstance(value, torch.Tensor):
            self.scope.tensors.append((path, value))
        elif isinstance(value, VALUES):
            self.constant(value, path)
        elif isinstance(value, torch.Generator):
            self.check(f"{path} is {self.given(value, 'generator')}", path)
        elif isinstance(value, (list, tuple)):
            self.sequence(value, path, argument)
        elif isinstance(value, dict):
            self.mapping(value, path, argument)
        elif isinstance(value, ModuleType):
            self.module(value, path)
        elif isinstance(value, (FunctionType, BuiltinFunctionType, type)):
            self.code(value, path)
        else:
            self.object(value, path, argument)

    def constant(self, value: Any, path: str) -> None:
        """A plain value: the same, or another plan."""
        if value is None or value is ... or isinstance(value, bool):
            return self.check(f"{path} is {'...' if value is ... else value!r}", path)
        name = self.given(value, "value")
        test = f"type({path}) is {self.given(type(value), 'type')} and {path} == {name}"
        if isinstance(value, (float, complex)) and (value == 0 or value != value):  # -0.0 is equal to 0.0
            test = f"repr({path}) == {repr(value)!r}"
        return self.check(test, path)

    def sequence(self, value: Any, path: str, argument: bool) -> None:
        """A list or tuple."""
        path = self.bind(path)
        self.check(f"type({path}) is {self.given(type(value), 'type')} and len({path}) == {len(value)}", path)
        if argument or (len(value) <= _LONGEST and not self.was_seen(value)):
            for i, item in enumerate(value):
                self.value(item, f"{path}[{i}]", argument)

    def mapping(self, value: dict[Any, Any], path: str, argument: bool) -> None:
        """A dict."""
        if not argument and (len(value) > _LONGEST or self.was_seen(value)):
            return
        path = self.bind(path)
        keys = self.given(list(value), "keys")
        self.check(f"type({path}) is {self.given(type(value), 'type')} and [*{path}] == {keys}", path)
        for i, item in enumerate(value.values()):
            self.value(item, f"{path}[{keys}[{i}]]", argument)

    def code(self, value: Any, path: str) -> None:
        """A function or class: the very same, or another plan."""
        self.check(f"{path} is {self.given(value, 'code')}", path)
        if isinstance(value, FunctionType) and not _is_foreign(value):
            self.function(value, path, root=False)
        elif isinstance(value, type) and not _is_foreign(value) and not self.was_seen(value):
            self.attributes(vars(value), path)

    def module(self, value: ModuleType, path: str) -> None:
        """A Python module of the user's."""
        if not _is_foreign(value) and not self.was_seen(value):
            self.attributes(vars(value), path)

    def object(self, value: Any, path: str, argument: bool) -> None:
        """Any other object, such as a model: what its attributes hold, as far as code names them."""
        path = self.bind(path)
        self.check(f"type({path}) is {self.given(type(value), 'type')}", path)
        if self.was_seen(value):
            return
        own = getattr(value, "__dict__", {})
        self.attributes(own, path)
        for name in {n for cls in type(value).__mro__ for n in getattr(cls, "__slots__", ())} & self.wanted:
            if hasattr(value, name):
                self.value(getattr(value, name), f"{path}.{name}")
        if isinstance(value, torch.nn.Module):
            for name in ("_parameters", "_buffers", "_modules"):
                self.value(own[name], f"{path}.{name}")
        for cls in type(value).__mro__:
            if cls.__module__.split(".")[0] in _FOREIGN and not issubclass(cls, torch.nn.Module):
                continue
            for name in sorted((self.wanted | {"forward", "__call__"}) & vars(cls).keys()):
                member = vars(cls)[name]
                member = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
                if isinstance(member, FunctionType) and cls is not torch.nn.Module:
                    self.function(member, path, root=False)

    def attributes(self, found: Mapping[str, Any], path: str) -> None:
        """Attributes whose names some code speaks of."""
        for name in sorted(self.wanted & found.keys()):
            if not isinstance(found[name], (property, staticmethod, classmethod)):
                self.value(found[name], f"{path}.{name}")


def _names(code: CodeType) -> Iterator[str]:
    """The names in code, and in the code within it."""
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _is_foreign(value: Any) -> bool:
    """Whether something belongs to torch, numpy, tapegrad or Python, where nothing of the user's changes."""
    name = getattr(value, "__name__", "") if isinstance(value, ModuleType) else getattr(value, "__module__", "")
    if not isinstance(name, str) or isinstance(value, torch.nn.Module):
        return False
    if not isinstance(value, (ModuleType, FunctionType, BuiltinFunctionType, type)):
        return False
    top = name.split(".")[0]
    return top in _FOREIGN or (top in sys.stdlib_module_names and top != "__main__")


def paths(values: Iterable[tuple[str, Any]]) -> dict[int, str]:
    """The first path of each of some objects, by its id."""
    found: dict[int, str] = {}
    for path, value in values:
        found.setdefault(id(value), path)
    return found
