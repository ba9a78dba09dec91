"""What a compiled function returns: Tensors and others in nested sequences and dicts, told apart once and made anew."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tapegrad.engine.tape import Record
from tapegrad.engine.tensor import Tensor, node
from tapegrad.errors import CompileError
from tapegrad.plan.reach import VALUES


@dataclass(frozen=True)
class Made:
    """A tensor that the plan computes: the number of its Value among the results, and what it is wrapped in."""

    index: int
    kind: str  # "recorded", "wrapped" or "plain"


@dataclass(frozen=True)
class Given:
    """An object that the function was given, and gives back."""

    index: int


class Outputs:
    """The form of what a function returned.

    Args:
        result: what it returned.
        since: the rank before it ran; records that are newer are its own.
        objects: the ids of the objects with a path.

    Attributes:
        pattern: the result with Made and Given in place of tensors.
        tensors: the tensors that are made, in order.
        records: for each of them its record; None if it has none.
        made: the tensors in the pattern, each once.
        given: the objects with a path in the pattern, each once.
        is_one: whether the result is one recorded Tensor, and nothing else.
    """

    def __init__(self, result: Any, since: int, objects: Collection[int]) -> None:
        self.tensors: list[torch.Tensor] = []
        self.records: list[Record | None] = []
        self.given: list[Any] = []
        self._since, self._objects = since, objects
        self._made: dict[int, Made] = {}
        self._held: list[Any] = []
        self.pattern = self._pattern(result)
        self.made = list(self._made.values())
        self.is_one = type(self.pattern) is Made and self.pattern.kind == "recorded"
        del self._objects, self._held, self._made

    def _pattern(self, value: Any) -> Any:
        if id(value) in self._objects and isinstance(value, (Tensor, torch.Tensor)):
            found = next((i for i, known in enumerate(self.given) if known is value), len(self.given))
            self.given += [value] * (found == len(self.given))
            return Given(found)
        if type(value) is Tensor:
            recorded = value.record is not None and value.record.rank < self._since
            if node(value) is not None and not recorded:
                raise CompileError(
                    f"compile: what is returned holds a Tensor of shape {tuple(value.shape)} that was there before and "
                    f"is neither an argument nor in one; pass it as an argument"
                )
            return self._new(value, value._data, value.record, "recorded" if recorded else "wrapped")
        if isinstance(value, torch.Tensor):
            return self._new(value, value, None, "plain")
        if isinstance(value, (list, tuple)):
            items = [self._pattern(v) for v in value]
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        if type(value) is dict:
            return {k: self._pattern(v) for k, v in value.items()}
        if isinstance(value, VALUES):
            return value
        raise CompileError(
            f"compile: the function returned a {type(value).__name__}; return Tensors, torch tensors and numbers, in "
            f"lists, tuples and dicts"
        )

    def _new(self, value: Any, data: torch.Tensor, record: Record | None, kind: str) -> Made:
        if id(value) not in self._made:
            self._made[id(value)] = Made(len(self.tensors), kind)
            self._held.append(value)
            self.tensors.append(data)
            self.records.append(record)
        return self._made[id(value)]

    def build(self, made: Sequence[Any], given: Sequence[Any]) -> Any:
        """The result, with these tensors in it."""
        return _built(self.pattern, made.__getitem__, given)


def _built(pattern: Any, made: Callable[[int], Any], given: Sequence[Any]) -> Any:
    if type(pattern) is Made:
        return made(pattern.index)
    if type(pattern) is Given:
        return given[pattern.index]
    if isinstance(pattern, (list, tuple)) and not isinstance(pattern, torch.Size):
        items = [_built(p, made, given) for p in pattern]
        return type(pattern)(*items) if hasattr(pattern, "_fields") else type(pattern)(items)
    return {k: _built(p, made, given) for k, p in pattern.items()} if type(pattern) is dict else pattern
