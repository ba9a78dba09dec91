"""When a walk is written out: for a tape of one structure that comes again and again, as it does in training.

It is for ``loss.backward()`` alone, on tapes without hooks, and outside ``detect_anomaly``; a very long tape, or one of
very many that are all different, is left to ``walk``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any
from weakref import WeakSet

from tapegrad.engine.op import Op
from tapegrad.engine.tape import Record, observers
from tapegrad.fast.walk_source import GLOBALS, Structure, source, structure
from tapegrad.written import compiled, identifier

MEETINGS = 20  # walks of a structure before it is written out, which pays after some hundred more
PATIENCE = 200  # after this many more misses than hits, try only every 16th backward: looking costs time
MOST = 8  # written walks for tapes that end in the same op

Road = Callable[[Record, Any, bool], dict[Any, Any] | None]


def written_walk(start: Record, g: Any, retain_graph: bool) -> dict[Any, Any] | None:
    """Carry a cotangent back along the tape, if its walk is written out already.

    Args:
        start: the record of the output.
        g: its cotangent.
        retain_graph: leave the records as they are.

    Returns:
        What ``walk`` returns: a gradient for each leaf. None if nothing has happened, and the tape is for ``walk``.
    """
    if observers:
        return None
    roads = start.op.__dict__.get("roads")  # the op holds them, so that a program may make ops and drop them
    if roads is None:
        roads = start.op.__dict__.setdefault("roads", Roads())
        _met.add(start.op)
    found: dict[Any, Any] | None = roads.walk(start, g, retain_graph)
    return found


def forget() -> None:
    """Forget what was written: a rule has changed."""
    for op in list(_met):
        op.__dict__.pop("roads", None)
    _met.clear()


class Roads:
    """What is known of the tapes that end in one op.

    Attributes:
        written: the walks that are written out.
        met: hash of a structure -> how often it was walked without a road.
        patience: falls with each walk that finds no road, and rises with each that does, or when one is written.
    """

    def __init__(self) -> None:
        self.written: list[Road] = []
        self.met: Counter[int] = Counter()
        self.patience = PATIENCE

    def walk(self, start: Record, g: Any, retain_graph: bool) -> dict[Any, Any] | None:
        """As ``written_walk``."""
        if self.patience < 0 and self.patience % 16:
            self.patience -= 1
            return None
        for road in self.written:
            found = road(start, g, retain_graph)
            if found is not None:
                if self.patience < PATIENCE:
                    self.patience = max(self.patience, 0) + 1
                return found
        self.patience -= 1
        if self.patience == -1:  # the program has moved on to other tapes
            self.written.clear()
        if len(self.written) >= MOST:
            return None
        seen = structure(start)
        if seen is None or not self.due(seen):
            return None
        return self.write(seen)(start, g, retain_graph)

    def due(self, seen: Structure) -> bool:
        """Whether a structure has now been met often enough to be written out."""
        if len(self.met) >= 256:
            self.met.clear()
        self.met[hash(seen)] += 1
        if self.met[hash(seen)] <= MEETINGS:
            return False
        self.met.pop(hash(seen), None)
        return True

    def write(self, seen: Structure) -> Road:
        """Write a walk out, and keep it."""
        self.patience = PATIENCE
        scope = dict(GLOBALS)
        for i, (op, _) in enumerate(seen):
            scope[f"op_r{i}"] = op
            scope |= {f"r{i}_{argument}": formula for argument, formula in op.kernels.items()}
        file = f"{__file__[:-3]}/{identifier(seen[0][0].name)}_{next(_number)}.py"
        self.written.append(compiled(source(seen), "road", scope, file))
        return self.written[-1]


_number = count()
_met: WeakSet[Op] = WeakSet()  # the ops that tapes have ended in
