"""What a tape says, in index notation: how each tensor is defined, and what each record sends back to its parents.

Everything is run once more in float64, so that whatever is derived can be tried on numbers; the expressions are those
of the same run, watched by a trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from tapegrad.algebra import terms
from tapegrad.algebra.reading import Reader, axes_from_right, free_indices, inputs_of, summed
from tapegrad.algebra.terms import Polynomial
from tapegrad.engine.apply import apply
from tapegrad.engine.tape import Record, parents_of
from tapegrad.engine.tensor import Tensor, raw, tensor
from tapegrad.engine.walk import walk
from tapegrad.inspect.tape import Tape
from tapegrad.source.trace import Trace
from tapegrad.source.variables import Variables


class Definitions:
    """A tape, read.

    Args:
        tape: what to read.
        named: node -> the user's name for it.
        constants: id of a tensor without gradient -> the user's name for it.

    Attributes:
        names: node -> name, also for those that the user has not named.
        own: the names that are the user's.
        shapes: name -> shape, of every tensor that an expression may mention.
        values: name -> that tensor in float64.
    """

    def __init__(self, tape: Tape, named: Mapping[Any, str], constants: Mapping[int, str]) -> None:
        self.tape = tape
        self.names: dict[Any, str] = {}
        self.own: set[str] = set()
        self.shapes: dict[str, torch.Size] = {}
        self.values: dict[str, torch.Tensor] = {}
        self.originals: dict[str, torch.Tensor] = {}  # name -> the tensor itself, as long as it is there
        self._constants = constants
        self._variables = Variables(("torch", "F", "gradient", "math"))
        self._tensors: dict[Any, Any] = {}  # node -> its Tensor in float64
        self._saved: dict[Record, tuple[Any, ...]] = {}
        self._trace = Trace()
        self._reader = Reader()
        self._copies: dict[int, torch.Tensor] = {}
        self._definitions: dict[Any, Polynomial | None] = {}
        self.nodes = [*tape.leaves, *tape]
        for node in self.nodes:
            if node in named:
                self._call(node, named[node])
                self.own.add(self.names[node])
        for node in self.nodes:
            self._call(node, tape.name(node))
        self._run()

    def _call(self, node: Any, name: str) -> None:
        if node not in self.names:
            self.names[node] = self._variables.fresh(name)
            self._variables.fresh(f"d{self.names[node]}")

    # --- the run in float64 ---

    def _run(self) -> None:
        for leaf in self.tape.leaves:
            value = leaf._data.double() if leaf._data.is_floating_point() else leaf._data.clone()
            self._tensors[leaf] = tensor(value.clone(), requires_grad=True)
            self._know(leaf, self._tensors[leaf]._data)
            self.originals[self.names[leaf]] = leaf._data
        for record in self.tape:
            args = [
                self._again(v, p, record, a)
                for v, p, a in zip(record.args, record.parents or (), record.op.parameters, strict=True)
            ]
            result = apply(record.op, tuple(args))
            out, *aux = result if record.op.aux else (result,)
            self._tensors[record] = out
            self._know(record, raw(out))
            if record.out is not None:
                self.originals[self.names[record]] = record.out
            for name, value, original in zip(record.op.aux, aux, record.aux, strict=True):
                if isinstance(value, torch.Tensor):
                    called = self._variables.fresh(f"{self.names[record]}_{name}")
                    self._name(value, called)
                    self.originals[called] = original
            self._saved[record] = (raw(out), *[raw(a) for a in args], *aux)

    def _again(self, value: Any, parent: Any, record: Record, argument: str) -> Any:
        """An argument in float64: a Tensor for each node, copies of constants."""
        if type(parent) is tuple:
            items = value or (None,) * len(parent)
            return tuple([self._again(v, p, record, argument) for v, p in zip(items, parent, strict=True)])
        if parent is not None:
            return self._tensors[parent]
        if isinstance(value, torch.Tensor):
            if id(value) not in self._copies:
                copy = value.double() if value.is_floating_point() else value.clone()
                copy = copy.clone() if copy is value else copy
                self._copies[id(value)] = copy
                if value.ndim or id(value) in self._constants:
                    known = self._constants.get(id(value))
                    if known is not None or not self._plain(copy):
                        name = self._variables.fresh(known or f"{record.op.name}_{argument}")
                        self._name(copy, name)
                        self.originals[name] = value
                        if known is not None:
                            self.own.add(name)
            return self._copies[id(value)]
        if isinstance(value, torch.Generator):
            return value.clone_state()
        return type(value)([self._again(v, None, record, argument) for v in value]) if type(value) in (tuple, list) else value

    def _plain(self, value: torch.Tensor) -> bool:
        """Whether a trace recognizes a constant as what it is."""
        return self._trace.expression(value).kind != "input"

    def _know(self, node: Any, value: torch.Tensor) -> None:
        self._name(value, self.names[node])

    def _name(self, value: torch.Tensor, name: str) -> None:
        self._trace.name(value, name)
        self.shapes[name] = value.shape
        self.values[name] = value

    # --- what is asked for ---

    def definition(self, node: Any) -> Polynomial | None:
        """A computed tensor in terms of those that it was computed from; None if it is an atom."""
        if type(node) is not Record:
            return None
        if node not in self._definitions:
            self._definitions[node] = None
            try:
                with self._trace:
                    result = node.op.run(*self._saved[node][1 : 1 + len(node.op.parameters)])
                out = result[0] if node.op.aux else result
                self._copies[id(out)] = out
                expression = self._trace.expression(out)
                p = self._maximum(node) or self._reader.read(expression)
                self._admit()
                mentioned = set(names_in(p))
                if not mentioned & set(self._reader.atoms) and self.names[node] not in mentioned:
                    self._definitions[node] = p
            except (terms.TooMuch, NotImplementedError):
                pass
        return self._definitions[node]

    def _maximum(self, node: Record) -> Polynomial | None:
        return None

    def contributions(self, record: Record, seed: Polynomial | None = None) -> Iterator[tuple[Any, Polynomial]]:
        """What a record sends back to each of its parents, in terms of its own gradient ``d...``."""
        g_name = self.gradient_name(record)
        g = self.gradient(record)
        saved = self._saved[record]
        for _, pullback, parent in zip(record.op.parameters, record.op.recorded_pullbacks, record.parents or (), strict=True):
            if parent is None:
                continue
            with self._trace:
                part = pullback(g, saved, self._stand_in(parent))  # type: ignore[misc]  # apply checked
            several = type(parent) is tuple
            for node, piece in zip(parent if several else (parent,), part if several else (part,), strict=True):
                if node is None:
                    continue
                piece = piece.whole(node.shape) if hasattr(piece, "whole") else piece
                p = self._reader.read(self._trace.expression(piece))
                self._admit()
                extra = [a for a, n in enumerate(reversed(piece.shape)) if n != 1 and self._stretched(node, a)]
                yield node, summed(p, piece.shape, extra, True)
        del g_name

    def _stretched(self, node: Any, axis: int) -> bool:
        shape = node.shape
        return axis >= len(shape) or shape[len(shape) - 1 - axis] == 1

    def _stand_in(self, parent: Any) -> Any:
        """What a pullback asks a parent for: its shape."""
        return parent

    def gradient_name(self, node: Any) -> str:
        """What the gradient of a node is called."""
        return f"d{self.names[node]}"

    def gradient(self, node: Any) -> torch.Tensor:
        """A stand-in for a gradient that has a name: numbers that differ."""
        name = self.gradient_name(node)
        if name not in self.values:
            self._name(torch.randn(node.shape, dtype=torch.float64, generator=_generator()), name)
        return self.values[name]

    def _admit(self) -> None:
        """Make the atoms that a reading has found known by name."""
        for name, expression in self._reader.atoms.items():
            if name not in self.shapes:
                self.shapes[name] = expression.value.shape
        for constant in self._trace.constants:
            if constant.name not in self.shapes:
                self.shapes[constant.name] = constant.value.shape
                self.values[constant.name] = constant.value
                self.originals[constant.name] = constant.value

    def mentioned(self, name: str) -> set[str]:
        """The tensors that an atom is computed from, itself if it has a name."""
        expression = self._reader.atoms.get(name)
        return {name} if expression is None else {str(e.name) for e in inputs_of(expression)}

    def true_gradients(self, start: Any, g: torch.Tensor) -> dict[Any, torch.Tensor]:
        """The engine's own gradients, in float64, of everything that leads to ``start``."""
        here = {t.record if t.record is not None else t: node for node, t in self._tensors.items()}
        there = {node: t for t, node in here.items()}
        targets = [there[n] for n in self.tape if n in there and there[n] is not there[start]] + [
            there[leaf] for leaf in self.tape.leaves
        ]
        found = walk([(there[start], g)], targets, retain_graph=True)
        return {here[t]: value for t, value in found.items()}


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


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
            yield from names_in({factor[2]: 1})  # type: ignore[dict-item]
        case _:
            yield from names_in(dict(factor[-1]))


__all__ = ["Definitions", "axes_from_right", "free_indices", "names_in", "parents_of"]
