"""The tape: records of what ran, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, overload

import torch

if TYPE_CHECKING:
    from weakref import ref

    from tapegrad.op import Op
    from tapegrad.tensor import Tensor

# One counter for all tapes: a record is newer than everything it was computed from.
_number = count(1)


class Record:
    """One op that ran, with what its rule will need.

    Attributes:
        number: grows with time; the walk goes from high to low.
        op: what ran.
        args: its arguments in order, as raw values; None in place of a tensor that no rule needs.
        parents: for each argument, where its gradient goes: the record that computed it, the leaf itself, None if it
            takes no gradient, or a tuple of these for a sequence of tensors. Once the walk has passed, None.
        out: the raw output, if a rule needs it.
        aux: further raw outputs.
        shape, dtype: of the output.
        versions: torch's version counter for each saved tensor, to notice changes in place.
        tensor: a weak reference to the output, if its gradient is to be retained.
    """

    __slots__ = ("args", "aux", "dtype", "number", "op", "out", "parents", "shape", "tensor", "versions")

    args: tuple[Any, ...]
    parents: tuple[Any, ...] | None
    tensor: ref[Tensor] | None

    def __init__(
        self, op: Op, args: tuple[Any, ...], parents: tuple[Any, ...], out: torch.Tensor, keep_out: bool, aux: Any
    ) -> None:
        self.number = next(_number)
        self.op = op
        self.args = args
        self.parents = parents
        self.out = out if keep_out else None
        self.aux = aux
        self.shape = out.shape
        self.dtype = out.dtype
        self.versions = tuple([t._version for t in saved_tensors(self)])
        self.tensor = None

    def __repr__(self) -> str:
        return f"<record {self.number}: {self.op.name} {tuple(self.shape)}>"


Node = "Record | Tensor"


def saved_tensors(record: Record) -> list[torch.Tensor]:
    """The raw tensors that a record holds, in a fixed order."""
    found = []
    for value in (record.out, *record.args):
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif type(value) is tuple:
            found.extend([v for v in value if isinstance(v, torch.Tensor)])
    return found


def parents_of(record: Record) -> Iterator[Any]:
    """Each record or leaf that a record computed from, with repeats, in the order of the arguments."""
    for parent in record.parents or ():
        if type(parent) is tuple:
            yield from (p for p in parent if p is not None)
        elif parent is not None:
            yield parent
