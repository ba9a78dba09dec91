"""A tape as a lesson: the lines of its forward pass, and those of its backward pass, by the gradient they work out."""

from __future__ import annotations

import ast
import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch

from tapegrad.engine.tape import Record, parents_of
from tapegrad.engine.tensor import Tensor
from tapegrad.engine.tensor import node as node_of
from tapegrad.inspect.names import Scope, tensors_in
from tapegrad.inspect.tape import Tape
from tapegrad.source.variables import RESERVED, identifier
from tapegrad.teaching.statements import Statement, results_of, statements_of

# What the cells of a notebook mean by these names, they must go on to mean.
TAKEN = (*RESERVED, "tapegrad", "tape", "unpacked", "base64", "zlib", "bytearray", "float", "In", "Out", "get_ipython")
_BUILTINS = {"range", "len", "sum", "slice", "float", "int", "abs", "min", "max", "list", "tuple", "None", "True"}
_MODULES: tuple[ModuleType, ...] = (torch, torch.nn.functional, math)


@dataclass(eq=False)
class Unit:
    """A gradient and the statements that work it out, those of its parts included."""

    node: Any
    variable: str
    statements: list[Statement] = field(default_factory=list)


class Lesson:
    """The lines of a tape.

    Args:
        tape: a tape of one output with one element.
        scope: the variables of those who made it, which name constants and numbers.
        quote: whether lines of the user's stand as they were written, where they can.
        style: of the backward lines, as for ``Tape.source``.

    Attributes:
        variables: record or leaf -> the variable that stands for it.
        originals: variable -> what the user calls it, where that is something else.
        output: the variable of the loss.
        leaves: variable -> torch tensor.
        constants: variable -> torch tensor.
        numbers: variable -> number, of those that the user's lines name.
        modules: name -> module, likewise.
        forward: the statements of the forward pass, in order, with what they need that has no name of the user's.
        helpers: statements that compute what backward lines need and have no name of the user's.
        units: the gradients, in the order of the backward pass.
    """

    def __init__(self, tape: Tape, scope: Mapping[str, Any], quote: bool = True, style: str = "plain") -> None:
        self.tape = tape
        self._scope = scope
        self._taken = set(TAKEN)
        self.variables: dict[Any, str] = {}
        self.originals: dict[str, str] = {}
        self.numbers: dict[str, Any] = {}
        self.modules: dict[str, ModuleType] = {}
        for node in tape.nodes:
            if node in tape.names or type(node) is not Record:
                self.variables[node] = self._variable(tape.name(node))
        for output in tape.outputs:
            if output not in self.variables:
                self.variables[output] = self._variable("loss")
        self.output = self.variables[tape.outputs[0]]
        constants, computed = self._known()
        twin = copy.copy(tape)
        twin.names = dict(self.variables)
        called = Scope({**computed, **constants}, None, False)
        source = twin.source(names=called, style=style, forward=True)
        given = twin.bindings(names=called, style=style, forward=True)
        of_leaf = {self.variables[leaf] for leaf in tape.leaves}
        self.leaves = {name: t for name, t in given.items() if name in of_leaf}
        self.constants = {name: t for name, t in given.items() if name not in of_leaf}
        self._nodes = {name: node for node, name in self.variables.items()}
        self.helpers: list[Statement] = []
        self.forward: list[Statement] = []
        self._read_forward(statements_of(source)["forward"][:-2], quote)
        self.forward = self.complete(self.forward, {*self.leaves, *self.constants})
        self.units = self._read_backward(statements_of(source)["backward"][:-1], results_of(source, "backward"))

    def _variable(self, name: str) -> str:
        """A variable near to a name, with another kept for its gradient."""
        base = candidate = identifier(name).lstrip("_") or "x"
        number = 1
        while candidate in self._taken or f"d{candidate}" in self._taken:
            number += 1
            candidate = f"{base}_{number}"
        self._taken |= {candidate, f"d{candidate}"}
        if candidate != name:
            self.originals[candidate] = name
        return candidate

    def _known(self) -> tuple[dict[str, torch.Tensor], dict[str, Tensor]]:
        """What the user has a name for: tensors without a gradient that the tape was computed with, and its nodes."""
        ids = {id(t) for record in self.tape for value in (*record.args, *record.aux) for t in _tensors(value)}
        found: dict[str, torch.Tensor] = {}
        computed: dict[str, Tensor] = {}
        seen: set[int] = set()
        for name, t in tensors_in(self._scope):
            data = t._data if isinstance(t, Tensor) else t
            if isinstance(t, Tensor) and node_of(t) in self.variables:
                computed[self.variables[node_of(t)]] = t
            elif id(data) in ids and id(data) not in seen:
                seen.add(id(data))
                found[self._variable(name)] = data
        return found, computed

    # --- forward ---

    def _read_forward(self, statements: Sequence[Statement], quote: bool) -> None:
        for statement in statements:
            own = [t for t in statement.targets if t in self._nodes]
            if not own:
                self.helpers.append(statement)
                continue
            line = self.tape.lines.get(self._nodes[own[0]]) if quote and len(own) == 1 else None
            if line is None or not self._stands_alone(line.text, own[0]):
                self.forward.append(statement)
                continue
            uses = frozenset(n.id for n in ast.walk(ast.parse(line.text)) if isinstance(n, ast.Name))
            self.forward.append(Statement(line.text, (own[0],), uses - {own[0]}))
            if len(statement.targets) > 1:
                self.helpers.append(statement.without(own))

    def _stands_alone(self, text: str, variable: str) -> bool:
        """Whether a statement of the user's means in a notebook what it meant where it stood."""
        (statement,) = ast.parse(text).body
        if not isinstance(statement, ast.Assign) or ast.unparse(statement.targets[0]) != variable:
            return False
        near = self._near(self._nodes[variable])
        for n in ast.walk(statement.value):
            if isinstance(n, (ast.Lambda, ast.comprehension, ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)):
                return False
            if isinstance(n, ast.Attribute) and n.attr.endswith("_"):  # it changes something
                return False
            if isinstance(n, ast.Name) and n.id not in near and not self._is_plain(n.id):
                return False
        return len(statement.targets) == 1

    def _near(self, record: Any) -> set[str]:
        """The names that stand for what a record was computed from, and mean the same to the user."""
        found, stack = set(self.constants) & set(self._scope), [record]
        while stack:
            for parent in parents_of(stack.pop()):
                if parent in self.variables:
                    found.add(self.variables[parent])
                else:
                    stack.append(parent)
        return {name for name in found if name not in self.originals}

    def _is_plain(self, name: str) -> bool:
        """Whether a name stands for a number, a module of torch's or Python's, or a builtin."""
        if name not in self._scope:
            return name in _BUILTINS or name in ("torch", "F")
        value = self._scope[name]
        if isinstance(value, ModuleType):
            self.modules |= {name: value} if value in _MODULES else {}
            return value in _MODULES
        simple = type(value) in (int, float, bool) and (type(value) is not float or math.isfinite(value))
        if simple and name not in TAKEN and not name.startswith("_") and name not in self._nodes:
            self.numbers[name] = value
            return True
        return False

    # --- backward ---

    def _read_backward(self, statements: Sequence[Statement], results: Mapping[str, str]) -> list[Unit]:
        units = {variable: Unit(self._nodes[key], variable) for key, variable in results.items() if key in self._nodes}
        waiting: list[Statement] = []
        order: list[Unit] = []
        for statement in statements:
            own = [t for t in statement.targets if t in units]
            if not own:
                waiting.append(statement)
                self.helpers.append(statement)
                continue
            unit = units[own[0]]
            unit.statements += [*waiting, statement]
            waiting = []
            if unit in order:
                order.remove(unit)
            order.append(unit)
        return order

    # --- what needs what ---

    def complete(self, statements: Sequence[Statement], known: set[str]) -> list[Statement]:
        """Statements with those before them that compute what is not known yet; ``known`` learns what they bind."""
        found: list[Statement] = []
        for statement in statements:
            for name in sorted(statement.uses - known):
                needed = [h for h in self.helpers if name in h.targets and h not in found and h not in statements]
                found += self.complete(needed, known)
            found.append(statement)
            known |= set(statement.targets)
        return found

    def users(self, node: Any) -> list[Statement]:
        """The statements of the forward pass that a tensor stands in."""
        return [s for s in self.forward if self.variables[node] in s.uses]


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from _tensors(v)
