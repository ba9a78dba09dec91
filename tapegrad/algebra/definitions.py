"""What a tape says, in index notation: how each tensor is defined, and what each record sends back to its parents.

The records are run once more, in float64, and watched by a trace; what the trace saw is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from tapegrad.algebra import terms
from tapegrad.algebra.atoms import Unreadable, inputs_of, source_of
from tapegrad.algebra.constants import Constants, tensors_within
from tapegrad.algebra.reading import Reader, free_indices, summed
from tapegrad.algebra.running import Run
from tapegrad.algebra.terms import Polynomial
from tapegrad.engine.gradients import Part
from tapegrad.engine.tape import Record, parents_of
from tapegrad.inspect.tape import Tape
from tapegrad.source.trace import Trace
from tapegrad.source.variables import RESERVED, Variables

WRITTEN = 40  # operations without a name in a definition as it is shown


class Definitions:
    """A tape, read.

    Args:
        tape: what to read.
        named: node -> the user's name for it.
        constants: name -> tensor, of the tensors in reach that take no gradient.

    Attributes:
        names: node -> name, also for those that the user has not named.
        own: the names that are the user's.
        shapes: name -> shape, of every tensor that an expression may mention.
        sources: name -> where the tensor is found in a run: a node, (record, i) for what a record saved, or the id of
            a constant.
    """

    def __init__(self, tape: Tape, named: Mapping[Any, str], constants: Mapping[str, torch.Tensor]) -> None:
        self.tape = tape
        self.names: dict[Any, str] = {}
        self.own: set[str] = set()
        self.shapes: dict[str, Sequence[int]] = {}
        self.sources: dict[str, Any] = {}
        self.constants = Constants(tape, constants)
        self.run = Run(tape, self.constants)
        self.nodes = [*tape.leaves, *tape]
        self._variables = Variables((*RESERVED, "gradient", "onehot"))
        self._trace = Trace()
        self._reader = Reader()
        self._definitions: dict[Any, Polynomial | None] = {}
        self._contributions: dict[Record, list[tuple[Any, Polynomial]]] = {}
        self._operands: dict[Record, set[Any]] = {}
        self._order: dict[str, int] = {}
        self._aliases: dict[Any, str] = {}
        self._kept: list[torch.Tensor] = []  # what the trace knows by its id
        for node in sorted(self.nodes, key=lambda n: n not in named):
            self.names[node] = self._variables.fresh(named.get(node) or tape.name(node))
            self.own |= {self.names[node]} if node in named else set()
        for node in self.nodes:
            self._variables.fresh(self.gradient_name(node))
            self._know(self.run.value(node), self.names[node], node)
        for record in tape:
            self._name_saved(record)

    def _know(self, value: torch.Tensor, name: str, source: Any) -> None:
        self._trace.name(value, name)
        self.shapes[name] = value.shape
        self.sources[name] = source
        self._kept.append(value)

    def _name_saved(self, record: Record) -> None:
        """Name what a record keeps besides its inputs and output: constants, and indices of maxima."""
        for argument, value, parent in zip(record.op.parameters, record.args, record.parents or (), strict=True):
            for constant in tensors_within(value) if parent is None else ():
                self._name_constant(id(constant), f"{record.op.name}_{argument}")
        for i, name in enumerate(record.op.aux, 1 + len(record.op.parameters)):
            if isinstance(self.run.saved[record][i], torch.Tensor):
                called = self._variables.fresh(f"{self.names[record]}_{name}")
                self._know(self.run.saved[record][i], called, (record, i))

    def _name_constant(self, key: int, hint: str) -> torch.Tensor:
        """Call a constant by the user's name, by what it is of another, or after the argument that it was given for."""
        copy = self.run.constant(key)
        if self._trace.known(copy):
            return copy
        if key in self.constants.relations:
            other, relation = self.constants.relations[key]
            base = self._name_constant(other, hint)
            with self._trace:
                made = relation(base)
            self._kept.append(made)
            self._trace.alias(copy, self._trace.expression(made))
        elif key in self.constants.names or not self._is_plain(copy):
            name = self._variables.fresh(self.constants.names.get(key, hint))
            self.own |= {name} if key in self.constants.names else set()
            self._know(copy, name, key)
        return copy

    def _is_plain(self, value: torch.Tensor) -> bool:
        """Whether a trace recognizes a constant as what it is: a number, a range."""
        return Trace().expression(value).kind != "input"

    def gradient_name(self, node: Any) -> str:
        """What the gradient of a node is called."""
        return self._aliases.get(node) or f"d{self.names[node]}"

    def alias(self, node: Any, gradient: str) -> None:
        """Call the gradient of a node that has no name as another that it is equal to, from the beginning."""
        if node not in self._contributions:
            self._aliases[node] = gradient

    def goes_into_an_atom(self, node: Any) -> bool:
        """Whether what a record sends back mentions its gradient within an atom, under a name of its own."""
        name = self.gradient_name(node)
        if type(node) is not Record or node in self._aliases:
            return False
        mentioned = {a for _, p in self.contributions(node) for a in names_in(p)} - {name}
        return any(name in self.mentioned(a) for a in mentioned)

    # --- definitions ---

    def definition(self, node: Any) -> Polynomial | None:
        """A computed tensor in terms of those that it was computed from; None if it is an atom."""
        if node not in self._definitions:
            try:
                self._definitions[node] = self._read(node) if type(node) is Record else None
            except (terms.TooMuch, Unreadable, NotImplementedError):
                self._definitions[node] = None
        return self._definitions[node]

    def _read(self, node: Record) -> Polynomial | None:
        with self._trace:
            result = node.op.run(*self._arguments(node))
        out = result[0] if node.op.aux else result
        self._kept.append(out)
        p = self._reader.read(self._trace.expression(out))
        self._admit()
        mentioned = set(names_in(p))
        opaque = not mentioned.isdisjoint(set(self._reader.atoms) - set(self._reader.spelled_out))
        opaque = opaque or self.names[node] in mentioned
        return None if opaque else p

    def _arguments(self, node: Record) -> tuple[Any, ...]:
        return self.run.saved[node][1 : 1 + len(node.op.parameters)]

    def spelled(self, node: Record) -> str:
        """A definition as the user wrote it, with what has no name written out."""
        trace, written = Trace(), self._written_out(node)
        for name, source in self.sources.items():
            if name in self.own or isinstance(source, int) or (type(source) is Record and source not in written):
                trace.name(find(self.run, source), name)
        for key, (other, relation) in self.constants.relations.items():
            with trace:
                made = relation(self.run.constant(other))
            trace.alias(self.run.constant(key), trace.expression(made))
        again: dict[Any, torch.Tensor] = {}
        for n in sorted(written, key=lambda n: -n.rank):
            args = [_replaced(v, p, again) for v, p in zip(self._arguments(n), n.parents or (), strict=True)]
            with trace:
                result = n.op.run(*args)
            again[n] = result[0] if n.op.aux else result
        return source_of(trace.expression(again[node]))

    def with_indices_spelled(self, text: str) -> str:
        """A formula to be read, with the indices of maxima as one would write them: ``x.max(1).indices``."""
        for name, source in self.sources.items():
            if type(source) is tuple and type(source[0]) is Record and name in text:
                spelled = self.spelled(source[0])
                if spelled.endswith(".values") and name.endswith("_indices"):
                    text = re.sub(rf"\b{name}\b", spelled.removesuffix("values") + "indices", text)
        return text

    def _written_out(self, node: Record) -> set[Record]:
        """A record, and those without a name that its definition is written with: the nearest, if there are many."""
        queue = [node]
        for record in queue:
            unnamed = [p for p in parents_of(record) if type(p) is Record and self.names[p] not in self.own]
            queue += unnamed if len(queue) < WRITTEN else []
        return set(queue)

    def operands(self, node: Record) -> set[Any]:
        """The nodes that a definition is written with."""
        if node not in self._operands:
            written = self._written_out(node)
            self._operands[node] = {p for n in written for p in parents_of(n)} - (written - {node})
        return self._operands[node]

    # --- backward ---

    def contributions(self, record: Record) -> list[tuple[Any, Polynomial]]:
        """What a record sends back to each of its parents, in terms of its own gradient, ``dy`` for ``y``."""
        if record not in self._contributions:
            self._contributions[record] = list(self._pulled_back(record))
        return self._contributions[record]

    def _pulled_back(self, record: Record) -> Iterator[tuple[Any, Polynomial]]:
        g = torch.randn(record.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        g = g.to(self.run.value(record).device)
        name = self.gradient_name(record)
        self._know(g, name, self.sources.get(name, ("gradient", record)))
        self._reader.gradients.add(name)
        with self._trace:
            pieces = parts_of_gradient(record, g, self.run.saved[record])
        for i, (node, piece) in enumerate(pieces):
            self._kept.append(piece)
            try:
                p = self._reader.read(self._trace.expression(piece))
            except (Unreadable, NotImplementedError):  # left to the engine
                name = self._variables.fresh(f"d{self.names[node]}_{record.op.name}")
                self.shapes[name], self.sources[name] = piece.shape, ("part", record, i)
                p = terms.single(terms.entry(name, free_indices(piece.shape)))
            self._admit()
            axes = [a for a in range(piece.ndim) if _stretched(node.shape, piece.shape, a)]
            yield node, summed(p, piece.shape, axes, True)

    # --- atoms ---

    def _admit(self) -> None:
        """Make known what a reading has met: expressions taken as atoms, and constants that rules made."""
        for name, expression in self._reader.atoms.items():
            self.shapes.setdefault(name, expression.value.shape)
        for constant in self._trace.constants:
            if constant.name not in self.shapes:
                self.shapes[constant.name] = constant.value.shape
                self.sources[constant.name] = constant.value

    @property
    def spelled_out(self) -> Mapping[str, Polynomial]:
        """The atoms that are functions of whole rows, by their text, in terms of sums."""
        return self._reader.spelled_out

    def has_atoms(self, p: Polynomial) -> bool:
        """Whether a polynomial mentions what algebra does not see through."""
        return any(n in self._reader.atoms and n not in self.spelled_out for n in names_in(p))

    def atom_cost(self, name: str) -> int:
        """The elements that an atom reads and writes; none for a tensor that is there."""
        expression = self._reader.atoms.get(name)
        if expression is None:
            return 0
        return int(expression.value.numel() + sum([e.value.numel() for e in inputs_of(expression)]))

    def order(self, name: str) -> int:
        """Where a tensor stands among the others: gradients first, then as the tape has them."""
        if not self._order or len(self._order) != len(self.sources):
            gradients = [n for n, s in self.sources.items() if type(s) is tuple and s[0] == "gradient"]
            others = [n for n in self.sources if n not in set(gradients)]
            self._order = {n: i for i, n in enumerate([*gradients[::-1], *others])}
        return self._order.get(name, len(self._order))

    def mentioned(self, name: str) -> set[str]:
        """The tensors that an atom is computed from; a tensor that has a name, itself."""
        expression = self._reader.atoms.get(name)
        return {name} if expression is None else {str(e.name) for e in inputs_of(expression)}


def parts_of_gradient(record: Record, g: torch.Tensor, saved: Sequence[Any]) -> list[tuple[Any, torch.Tensor]]:
    """What the formulas of a record give each of the nodes that it was computed from, one by one."""
    found: list[tuple[Any, torch.Tensor]] = []
    for pullback, parent in zip(record.op.recorded_pullbacks, record.parents or (), strict=True):
        if parent is None:
            continue
        part = pullback(g, saved, parent)  # type: ignore[misc]  # apply checked that there is a rule
        several = type(parent) is tuple
        pairs = zip(parent if several else (parent,), part if several else (part,), strict=True)
        found += [(n, v.whole(n.shape) if isinstance(v, Part) else v) for n, v in pairs if n is not None]
    return found


def find(run: Run, source: Any) -> torch.Tensor:
    """The tensor that a name stands for, in any run: see ``Definitions.sources``."""
    if isinstance(source, torch.Tensor):
        return source
    if isinstance(source, int):
        return run.constant(source)
    if type(source) is tuple:
        value: torch.Tensor = run.saved[source[0]][source[1]]
        return value
    return run.value(source)


def _replaced(value: Any, parent: Any, again: Mapping[Any, torch.Tensor]) -> Any:
    """An argument, or what was computed again in its place."""
    if type(parent) is tuple:
        return tuple([_replaced(v, p, again) for v, p in zip(value, parent, strict=True)])
    return again.get(parent, value) if parent is not None else value


def _stretched(shape: Sequence[int], wide: Sequence[int], axis: int) -> bool:
    """Whether an axis, counted from the right, was broadcast."""
    return wide[-1 - axis] != 1 and (axis >= len(shape) or shape[-1 - axis] == 1)


def names_in(p: Polynomial) -> Iterator[str]:
    """The names of the tensors that a polynomial mentions."""
    for m in p:
        for factor, _ in m:
            yield from names_in_factor(factor)


def names_in_factor(factor: terms.Factor) -> Iterator[str]:
    """Likewise of a factor."""
    match factor[0]:
        case "entry" | "hot":
            yield factor[1]
        case "sum":
            for inner, _ in factor[2]:
                yield from names_in_factor(inner)
        case _:
            yield from names_in(dict(factor[-1]))
