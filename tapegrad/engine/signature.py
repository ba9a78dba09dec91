"""Argument lists: ``"input, dim=None"``, or a function's own, and the binder that puts a call's arguments in order."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from operator import index as whole
from typing import Any, NamedTuple

import torch


def signature_of(arguments: str | Callable[..., Any]) -> inspect.Signature:
    """The signature that a rule is written for: given as Python writes it, or that of a Python function."""
    function = eval(f"lambda {arguments}: None", {"torch": torch}) if isinstance(arguments, str) else arguments
    return inspect.Signature([p.replace(annotation=p.empty) for p in inspect.signature(function).parameters.values()])


def name_of(function: Any) -> str:
    """What a function is called, in one line; a callable that has no name goes by that of its class."""
    name = getattr(function, "__name__", None)
    name = str.__str__(name) if isinstance(name, str) else type(function).__name__
    return "".join([c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name])


def binder(name: str, signature: inspect.Signature, starred: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
    """A function that takes arguments as ``signature`` says and returns them all, in order, as a tuple.

    What a starred argument has got is passed through ``starred``: ``flat``, ``sizes``, or ``tuple`` to leave it alone.
    Defaults are passed in as the objects they are; only the names of arguments become source.
    """
    items = signature.parameters.items()
    defaults = {f"default_{n}": p.default for n, p in items if p.default is not p.empty}
    named = [p if p.default is p.empty else p.replace(default=_Name(f"default_{n}")) for n, p in items]
    listed = str(signature.replace(parameters=named))[1:-1]
    values = [f"__starred__({n})" if p.kind is p.VAR_POSITIONAL else n for n, p in items]
    scope = {**defaults, "__starred__": starred, "__tapegrad__": True}
    bind: Callable[..., tuple[Any, ...]] = eval(f"lambda {listed}: ({''.join([f'{v}, ' for v in values])})", scope)
    bind.__name__ = bind.__qualname__ = name  # so that Python's own complaint about a bad call names the op
    return bind


class _Name(NamedTuple):
    """A default that prints as the name it is passed in under."""

    name: str

    def __repr__(self) -> str:
        return self.name


def flat(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Torch's two spellings of a starred argument as one: ``view(2, 3)`` and ``view((2, 3))``."""
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], (tuple, list)) else given


def sizes(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same of whole numbers: given as tensors, which may change, they become ints."""
    if not given:
        raise TypeError("missing a required argument: sizes or dimensions")
    return tuple([whole(size) if hasattr(size, "__index__") else size for size in flat(given)])
