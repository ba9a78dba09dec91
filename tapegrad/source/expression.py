"""What made a tensor: an operation on others, which expressions stand for too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import torch

# The signs of functions, by torch's names.
INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "floor_divide": "//", "matmul": "@", "remainder": "%", "pow": "**",
    "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=", "bitwise_and": "&", "bitwise_or": "|",
}  # fmt: skip
PREFIX = {"neg": "-", "bitwise_not": "~"}
# Types whose repr is source, and tells values apart.
PLAIN = {
    int, float, complex, bool, str, type(None), type(...), torch.Size, torch.dtype, torch.device, torch.layout,
    torch.memory_format, slice,
}  # fmt: skip
_EXACT: dict[Any, Callable[[Any], Any]] = {
    int: int.__int__, float: float.__float__, complex: complex.__complex__, str: str.__str__,
}  # fmt: skip
_order = count().__next__


class Expression:
    """What made a tensor.

    Attributes:
        kind: ``input``, ``filled`` (with a number), ``infix``, ``prefix``, ``method``, ``call`` (of the function
            ``name``), ``attribute``, ``index``, ``item`` (of a tuple), or, for what was written into: ``buffer``,
            ``write`` (the statement), ``after`` (the buffer then).
        name: the sign, function, method, attribute or input.
        args, kwargs: Expressions, plain values, and sequences of them.
        value: the tensor, or a tuple of tensors.
        view: whether the tensor shares the storage of its first argument.
        number: the number that every element is, if it is known.
        spread: whether that number is to be written as one element that is expanded, not as so many.
    """

    __slots__ = ("args", "kind", "kwargs", "name", "number", "order", "spread", "value", "view")

    def __init__(
        self, kind: str, name: Any, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any, view: bool = False
    ) -> None:
        self.kind = kind
        self.name = name
        self.args = args
        self.kwargs = kwargs
        self.value = value
        self.view = view
        self.number: Any = None
        self.spread = False
        self.order = _order()

    def operands(self) -> Iterator[Expression]:
        """The expressions among the arguments, if they need to be known."""
        return found(Expression, (self.args, self.kwargs) if self.number is None else ())


def found(kind: Any, value: Any) -> Iterator[Any]:
    """Everything of a kind in nested sequences and slices."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, dict):
        yield from found(kind, tuple(value.values()))
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from found(kind, v)


def exact(value: Any) -> Any:
    """A number or string as Python's own: that of a subclass may say of itself that it is something else."""
    if issubclass(type(value), np.generic):
        return np.generic.item(value)
    for kind in (int, float, complex, str):
        if issubclass(type(value), kind) and type(value) not in (kind, bool):
            return _EXACT[kind](value)
    return value


def key_of(value: Any) -> Any:
    """Something hashable that tells values apart."""
    if isinstance(value, Expression):
        return id(value)
    if isinstance(value, (tuple, list)):
        return type(value).__name__, *map(key_of, value)
    if isinstance(value, dict):
        return tuple([(k, key_of(v)) for k, v in value.items()])
    return (type(value).__name__, repr(value)) if type(value) in PLAIN else id(value)
