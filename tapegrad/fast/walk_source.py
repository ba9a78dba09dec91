"""The road of the backward pass, written out for one structure of tape.

``walk``, in ``backward.py``, takes any tape, and finds out at every step what there is to do. A program that trains
makes the same tape again and again, with other values: so once a tape has been met some 20 times, its walk is written
out as Python source, record after record, and compiled. What it does is what ``walk`` does; only the order is known
beforehand, and nothing about shapes or values. ``print(tapegrad.unrolled.text(loss.record))`` shows it.

It is for ``loss.backward()`` alone, on tapes without hooks, and outside ``detect_anomaly``; a very long tape, or one of
very many that are all different, is left to ``walk``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count, pairwise
from operator import attrgetter
from sys import getrefcount
from typing import TYPE_CHECKING, Any

import torch

from tapegrad.anomaly import active
from tapegrad.broadcasting import unbroadcast
from tapegrad.gradients import ALONE, Gradients, accumulate
from tapegrad.stale import refuse_change
from tapegrad.tape import Record, parents_of
from tapegrad.written import compiled

if TYPE_CHECKING:
    from tapegrad.op import Op
    from tapegrad.tensor import Tensor

LONGEST = 1500  # arguments of all records together; a longer tape is not written out, which takes a second for 5,000
MEETINGS = 20  # walks of a structure before it is written out, which pays after some hundred more
PATIENCE = 200  # misses, less the hits, after which only one walk in 16 is looked at: a look takes time
MOST = 8  # written roads for tapes that end in the same op

Places = tuple[Any, ...]  # for each argument, "r3" for a record, "x0" for a leaf, None, or a tuple of these
Structure = tuple[tuple["Op", Places], ...]  # of each record, newest first: "r0" is the first
Road = Callable[[Record, Any, bool], bool]


def walk_unrolled(start: Record, g: Any, retain_graph: bool) -> bool:
    """Carry a cotangent back along the tape and leave the leaves their gradients, if this is written out already.

    Args:
        start: the record of the output.
        g: its cotangent.
        retain_graph: leave the records as they are.

    Returns:
        Whether it is done; if not, nothing has happened, and the tape is for ``walk``.
    """
    if active:
        return False
    roads = _roads.get(start.op)
    if roads is None:
        if len(_roads) >= 256:  # ops that a program makes anew
            _roads.clear()
        roads = _roads[start.op] = Roads()
    return roads.walk(start, g, retain_graph)


def forget() -> None:
    """Forget what was written: a rule has changed."""
    _roads.clear()


class Roads:
    """What is known of the tapes that end in one op.

    Attributes:
        written: the roads that are written out.
        met: hash of a structure -> how often it was walked without a road.
        patience: falls with each walk that finds no road, and rises with each that does, or when one is written.
    """

    def __init__(self) -> None:
        self.written: list[Road] = []
        self.met: Counter[int] = Counter()
        self.patience = PATIENCE

    def walk(self, start: Record, g: Any, retain_graph: bool) -> bool:
        """As ``walk_unrolled``."""
        if self.patience < 0 and self.patience % 16:
            self.patience -= 1
            return False
        for road in self.written:
            if road(start, g, retain_graph):
                if self.patience < PATIENCE:
                    self.patience = max(self.patience, 0) + 1
                return True
        self.patience -= 1
        if self.patience == -1:  # the program has come to other tapes
            self.written.clear()
        if len(self.written) >= MOST:
            return False
        found = structure(start)
        return found is not None and self.due(found) and self.write(found)(start, g, retain_graph)

    def due(self, found: Structure) -> bool:
        """Whether a structure has now been met often enough to be written out."""
        if len(self.met) >= 256:
            self.met.clear()
        self.met[hash(found)] += 1
        if self.met[hash(found)] <= MEETINGS:
            return False
        self.met.pop(hash(found), None)
        return True

    def write(self, found: Structure) -> Road:
        """Write a road out, and keep it."""
        self.patience = PATIENCE
        scope = dict(_WORDS)
        for i, (op, _) in enumerate(found):
            scope[f"op_r{i}"] = op
            scope |= {f"r{i}_{argument}": formula for argument, formula in op.kernels.items()}
        file = f"{__file__[:-3]}/{found[0][0].name}_{next(_number)}.py"
        self.written.append(compiled(_Writer(found).text(), "road", scope, file))
        return self.written[-1]


_number = count()
_roads: dict[Op, Roads] = {}  # by the op that a tape ends in


def structure(start: Record) -> Structure | None:
    """The ops of a tape and how they hang together; None if it is for ``walk``: long, freed, or with hooks."""
    records = [start]
    seen: set[Any] = {start}
    leaves: list[Tensor] = []
    length = 0
    for record in records:  # which grow
        parents = record.parents
        if parents is None or record.hooks is not None:
            return None
        length += sum([len(p) if type(p) is tuple else 1 for p in parents])
        if length > LONGEST:
            return None
        for p in parents_of(record):
            if p not in seen:
                seen.add(p)
                (records if type(p) is Record else leaves).append(p)
    if any(leaf.hooks or not leaf._requires_grad for leaf in leaves):
        return None
    records.sort(key=attrgetter("rank"))
    names: dict[Any, str] = {record: f"r{i}" for i, record in enumerate(records)}
    names |= {leaf: f"x{i}" for i, leaf in enumerate(leaves)}

    def named(place: Any) -> Any:
        return tuple([names.get(p) for p in place]) if type(place) is tuple else names.get(place)

    return tuple([(r.op, tuple([named(p) for p in r.parents or ()])) for r in records])


# --- the text ---

# What it speaks of, besides the ops and their formulas.
_WORDS = {
    "ALONE": ALONE,
    "Gradients": Gradients,
    "accumulate": accumulate,
    "getrefcount": getrefcount,
    "refuse_change": refuse_change,
    "torch": torch,
    "unbroadcast": unbroadcast,
}


def text(start: Record) -> str:
    """The source of the walk along a tape, from the record of its output.

    Raises:
        ValueError: the tape is left to ``walk``.
    """
    found = structure(start)
    if found is None:
        raise ValueError(
            "unrolled.text: a tape that is freed, has hooks, or is long is not written out; "
            "ask before backward(), which frees it"
        )
    return _Writer(found).text()


class _Writer:
    """What is known of a tape while its walk is written.

    Attributes:
        rows: record -> its op, and where its gradients go.
        uses: record or leaf -> how many gradients it gets.
        leaves: in the order in which they get them.
        given: those that have been given one.
    """

    def __init__(self, found: Structure) -> None:
        self.rows = {f"r{i}": row for i, row in enumerate(found)}
        self.uses = Counter(p for _, places in found for p in _flat(places))
        self.leaves = [p for p in self.uses if p not in self.rows]
        self.given: set[str] = set()

    def text(self) -> str:
        lines = [
            *self.guard(),
            f"{' = '.join([f'g_{place}' for place in self.uses])} = None",
            "gradients = Gradients(in_place=True)",
            *[line for record in self.rows for line in self.step(record)],
            *[line for leaf in self.leaves for line in self.own(leaf)],
            *[line for leaf in self.leaves for line in self.leave(leaf)],
            "return True",
        ]
        head = ["# What walk does on a tape of this structure: see unrolled.py.", "def road(r0, g_r0, retain_graph):"]
        return "\n".join([*head, *_indented(lines), ""])

    def guard(self) -> list[str]:
        """See whether this is a tape of that structure, without hooks, and give each record and leaf its name."""
        lines = []
        known = {"r0"}
        for record, (_, places) in self.rows.items():
            lines.append(f"if {record}.op is not op_{record} or {record}.hooks is not None: return False")
            lines += self.unpack(places, f"{record}.parents", known)
            for i, place in enumerate(places):  # in their turn, for they may hold what stands beside them as well
                lines += self.unpack(place, f"p{i}", known) if type(place) is tuple else []
        # So that no two are the same, and gradients are summed in the walk's order. A parent is older in any case.
        newest_first = [f"{a}.rank < {b}.rank" for a, b in pairwise(self.rows) if b not in _flat(self.rows[a][1])] + [
            f"len({{{', '.join(self.leaves)}}}) == {len(self.leaves)}"
        ]
        return [
            "try:",
            *_indented(lines),
            "except (AttributeError, TypeError, ValueError):",
            "    return False  # a leaf where a record stood, or the other way round, or more of them, or it is freed",
            f"if not ({' and '.join(newest_first)}): return False",
        ]

    def unpack(self, places: Places, source: str, known: set[str]) -> list[str]:
        """Name what stands at some places, and see whether it is what is known of it."""
        targets, tests = [], []
        for i, place in enumerate(places):
            if type(place) is tuple:
                targets.append(f"p{i}")
                tests.append(f"type(p{i}) is tuple")
            elif place is None or place in known:
                targets.append(f"q{i}")
                tests.append(f"q{i} is {place}")
            else:
                targets.append(place)
                known.add(place)
                if place in self.leaves:
                    tests.append(f"{place}._requires_grad and not {place}.hooks")
        lines = [f"{', '.join(targets)}, = {source}"]
        return [*lines, f"if not ({' and '.join(tests)}): return False"] if tests else lines

    def step(self, record: str) -> list[str]:
        """What the walk does at one record."""
        g = f"g_{record}"
        op, places = self.rows[record]
        lines = []
        for argument, place in zip(op.parameters, places, strict=True):
            if place is None:
                continue
            values = op.values(argument, op.kernels[argument], _shape(place, f"saved[{op.saved.index(argument)}]"))
            call = f"{record}_{argument}({', '.join([g, *values])})"
            if type(place) is str:
                lines += self.give(place, call, record if op.elementwise else "")
                continue
            pieces = [f"p{i}" for i in range(len(place))]
            lines += [f"part = {call}", f"{', '.join(pieces)}, = {(None,) * len(place)} if part is None else part"]
            for piece, p in zip(pieces, place, strict=True):
                lines += self.give(p, piece) if p else []
            lines.append(f"part = {' = '.join(pieces)} = None")
        return [
            f"if {g} is not None or ({g} := gradients.take({record})) is not None:  # {op.name}",
            f"    for held, version in {record}.watched:",
            f"        if held._version != version: refuse_change({record}, held, version)",
            *[f"    saved = {record}.saved"] * any("saved" in line for line in lines),
            *_indented(lines),
            "    if not retain_graph:",
            f"        {record}.parents = None",
            f"        {record}.saved = {record}.watched = ()",
            f"    {g} = held = saved = None",
        ]

    def give(self, place: str, part: str, like: str = "") -> list[str]:
        """Give a node its part of a gradient. Most nodes get one or two, which fit as they are.

        Args:
            place: the node.
            part: source of the gradient.
            like: the record whose shape and dtype it has, if that is known.
        """
        if self.uses[place] > 2:
            return [f"gradients.give({place}, {part})"]
        g = f"g_{place}"
        node = f"{place}._data" if place in self.leaves else place  # where shape and dtype are read most quickly
        if place not in self.given:
            self.given.add(place)
            return [
                f"{g} = {part}",
                f"if {_fits(g, node, like)}: pass",
                f"elif type({g}) is torch.Tensor and {g}.dtype is {node}.dtype: {g} = unbroadcast({g}, {node}.shape)",
                f"else: gradients.give({place}, {g}); {g} = None",
            ]
        return [
            f"part = {part}",
            f"if {g} is not None and {_fits('part', node, like)}: {g} = {g} + part",
            f"else: gradients.give({place}, {g}); gradients.give({place}, part); {g} = None",
            "part = None",
        ]

    def own(self, leaf: str) -> list[str]:
        """Make a leaf's gradient nobody else's: see the end of ``walk``."""
        g = f"g_{leaf}"
        return [
            f"if {g} is None: {g} = gradients.take({leaf})",
            f"if {g} is not None and (getrefcount({g}) > ALONE or {g}._is_view() or {g}.is_inference()):",
            f"    {g} = {g}.clone(memory_format=torch.contiguous_format)",
        ]

    def leave(self, leaf: str) -> list[str]:
        """Leave a leaf its gradient."""
        return [
            f"if g_{leaf} is None: pass",
            f"elif {leaf}._grad is None: {leaf}._grad = g_{leaf}",
            f"else: accumulate({leaf}, g_{leaf})",
        ]


def _fits(part: str, node: str, like: str) -> str:
    """Whether a gradient has its node's shape and dtype; to ask a record takes less time than to ask a torch tensor."""
    if like:
        return f"{like}.shape == {node}.shape and {like}.dtype is {node}.dtype"
    return f"{part} is not None and {part}.shape == {node}.shape and {part}.dtype is {node}.dtype"


def _shape(place: Any, value: str) -> str:
    """Source of a node's shape, or of those of a sequence; those that take no gradient are in the saved value."""
    if type(place) is not tuple:
        return f"{place}.shape"
    owners = [p or f"{value}[{i}]" for i, p in enumerate(place)]
    return f"[{', '.join([f'{owner}.shape' for owner in owners])}]"


def _flat(places: Places) -> Iterator[str]:
    for place in places:
        if type(place) is tuple:
            yield from (p for p in place if p)
        elif place is not None:
            yield place


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]
