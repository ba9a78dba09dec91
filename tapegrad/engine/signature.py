"""Argument lists: ``"input, dim=None"``, or a function's own, and the binder that puts a call's arguments in order."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch


def signature_of(arguments: str | Callable[..., Any]) -> inspect.Signature:
    """The signature that a rule is written for: given as Python writes it, or that of a Python function."""
    function = eval(f"lambda {arguments}: None", {"torch": torch}) if isinstance(arguments, str) else arguments
    bare = [p.replace(annotation=p.empty) for p in inspect.signature(function).parameters.values()]
    return inspect.Signature(bare)


def binder(name: str, signature: inspect.Signature) -> Callable[..., tuple[Any, ...]]:
    """A function that takes arguments as ``signature`` says and returns them all, in order, as a tuple.

    Defaults are passed in as the objects they are; only the names of arguments become source.
    """
    defaults = {f"default_{n}": p.default for n, p in signature.parameters.items() if p.default is not p.empty}
    listed = str(signature.replace(parameters=[
        p.replace(default=_Name(f"default_{n}")) if p.default is not p.empty else p
        for n, p in signature.parameters.items()
    ]))[1:-1]  # fmt: skip
    # A starred parameter takes torch's two spellings: view(2, 3) and view((2, 3)).
    values = [f"flat({n})" if p.kind is p.VAR_POSITIONAL else n for n, p in signature.parameters.items()]
    bind: Callable[..., tuple[Any, ...]] = eval(f"lambda {listed}: ({', '.join(values)},)", {**defaults, "flat": _flat})
    bind.__name__ = bind.__qualname__ = name  # so that Python's own complaint about a bad call names the op
    return bind


class _Name:
    """A default that prints as the name it is passed in under."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


def _flat(sizes: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
