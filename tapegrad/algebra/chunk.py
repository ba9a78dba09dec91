"""The part of a tape between two gradients: its backward lines, and the definitions to simplify them with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from tapegrad.algebra import sums, terms
from tapegrad.algebra.definitions import Definitions, names_in
from tapegrad.algebra.folding import Folding
from tapegrad.algebra.reading import free_indices
from tapegrad.algebra.terms import Factor, Index, Polynomial
from tapegrad.algebra.writing import Layout
from tapegrad.engine.tape import Record, parents_of

LONG = 24  # tensors that what has no name may be written with
HIGH = 10  # and how many functions and sums within one another


class Chunk:
    """What leads from a target to a start.

    Args:
        definitions: the tape.
        start: the node whose gradient is given.
        target: the node whose gradient is asked for.
        seeded: whether the gradient of the start is the number 1.

    Attributes:
        path: the nodes between them, the newest first: the start, ..., the target.
        lines: for each of them that has a name its gradient as the rules give it, in terms of those before.
        layout: writes polynomials of this chunk.
        folding: simplifies them.
    """

    def __init__(self, definitions: Definitions, start: Any, target: Any, seeded: bool) -> None:
        self.definitions = definitions
        self.start = start
        self.target = target
        self.seeded = seeded
        self.path = path_between(definitions, start, target)
        self._lengths: dict[str, int] = {}  # how many tensors are named where something without a name is written
        self._same: dict[Any, str] = {}  # definition -> who has it
        self._surfaces: dict[Any, Polynomial | None] = {}
        self._inline: dict[str, Polynomial] = {}
        self._onehots: dict[str, tuple[str, int]] = {}
        self.layout = Layout(definitions.shapes, self._inline, self._onehots, definitions.atom_cost, definitions.order)
        around = self._around()
        for node in around:
            if definitions.names[node] in definitions.own and (p := definitions.definition(node)) is not None:
                self._same.setdefault((node.shape, terms.frozen(p)), definitions.names[node])
        for node in around[::-1]:  # the oldest first, so that each finds those that it is written with
            self.surface_of(node)
        self.lines = self._backward_lines()
        foldable = {*definitions.own, *definitions.spelled_out}
        known, own = list(self._equations(around)), definitions.own
        self.folding = Folding(known, foldable.__contains__, own.__contains__, self.layout.cost)

    def _equations(self, around: Sequence[Any]) -> Iterator[tuple[str, tuple[Index, ...], Polynomial]]:
        """What can be unfolded and folded: a name, its indices, and what it stands for."""
        shapes = self.definitions.shapes
        for name, p in self.definitions.spelled_out.items():
            yield name, free_indices(shapes[name]), self.surface(p)
        for node in around:
            name, surface = self.definitions.names[node], self.surface_of(node)
            if surface is not None and (name in self.definitions.own or name in self._inline):
                yield name, free_indices(node.shape), surface
        for name, (integers, _) in self._onehots.items():
            *rows, column = free_indices(shapes[name])
            yield name, (*rows, column), terms.single(("hot", integers, tuple(rows), column))

    def _around(self) -> list[Any]:
        """The records on the way, and those that they and their parents were computed from, the newest first."""
        near = {n for n in self.path if type(n) is Record}
        for _ in range(2):
            near |= {p for n in near for p in parents_of(n) if type(p) is Record}
        unnamed = [n for n in near if self.definitions.names[n] not in self.definitions.own]
        while unnamed:
            for p in parents_of(unnamed.pop()):
                if type(p) is Record and p not in near:
                    near.add(p)
                    if self.definitions.names[p] not in self.definitions.own:
                        unnamed.append(p)
        return sorted(near, key=lambda r: r.rank)

    # --- without what has no name ---

    def surface_of(self, node: Any) -> Polynomial | None:
        """A definition in terms of tensors that have names, and of sums that have none; None if it is an atom."""
        if type(node) is not Record:
            return None
        if node not in self._surfaces:
            definitions, name = self.definitions, self.definitions.names[node]
            p = definitions.definition(node)
            same = None if p is None else self._same.setdefault((node.shape, terms.frozen(p)), name)
            if same is not None and same != name and name not in definitions.own:  # x - mu, written twice
                p = terms.single(terms.entry(same, free_indices(node.shape)))
            p = None if p is None else self._surface_if_short(p)
            if p is not None and name not in definitions.own:
                self._lengths[name] = sum([self._lengths.get(n, 1) for n in names_in(p)])
                if (
                    self._lengths[name] > LONG or terms.height(p) > HIGH
                ):  # too much to be written out: by the name that the tape has for it
                    self._lengths[name], p = 1, None
                elif len(p) != 1:
                    self._inline[name] = p
            self._surfaces[node] = p
        return self._surfaces[node]

    def _surface_if_short(self, p: Polynomial) -> Polynomial | None:
        with suppress(terms.TooMuch):
            return self.surface(p)
        return None

    def surface(self, p: Polynomial) -> Polynomial:
        """Unnamed tensors of one term written out, and one-hot tensors taken as tensors."""
        nodes = {name: node for node, name in self.definitions.names.items()}

        def change(factor: Factor, e: Any) -> Polynomial | None:
            if factor[0] == "hot":
                return terms.single(self._onehot(factor), e)
            if factor[0] != "entry" or factor[1] in self.definitions.own or factor[1] not in nodes:
                return None
            node = nodes[factor[1]]
            definition = self.surface_of(node)
            if definition is None or len(definition) != 1:
                return terms.single(factor, e)
            names = dict(zip(free_indices(node.shape), factor[2], strict=True))
            return terms.power(sums.renamed(definition, names), e)

        return sums.mapped(p, change)

    def _onehot(self, factor: Factor) -> Factor:
        _, integers, indices, column = factor
        name = f"onehot({integers})"
        if self._onehots.setdefault(name, (integers, column[1])) != (integers, column[1]):
            name = f"onehot({integers}, {column[1]})"
            self._onehots[name] = (integers, column[1])
        shape = (*self.definitions.shapes[integers], column[1])
        self.definitions.shapes.setdefault(name, shape)
        return terms.entry(name, (*indices, column))

    # --- backward ---

    def _backward_lines(self) -> dict[Any, Polynomial]:
        """A line for each node that has a name, or whose gradient goes where algebra does not see it."""
        definitions = self.definitions
        collected: dict[Any, Polynomial] = {}
        lines: dict[Any, Polynomial] = {}
        on_path = set(self.path)
        known: dict[str, Polynomial] = {}  # the gradients of what has no name
        for node in self.path:
            if node is self.start:
                known.update({definitions.gradient_name(node): terms.number(1)} if self.seeded else {})
            else:
                p = collected.pop(node)
                named = definitions.names[node] in definitions.own or node is self.target
                if not named:
                    self._call_as_another(node, p)
                if named or definitions.goes_into_an_atom(node) or self.is_long(p):
                    lines[node] = p
                else:
                    known[definitions.gradient_name(node)] = p
            if node is self.target or type(node) is not Record:
                continue
            for parent, part in definitions.contributions(node):
                if parent in on_path:
                    try:
                        part = substituted(self.surface(part), known, definitions)
                    except terms.TooMuch:  # by the names that the tape has
                        if node is not self.start and definitions.gradient_name(node) in known:
                            lines[node] = known.pop(definitions.gradient_name(node))
                    collected[parent] = terms.add(collected.get(parent, {}), part)
        return lines

    def is_long(self, p: Polynomial) -> bool:
        """Whether a gradient is too much to be put in where its name stands."""
        return sum([self._lengths.get(name, 1) for name in names_in(p)]) > LONG or terms.height(p) > HIGH

    def _call_as_another(self, node: Any, p: Polynomial) -> None:
        """The gradient of what has no name, if it is that of something else: of ``x @ W``, in ``x @ W + b``."""
        for name in set(names_in(p)) if len(p) == 1 else ():
            source = self.definitions.sources.get(name)
            gradient = type(source) is tuple and source[0] == "gradient" and source[1].shape == node.shape
            if gradient and p == terms.single(terms.entry(name, free_indices(node.shape))):
                self.definitions.alias(node, name)


def substituted(p: Polynomial, known: Mapping[str, Polynomial], definitions: Definitions) -> Polynomial:
    """A polynomial with tensors replaced by what they are known to be."""

    def change(factor: Factor, e: Any) -> Polynomial | None:
        if factor[0] != "entry" or factor[1] not in known:
            return None
        names = dict(zip(free_indices(definitions.shapes[factor[1]]), factor[2], strict=True))
        return terms.power(sums.renamed(known[factor[1]], names), e)

    return sums.mapped(p, change) if not known.keys().isdisjoint(names_in(p)) else p


def path_between(definitions: Definitions, start: Any, target: Any) -> list[Any]:
    """The nodes that lead from a target to a start, both included, the newest first."""
    leading = {target}
    for record in definitions.tape:
        if any(p in leading for p in parents_of(record)):
            leading.add(record)
    if start not in leading:
        return []
    behind = {start}
    order = [n for n in reversed(definitions.nodes) if n in leading]
    for node in order:
        if node in behind and type(node) is Record:
            behind.update(p for p in parents_of(node) if p in leading)
    return [n for n in order if n in behind]


def dominators(definitions: Definitions, outputs: list[Any], target: Any) -> list[Any]:
    """The nodes that all paths from the outputs to a target go through, the nearest to the target first."""
    leading = {target}
    for record in definitions.tape:
        if any(p in leading for p in parents_of(record)):
            leading.add(record)
    pending = {n for n in outputs if n in leading}
    found = []
    for node in reversed(definitions.tape):
        if node in pending:
            pending.discard(node)
            if not pending and node is not target:
                found.append(node)
            pending.update(p for p in parents_of(node) if p in leading)
    return found[::-1]
