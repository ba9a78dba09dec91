"""The tape: a record of each op that ran. A record holds on to those that it was computed from, not the other way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import torch

from tapegrad.engine.hooks import Hooks
from tapegrad.engine.op import Op
from tapegrad.errors import FreedTape

# One counter for all tapes, counting down: the newest record has the lowest rank, and heapq pops the lowest first.
next_rank = count(-1, -1).__next__

Watched = tuple[tuple[torch.Tensor, int], ...]


class Record:
    """One op that ran, with what its rule will need.

    Attributes:
        rank: falls with time; the walk goes from low to high.
        op: what ran.
        saved: the raw output, the raw arguments in order, and the auxiliary outputs, as ``op.saved_names`` has them;
            None in place of a tensor that no rule needs.
        parents: for each argument, the node that its gradient goes to: the record that computed it, or the leaf
            itself; None if it takes no gradient, or a tuple of these for a sequence. None once the walk has passed.
        watched: the saved tensors, each with torch's version counter, to notice changes in place.
        shape: of the output.
        dtype: of the output.
        hooks: what else is to be done with the gradient of the output (``register_hook``, ``retain_grad``), or None.
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
    _reshaped = 0  # a node's shape may change if it is a leaf; a record's never does

    @property
    def tensor(self) -> Any:
        """The output, if it retains its gradient and is still there."""
        return self.hooks.retained() if self.hooks is not None and self.hooks.retained is not None else None

    @property
    def out(self) -> torch.Tensor | None:
        """The raw output, if a rule needs it."""
        return self.saved[0] if self.saved else None

    @property
    def args(self) -> tuple[Any, ...]:
        """The raw arguments in order; None in place of a tensor that no rule needs."""
        return self.saved[1 : 1 + len(self.op.parameters)]

    @property
    def aux(self) -> tuple[Any, ...]:
        """The raw auxiliary outputs."""
        return self.saved[1 + len(self.op.parameters) :]

    def __repr__(self) -> str:
        return f"<record {-self.rank}: {self.op.name} {shape_text(self.shape)}>"


# What watches: ``made(record, out)`` is told of each op, ``passed(record, argument, g)`` of each gradient that a rule
# gives. It is ``detect_anomaly``; of several, one within the other, the innermost is told.
observers: list[Any] = []


def parents_of(record: Record) -> Iterator[Any]:
    """Each node that a record was computed from, with repeats, in the order of the arguments."""
    for parent in record.parents or ():
        if type(parent) is tuple:
            yield from (p for p in parent if p is not None)
        elif parent is not None:
            yield parent


def reached(nodes: Sequence[Any]) -> list[Record]:
    """All records that some nodes were computed by, oldest first.

    Raises:
        FreedTape: the walk has been there and freed them.
    """
    seen: set[Record] = set()
    stack = [p for p in nodes if type(p) is Record]
    while stack:
        record = stack.pop()
        if record in seen:
            continue
        if record.parents is None:
            raise freed(record)
        seen.add(record)
        stack.extend([p for p in parents_of(record) if type(p) is Record])
    return sorted(seen, key=lambda r: r.rank, reverse=True)


def freed(record: Record) -> FreedTape:
    """What to say of a record that a walk has passed."""
    return FreedTape(
        f"the tape was freed by an earlier backward, as it passed {record.op.name} {shape_text(record.shape)}; pass "
        f"retain_graph=True to that backward to walk it again, or ask for the tape before it"
    )


def shape_text(shape: Sequence[int]) -> str:
    """A shape as Python writes a tuple."""
    return str(tuple(shape))
