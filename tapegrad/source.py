"""A tape written out as PyTorch source of its backward pass."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from keyword import iskeyword
from typing import Any

import torch

from tapegrad.apply import node
from tapegrad.broadcasting import unbroadcast
from tapegrad.names import name_nodes, tensors_in
from tapegrad.symbol import LINE, Symbol, Writer, constant
from tapegrad.tape import Record, Tape, parents_of, shape_text
from tapegrad.tensor import Tensor

STYLES = ("plain", "exact")
_SHORT = 40  # characters of an unnamed intermediate that is written out instead of passed in


class Program:
    """The backward pass of a tape, written out.

    Args:
        tape: of one output.
        scope: variable name -> value, to call tensors by.
        style: see ``Tape.source``.
    """

    def __init__(self, tape: Tape, scope: Mapping[str, Any], style: str) -> None:
        if style not in STYLES:
            raise ValueError(f"source: style must be one of {', '.join(STYLES)}, not {style!r}")
        if len(tape.outputs) != 1:
            raise ValueError(f"source: a tape of one output is needed, this one has {len(tape.outputs)}")
        self.tape = tape
        self.exact = style == "exact"
        self.named = {**tape.names, **name_nodes(scope)}
        self.values: dict[Any, torch.Tensor] = {}  # node -> its raw tensor, where it is still there
        constants: dict[str, torch.Tensor] = {}
        for name, value in tensors_in(scope):
            if isinstance(value, Tensor):
                self.values[node(value)] = value._data
            else:
                constants[name] = value
        self._values_on_tape()
        called = {self.variable(place): value for place, value in self.values.items() if place in self.named}
        self.writer = Writer({**called, **{identifier(name): value for name, value in constants.items()}})
        self.results: dict[str, str] = {}
        self._walk()

    def variable(self, place: Any) -> str:
        """What a node is called."""
        return identifier(self.named[place] if place in self.named else self.tape.name(place))

    def _values_on_tape(self) -> None:
        for leaf in self.tape.leaves:
            self.values[leaf] = leaf._data
        for record in self.tape:
            held = [(record.out, record)]
            for value, parent in zip(record.args, record.parents or (), strict=True):
                held.extend(zip(value or (), parent, strict=False) if type(parent) is tuple else [(value, parent)])
            for value, place in held:
                if isinstance(value, torch.Tensor) and place is not None:
                    self.values.setdefault(place, value)

    def _walk(self) -> None:
        """Run every rule on Symbols, newest record first, as the engine's walk runs it on tensors."""
        output = self.tape.outputs[0]
        pending: dict[Any, Symbol] = {output: constant(torch.ones(output.shape, dtype=output.dtype), self.writer)}
        uses = Counter(place for record in self.tape for place in parents_of(record))
        for record in reversed(self.tape):
            if record not in pending:
                continue
            g = self._settled(record, pending.pop(record))
            saved = self._lifted(record)
            pullbacks = record.op.pullbacks if self.exact else record.op.differentiable
            for pullback, parent in zip(pullbacks, record.parents or (), strict=True):
                if parent is None or pullback is None:
                    continue
                parts = pullback(g, saved, parent)
                for place, part in zip(parent, parts, strict=True) if type(parent) is tuple else ((parent, parts),):
                    if place is None:
                        continue
                    uses[place] -= 1
                    if part is not None:
                        part = unbroadcast(part, place.shape)
                        part = part if part.dtype == place.dtype else part.to(place.dtype)
                        pending[place] = pending[place] + part if place in pending else part
                    if type(place) is not Record and not uses[place] and place in pending:
                        self._settled(place, pending.pop(place))

    def _settled(self, place: Any, g: Symbol) -> Symbol:
        """A node's complete gradient: on a line of its own if the node has a name, or if it is used more than once."""
        if place in self.named or type(place) is not Record:
            variable = self.writer.fresh(f"d{self.variable(place)}")
            if g.number is not None and not place.shape:
                self.writer.line(f"{variable} = torch.tensor({g.text})")  # the number itself goes into what follows
            else:
                self.writer.assign(variable, g, self._comment(place))
            self.results[self.variable(place)] = variable
        elif sum(1 for _ in parents_of(place)) > 1 and not g.text.isidentifier() and g.number is None:
            self.writer.assign(self.writer.fresh(f"d{self.variable(place)}"), g)
        return g

    def _comment(self, place: Any) -> str:
        return shape_text(place.shape) if place.shape else ""

    def _lifted(self, record: Record) -> tuple[Any, ...]:
        """A record's saved values as Symbols."""
        parents = record.parents or ()
        args = [self._lift(a, p) for a, p in zip(record.args, parents, strict=True)]
        aux = []
        for name, value in zip(record.op.aux, record.aux, strict=True):
            self.writer.call(f"{self.variable(record)}_{name}", value)
            aux.append(self.writer.symbol(value))
        return (self._lift(record.out, record), *args, *aux)

    def _lift(self, value: Any, place: Any) -> Any:
        if type(place) is tuple:
            return None if value is None else tuple([self._lift(v, p) for v, p in zip(value, place, strict=True)])
        if value is None or place is None or place in self.named:
            return self.writer.symbol(value)
        written = self._written_out(place)
        return self._passed_in(value, place) if written is None else written

    def _written_out(self, place: Any) -> Symbol | None:
        """An unnamed intermediate as an expression of named ones, if that is short: ``bnvar + 1e-05``."""
        if type(place) is not Record or len(place.op.parameters) > 2:
            return None
        inputs = list(zip(place.args, place.parents or (), strict=True))
        if not all(p is None or (p in self.named and p in self.values) for _, p in inputs):
            return None
        symbols = [self.writer.symbol(a if p is None else self.values[p]) for a, p in inputs]
        symbol = place.op.run(*symbols)
        return symbol if isinstance(symbol, Symbol) and len(symbol.text) <= _SHORT else None

    def _passed_in(self, value: torch.Tensor, place: Any) -> Any:
        self.writer.call(self.variable(place), value)
        return self.writer.symbol(value)

    def text(self) -> str:
        """The source."""
        parameters = list(self.bindings())
        head = f"def backward({', '.join(parameters)}):"
        if len(head) > LINE:
            head = f"def backward(\n    {', '.join(parameters)}\n):"
        if max(map(len, head.splitlines())) > LINE:
            head = "def backward(\n" + "".join(f"    {p},\n" for p in parameters) + "):"
        body = [f"    {line}" for line in self.writer.lines]
        result = ["    return {", *[f'        "{name}": {value},' for name, value in self.results.items()], "    }"]
        return "\n".join(["import torch", "", "", head, *body, *result, ""])

    def bindings(self) -> dict[str, torch.Tensor]:
        """The tensors to call the function with."""
        return self.writer.mentioned()


def identifier(name: str) -> str:
    """A variable name as near to ``layers[0].weight`` as Python allows."""
    name = re.sub(r"\W+", "_", name).strip("_")
    return f"{name}_" if iskeyword(name) or not name.isidentifier() else name
