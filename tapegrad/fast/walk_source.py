"""``walk``, written out as source for one structure of tape.

``walk`` takes any tape, and finds out at every step what there is to do. A program that trains makes the same tape
again and again, with other values: so once a tape has been met some 20 times, its walk is written out as Python source,
record after record, and compiled. What it does is what ``walk`` does; only the order is known beforehand, and nothing
about shapes or values. ``print(tapegrad.fast.walk_source.text(loss.record))`` shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Any

import torch

from tapegrad.engine.gradients import LARGE, Gradients, fitted, one_each, own
from tapegrad.engine.op import Op
from tapegrad.engine.tape import Record, parents_of
from tapegrad.engine.tensor import Tensor
from tapegrad.engine.versions import refuse_change
from tapegrad.written import identifier

LONGEST = 1500  # arguments of all records together; a longer tape is not written out, which takes a second for 5,000

Nodes = tuple[Any, ...]  # for each argument, "r3" for a record, "x0" for a leaf, None, or a tuple of these
Structure = tuple[tuple[Op, Nodes], ...]  # of each record, newest first: "r0" is the first


def structure(start: Record) -> Structure | None:
    """The ops of a tape and how they hang together; None if it is for ``walk``: long, freed, complex, or with hooks."""
    records = [start]
    seen: set[Any] = {start}
    leaves: list[Tensor] = []
    length = 0
    for record in records:  # the list grows as parents are found
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
    nodes: list[Any] = [*records, *leaves]
    if any(node.dtype.is_complex for node in nodes):  # then ops are ``in_complex``: other tapes' are not
        return None
    records.sort(key=attrgetter("rank"))
    names: dict[Any, str] = {record: f"r{i}" for i, record in enumerate(records)}
    names |= {leaf: f"x{i}" for i, leaf in enumerate(leaves)}

    def named(node: Any) -> Any:
        return tuple([names.get(p) for p in node]) if type(node) is tuple else names.get(node)

    return tuple([(r.op, tuple([named(p) for p in r.parents or ()])) for r in records])


# --- the text ---

# What it speaks of, besides the ops and their formulas.
GLOBALS = {
    "Gradients": Gradients,
    "LARGE": LARGE,
    "fitted": fitted,
    "one_each": one_each,
    "own": own,
    "refuse_change": refuse_change,
    "torch": torch,
}


def text(start: Record) -> str:
    """The source of the walk along a tape, from the record of its output.

    Raises:
        ValueError: the tape is left to ``walk``.
    """
    found = structure(start)
    if found is None:
        raise ValueError(
            "walk_source.text: a tape that is freed, has hooks, or is long is not written out; "
            "ask before backward(), which frees it"
        )
    return source(found)


def source(found: Structure) -> str:
    """The source of the walk along tapes of a structure: a function ``road(r0, g_r0, retain_graph)``."""
    return _Writer(found).text()


class _Writer:
    """What is known of a tape while its walk is written.

    Attributes:
        rows: record -> its op, and where its gradients go.
        uses: node -> how many gradients it gets.
        leaves: in the order in which they get them.
        given: those that have been given one.
    """

    def __init__(self, found: Structure) -> None:
        self.rows = {f"r{i}": row for i, row in enumerate(found)}
        self.uses = Counter(p for _, nodes in found for p in _flat(nodes))
        self.leaves = [p for p in self.uses if p not in self.rows]
        self.given: set[str] = set()

    def text(self) -> str:
        lines = [
            *self.guard(),
            f"{' = '.join([f'g_{node}' for node in self.uses])} = None",
            "gradients = Gradients(in_place=True)",
            "pending = gradients.pending",
            *[line for record in self.rows for line in self.step(record)],
            *self.finish(),
        ]
        head = [
            "# What walk does on a tape of this structure: see walk_source.py.",
            "def road(r0, g_r0, retain_graph):",
        ]
        return "\n".join([*head, *_indented(lines), ""])

    def guard(self) -> list[str]:
        """See whether this is a tape of that structure, without hooks, and give each record and leaf its name."""
        lines = []
        known = {"r0"}
        for record, (_, nodes) in self.rows.items():
            lines.append(f"if {record}.op is not op_{record} or {record}.hooks is not None: return None")
            lines += self.unpack(nodes, f"{record}.parents", known)
            for i, node in enumerate(nodes):  # after the others, as a sequence may contain one of them
                lines += self.unpack(node, f"p{i}", known) if type(node) is tuple else []
        # Require falling ranks: no two names share a record, and sums keep the walk's order. A parent is older anyhow.
        newest_first = [f"{a}.rank < {b}.rank" for a, b in pairwise(self.rows) if b not in _flat(self.rows[a][1])] + [
            f"len({{{', '.join(self.leaves)}}}) == {len(self.leaves)}"
        ]
        return [
            "try:",
            *_indented(lines),
            "except (AttributeError, TypeError, ValueError):",
            "    return None  # a leaf where a record stood, or the other way round, or more of them, or it is freed",
            f"if not ({' and '.join(newest_first)}): return None",
        ]

    def unpack(self, nodes: Nodes, source: str, known: set[str]) -> list[str]:
        """Name what stands at some arguments, and see whether it is what is known of it."""
        targets, tests = [], []
        for i, node in enumerate(nodes):
            if type(node) is tuple:
                targets.append(f"p{i}")
                tests.append(f"type(p{i}) is tuple")
            elif node is None or node in known:
                targets.append(f"q{i}")
                tests.append(f"q{i} is {node}")
            else:
                targets.append(node)
                known.add(node)
                if node in self.leaves:
                    tests.append(f"{node}._requires_grad and not {node}.hooks")
        lines = [f"{', '.join(targets)}, = {source}"]
        return [*lines, f"if not ({' and '.join(tests)}): return None"] if tests else lines

    def step(self, record: str) -> list[str]:
        """What the walk does at one record."""
        g = f"g_{record}"
        op, nodes = self.rows[record]
        lines = []
        for i, (argument, node) in enumerate(zip(op.parameters, nodes, strict=True)):
            if node is None:
                continue
            values = op.values(argument, op.kernels[argument], _shape(node, f"saved[{op.saved_names.index(argument)}]"))
            call = f"{record}_{argument}({', '.join([g, *values])})"
            if type(node) is str:
                lines += self.give(node, call, record, argument, record if op.elementwise else "")
                continue
            pieces = [f"p{i}" for i in range(len(node))]
            lines.append(f"part = {call}")
            lines.append(f"{', '.join(pieces)}, = one_each(part, {record}.parents[{i}], {record}, {argument!r})")
            for piece, p in zip(pieces, node, strict=True):
                lines += [f"if {piece} is not None:", *_indented(self.give(p, piece, record, argument))] if p else []
            lines.append(f"part = {' = '.join(pieces)} = None")
        return [
            f"if {g} is not None or ({g} := pending.pop({record}, None)) is not None:  # {identifier(op.name)}",
            f"    for held, version in {record}.watched:",
            f"        if held._version != version: refuse_change({record}, held, version)",
            *[f"    saved = {record}.saved"] * any("saved" in line for line in lines),
            *_indented(lines),
            "    if not retain_graph:",
            f"        {record}.parents = None",
            f"        {record}.saved = {record}.watched = ()",
            f"    {g} = held = saved = None",
        ]

    def give(self, node: str, part: str, record: str, argument: str, like: str = "") -> list[str]:
        """Give a node its part of a gradient. Most nodes get one or two, which fit as they are.

        Args:
            node: whose gradient it is.
            part: source of the gradient.
            record: whose rule computes it.
            argument: for which argument.
            like: the record whose shape and dtype it has, if that is known.
        """
        rule = f"{record}, {argument!r}"
        if self.uses[node] > 2:
            return [f"gradients.give({node}, {part}, {rule})"]
        g = f"g_{node}"
        its = f"{node}._data" if node in self.leaves else node  # where shape and dtype are read most quickly
        if node not in self.given:
            self.given.add(node)
            return [
                f"{g} = {part}",
                f"if {_fits(g, its, like)}: pass",
                f"elif type({g}) is torch.Tensor: {g} = fitted({g}, {node}, {rule})",
                f"else: gradients.give({node}, {g}, {rule}); {g} = None",
            ]
        return [
            f"part = {part}",
            f"if {g} is not None and {g}.numel() < LARGE and {_fits('part', its, like)}: {g} = {g} + part",
            "else:",
            f"    if {g} is not None: gradients.give({node}, {g}); {g} = None",
            f"    gradients.give({node}, part, {rule})",
            "part = None",
        ]

    def finish(self) -> list[str]:
        """Hand over what the leaves have got: see the end of ``walk``."""
        return [
            *[f"if g_{leaf} is None: g_{leaf} = pending.pop({leaf}, None)" for leaf in self.leaves],
            "found = {}",
            *[f"if g_{leaf} is not None: found[{leaf}] = g_{leaf}" for leaf in self.leaves],
            f"{' = '.join([f'g_{leaf}' for leaf in self.leaves])} = None  # so that own() counts outside holders only",
            "own(found)",
            "return found",
        ]


def _fits(part: str, node: str, like: str) -> str:
    """Whether a gradient has its node's shape and dtype; to ask a record takes less time than to ask a torch tensor."""
    if like:
        return f"{like}.shape == {node}.shape and {like}.dtype is {node}.dtype"
    return f"{part} is not None and {part}.shape == {node}.shape and {part}.dtype is {node}.dtype"


def _shape(node: Any, value: str) -> str:
    """Source of a node's shape, or of those of a sequence; those that take no gradient are in the saved value."""
    if type(node) is not tuple:
        return f"{node}.shape"
    owners = [p or f"{value}[{i}]" for i, p in enumerate(node)]
    return f"[{', '.join([f'{owner}.shape' for owner in owners])}]"


def _flat(nodes: Nodes) -> Iterator[str]:
    for node in nodes:
        if type(node) is tuple:
            yield from (p for p in node if p)
        elif node is not None:
            yield node


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]
