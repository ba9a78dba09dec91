"""The tape: records of what ran, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import torch

from tapegrad.errors import FreedTape
from tapegrad.hooks import Hooks

if TYPE_CHECKING:
    from tapegrad.op import Op
    from tapegrad.tensor import Tensor

# One counter for all tapes: a record is newer, and its rank lower, than everything it was computed from.
next_rank = count(-1, -1).__next__

Watched = tuple[tuple[torch.Tensor, int], ...]


class Record:
    """One op that ran, with what its rule will need.

    Attributes:
        rank: falls with time; the walk goes from low to high.
        op: what ran.
        saved: the raw output, the raw arguments in order, and the auxiliary outputs, as ``op.saved`` names them; None
            in place of a tensor that no rule needs.
        parents: for each argument, where its gradient goes: the record that computed it, the leaf itself, None if it
            takes no gradient, or a tuple of these for a sequence of tensors. Once the walk has passed, None.
        watched: the saved tensors, each with torch's version counter, to notice changes in place.
        shape, dtype: of the output.
        hooks: what is to be done with the gradient of the output besides (``register_hook``, ``retain_grad``), or None.
        where: the user's line that ran the op; known only under ``detect_anomaly``.
    """

    __slots__ = ("dtype", "hooks", "op", "parents", "rank", "saved", "shape", "watched", "where")

    # ``recorded``, in tensor.py, makes them.
    rank: int
    op: Op
    saved: tuple[Any, ...]
    parents: tuple[Any, ...] | None
    watched: Watched
    shape: torch.Size
    dtype: torch.dtype
    hooks: Hooks | None
    where: str

    @property
    def tensor(self) -> Tensor | None:
        """The output, if it retains its gradient and is still there."""
        return self.hooks.retained() if self.hooks is not None and self.hooks.retained is not None else None

    @property
    def out(self) -> torch.Tensor | None:
        """The raw output, if a rule needs it."""
        return self.saved[0] if self.saved else None

    @property
    def aux(self) -> tuple[Any, ...]:
        """The raw auxiliary outputs."""
        return self.saved[1 + len(self.op.parameters) :]

    @property
    def args(self) -> tuple[Any, ...]:
        """The raw arguments in order; None in place of a tensor that no rule needs."""
        return self.saved[1 : 1 + len(self.op.parameters)]

    def __repr__(self) -> str:
        return f"<record {-self.rank}: {self.op.name} {shape_text(self.shape)}>"


def parents_of(record: Record) -> Iterator[Any]:
    """Each record or leaf that a record computed from, with repeats, in the order of the arguments."""
    for parent in record.parents or ():
        if type(parent) is tuple:
            yield from (p for p in parent if p is not None)
        elif parent is not None:
            yield parent


def reached(outputs: Sequence[Any]) -> list[Record]:
    """All records that some nodes were computed by, oldest first.

    Raises:
        FreedTape: the walk has been there and freed them.
    """
    seen: set[Record] = set()
    stack = [p for p in outputs if type(p) is Record]
    while stack:
        record = stack.pop()
        if record in seen:
            continue
        if record.parents is None:
            raise FreedTape(
                f"the tape was freed by an earlier backward, as it passed {record.op.name} {shape_text(record.shape)}; "
                f"ask for the tape before that backward, or pass it retain_graph=True"
            )
        seen.add(record)
        stack.extend([p for p in parents_of(record) if type(p) is Record])
    return sorted(seen, key=lambda r: r.rank, reverse=True)


def shape_text(shape: Sequence[int]) -> str:
    """A shape as Python writes a tuple."""
    return str(tuple(shape))
