"""A tape written out as PyTorch source: of its backward pass, and of the forward pass that it recorded."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch

from tapegrad.engine.gradients import Gradients, conjugated, one_each
from tapegrad.engine.tape import Record, parents_of, reached
from tapegrad.engine.tensor import Tensor
from tapegrad.engine.tensor import node as node_of
from tapegrad.inspect.grad_mode import in_grad_mode
from tapegrad.inspect.names import merged, tensors_in
from tapegrad.inspect.replay import replay
from tapegrad.inspect.tape import Tape
from tapegrad.source.body import Body, Statement
from tapegrad.source.explain import Explained
from tapegrad.source.expression import Expression
from tapegrad.source.layout import LINE, Text, text_of
from tapegrad.source.module import function, module, shape_comment
from tapegrad.source.quotes import Quotes
from tapegrad.source.trace import Trace
from tapegrad.source.variables import RESERVED, Variables

STYLES = ("plain", "exact")  # and "closed", which is another program: see closed.py
_SHORT = 40  # characters of an unnamed intermediate that is written out instead of passed in


class Program:
    """The backward pass of a tape, and its forward pass, written out.

    Args:
        tape: what to write.
        scope: variable name -> value, to call tensors by.
        style: see ``Tape.source``.
        explain: likewise.
    """

    def __init__(self, tape: Tape, scope: Mapping[str, Any], style: str, explain: bool = False) -> None:
        if style not in STYLES:
            raise ValueError(f"source: style must be one of {', '.join(STYLES)}, closed, not {style!r}")
        reached(tape.outputs)  # raises if the tape was freed
        self.tape = tape
        self.exact = style == "exact"
        self.named = merged(tape.names, scope)
        self._explained = Explained(tape, self.variable, {*self.named, *tape.leaves}) if explain else None
        self.values: dict[Any, torch.Tensor] = {}  # node -> its raw tensor, where it is still there
        self._names: dict[Any, str] = {}  # node, or id of a raw tensor -> what it is called
        self._variables = Variables(RESERVED)
        self._given: dict[str, torch.Tensor] = {}  # leaves and constants, by name
        for node in [*tape.leaves, *tape]:
            if node in self.named:
                self.variable(node)
        for leaf in tape.leaves:
            self.variable(leaf)
        constants = {id(value) for record in tape for _, value, origin in _arguments(record) if origin is None}
        for name, called in tensors_in(scope):
            origin = node_of(called) if isinstance(called, Tensor) else None
            data = called._data if isinstance(called, Tensor) else called
            if origin is not None:
                self.values.setdefault(origin, data)
            elif id(data) in constants:
                self._call(id(data), name)
        for leaf in tape.leaves:
            self.values[leaf] = leaf._data
        for record in tape:
            for _, value, origin in [("out", record.out, record), *_arguments(record)]:
                if value is not None and origin is not None:
                    self.values.setdefault(origin, value)
        devices = {value.device for value in self.values.values() if value.device.type == "cuda"}
        with torch.random.fork_rng(devices):
            in_grad_mode(False, self._trace)
        self.body = Body(self._statements, self._hints, RESERVED)

    def _trace(self) -> None:
        """Run the tape forward and backward, watched."""
        self._forward = Trace(self.exact)
        self._computed = self._replayed()
        self._backward = Trace(self.exact)
        self._statements: list[Statement] = []
        self._results: list[tuple[str, Statement]] = []
        self._hints: dict[Expression, str] = {}
        self._call_constants(self._forward)
        self._quotes = Quotes(self.tape)
        self._made_up = _by_word(Body(self._forward_statements(()), {}, RESERVED).lines)
        self._walk()
        self._call_constants(self._backward)

    # --- names ---

    def variable(self, node: Any) -> str:
        """What a node is called."""
        return self._call(node, self.named[node] if node in self.named else self.tape.name(node))

    def _call(self, key: Any, name: str) -> str:
        """The variable name of a node, or of a constant by its id: near to the given one, and its alone."""
        if key not in self._names:
            self._names[key] = self._variables.fresh(name)
        return self._names[key]

    def _call_constants(self, trace: Trace) -> None:
        """Name the tensors that ops and rules keep out of sight, and pass them in."""
        for constant in trace.constants:
            constant.name = self._call(id(constant.value), "constant")
            self._given[constant.name] = constant.value

    # --- forward ---

    def _replayed(self) -> dict[Any, Any]:
        """The tape run again, watched by a trace: see ``replay``."""
        for leaf in self.tape.leaves:
            self._given[self.variable(leaf)] = leaf._data
            self._forward.name(leaf._data, self.variable(leaf))
        copies: dict[int, torch.Tensor] = {}  # of constants, for the ops that write into them

        def constant(value: torch.Tensor, record: Record, argument: str) -> torch.Tensor:
            if id(value) not in copies:
                copies[id(value)] = value.clone()
                self._name_constant(self._forward, copies[id(value)], value, f"{record.op.name}_{argument}")
            return copies[id(value)]

        return replay(self.tape, {leaf: leaf._data for leaf in self.tape.leaves}, constant, within=self._forward)

    def _name_constant(self, trace: Trace, value: torch.Tensor, original: torch.Tensor, hint: str) -> None:
        """Call a constant by the user's name, by what it plainly is, or by the argument that it was given for."""
        if id(original) in self._names or trace.expression(value).kind == "input":
            name = self._call(id(original), hint)
            self._given[name] = original
            trace.name(value, name)

    def _forward_statements(self, needed: Collection[str]) -> list[Statement]:
        statements = []
        outputs = set(self.tape.outputs)
        for record in self.tape:
            if record in self.named or record in outputs or self._names.get(record) in needed:
                computed = self._forward.expression(self._computed[record])
                statements.append(Statement(self.variable(record), computed, shape_comment(record)))
            for name in record.op.aux:
                if self._names.get((record, name)) in needed:
                    computed = self._forward.expression(self._computed[record, name])
                    statements.append(Statement(self._names[record, name], computed))
        return statements

    # --- backward ---

    def _walk(self) -> None:
        """Run every rule watched by a trace, newest record first, as the engine's walk runs it."""
        gradients = Gradients(in_place=True)
        for output in dict.fromkeys(self.tape.outputs):
            with self._backward:
                g = conjugated(self._cotangent(output))
            gradients.give(output, g)
        uses = self.tape.uses()
        for record in reversed(self.tape):
            g = gradients.pending.pop(record, None)
            if g is not None:
                self._settle(record, g)
                self._make_saved_known(record)
                with self._backward:
                    self._give_parents(record, g, gradients)
            for node in parents_of(record):
                uses[node] -= 1
                if not uses[node] and type(node) is not Record and node in gradients.pending:
                    self._settle(node, gradients.pending.pop(node))
        for node, g in gradients.pending.items():
            self._settle(node, g)

    def _cotangent(self, output: Any) -> torch.Tensor:
        """What the walk starts from: a parameter of the function, or 1."""
        g = torch.ones_like(self._computed[output])
        if len(self.tape.outputs) == 1 and output.shape.numel() == 1:
            self._backward.number(g, 1.0)
        else:
            self._backward.name(g, self._call(("cotangent", output), f"d{self.variable(output)}"))
        return g

    def _give_parents(self, record: Record, g: torch.Tensor, gradients: Gradients) -> None:
        """Give each parent of a record what the rule says."""
        op = record.op
        pullbacks = op.pullbacks if self.exact else op.recorded_pullbacks
        for argument, pullback, parent in zip(op.parameters, pullbacks, record.parents or (), strict=True):
            if parent is None:
                continue
            part = pullback(g, record.saved, parent)  # type: ignore[misc]  # apply checked that there is a rule
            several = type(parent) is tuple
            parts = one_each(part, parent, record, argument) if several else (part,)
            for node, piece in zip(parent if several else (parent,), parts, strict=True):
                if node is not None:
                    gradients.give(node, piece, record, argument)

    def _settle(self, node: Any, g: torch.Tensor) -> None:
        """Note a node's complete gradient: a statement if the node has a name, a hint to a name if it has none."""
        with self._backward:
            expression = self._backward.expression(conjugated(g))
        name = f"d{self.variable(node)}"
        if node in self.named or type(node) is not Record:
            cotangent = expression.kind == "input" and expression.name == self._names.get(("cotangent", node))
            quotes = self._quotes.of_users(node)
            made_up = () if quotes else self._made_up.get(self.variable(node), [])[::-1]
            comment = () if expression.number is not None else (*shape_comment(node), *made_up)
            reasons = () if self._explained is None else self._explained.of(node)
            statement = Statement(expression.name if cotangent else name, expression, comment, quotes, reasons)
            if not cotangent:
                self._statements.append(statement)
            self._results.append((self.named.get(node, self.variable(node)), statement))
        else:
            self._hints.setdefault(expression, name)

    def _make_saved_known(self, record: Record) -> None:
        """Tell the trace what to call all that a record saved."""
        for argument, value, node in [("out", record.out, record), *_arguments(record)]:
            self._make_known(value, node, record, argument)
        for name, value in zip(record.op.aux, record.aux, strict=True):
            if isinstance(value, torch.Tensor):
                self._backward.name(value, self._call((record, name), f"{self.variable(record)}_{name}"))

    def _make_known(self, value: Any, node: Any, record: Record, argument: str) -> None:
        """Tell the trace what to call a saved tensor."""
        if value is None or self._backward.known(value):
            return
        if node is None:
            self._name_constant(self._backward, value, value, f"{record.op.name}_{argument}")
        elif node in self.named or not self._write_out(value, node):
            self._backward.name(value, self.variable(node))

    def _write_out(self, value: torch.Tensor, node: Any) -> bool:
        """Write an unnamed intermediate as an expression of named ones, if that is short: ``bnvar + 1e-05``."""
        if type(node) is not Record or len(node.op.parameters) > 2 or node.op.aux:
            return False
        pairs = list(zip(node.args, node.parents or (), strict=True))
        if not all(p is None or (type(p) is not tuple and p in self.named and p in self.values) for _, p in pairs):
            return False
        for argument, (arg, p) in zip(node.op.parameters, pairs, strict=True):
            for tensor in _tensors(arg if p is None else self.values[p]):
                self._make_known(tensor, p, node, argument)
        with self._backward:
            again = node.op.run(*[arg if p is None else self.values[p] for arg, p in pairs])
        expression = self._backward.expression(again)
        if len(_inline(expression)) > _SHORT or not (value.is_meta or _equal(value, again)):
            return False
        self._backward.alias(value, expression)
        return True

    # --- the whole ---

    def text(self, forward: bool = False) -> str:
        """The source."""
        inputs = self._inputs(self.body)
        results = [(name, statement.name) for name, statement in self._results]
        functions = [function("backward", inputs, self.body.lines, "return ", results)]
        if forward:
            functions.insert(0, self._forward_text(inputs))
        return module(functions)

    def gradient_lines(self) -> list[tuple[str, Any]]:
        """Each statement of the backward pass, and the node whose gradient it computes; None if it is a mere part."""
        nodes = {f"d{self.variable(node)}": node for node in [*self.tape.leaves, *self.tape]}
        nodes |= {
            statement.name: nodes.get(f"d{name}") for name, statement in self._results if statement.name not in nodes
        }
        found: list[tuple[str, Any]] = []
        for line in self.body.lines:
            text = line[4:]
            if text.startswith("#"):
                continue
            if found and text[:1] in (" ", ")", "]"):
                found[-1] = (f"{found[-1][0]}\n{text}", found[-1][1])
            else:
                found.append((text, nodes.get(text.partition(" ")[0])))
        return found

    def _forward_body(self) -> Body:
        return Body(self._forward_statements(set(self._inputs(self.body))), {}, RESERVED)

    def _inputs(self, body: Body) -> list[str]:
        """The parameters: gradients of outputs, leaves, computed tensors and constants."""
        cotangents = self._cotangents()
        inputs = {n.name for n in body.inputs}
        rest = [name for name in self._names.values() if name in inputs and name not in cotangents]
        return [*(cotangents if body is self.body else ()), *rest]

    def _forward_text(self, needed: Sequence[str]) -> str:
        cotangents = self._cotangents()
        body = self._forward_body()
        saved = [(name, name) for name in needed if name not in cotangents]
        outputs = ", ".join([self.variable(output) for output in self.tape.outputs])
        text = function("forward", self._forward_inputs(body), body.lines, "saved = ", saved)
        return f"{text}\n    return {outputs}, saved"

    def _forward_inputs(self, body: Body) -> list[str]:
        returned = [*self._inputs(self.body), *map(self.variable, self.tape.outputs)]
        passed_on = [name for name in returned if name in self._given]
        return list(dict.fromkeys([*self._inputs(body), *passed_on]))

    def bindings(self, forward: bool = False) -> dict[str, torch.Tensor]:
        """The tensors to call the function with: ``backward``, or ``forward`` if the program has it."""
        if forward:
            return {name: self._given[name] for name in self._forward_inputs(self._forward_body())}
        values, cotangents = {n.name: n.value for n in self.body.inputs}, self._cotangents()
        return {name: values[name] for name in self._inputs(self.body) if name not in cotangents}

    def _cotangents(self) -> list[str]:
        """The parameters for the gradients of outputs."""
        keys = [("cotangent", output) for output in dict.fromkeys(self.tape.outputs)]
        return [self._names[key] for key in keys if key in self._names]


def _arguments(record: Record) -> Iterator[tuple[str, torch.Tensor | None, Any]]:
    """A record's tensors: the argument, the tensor, and where it comes from; those of sequences one by one."""
    for argument, value, node in zip(record.op.parameters, record.args, record.parents or (), strict=True):
        if type(node) is tuple:
            yield from ((argument, v, n) for v, n in zip(value or (None,) * len(node), node, strict=True))
        elif node is not None:
            yield argument, value, node
        else:
            yield from ((argument, tensor, None) for tensor in _tensors(value))


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from _tensors(v)


def _by_word(lines: Sequence[str]) -> dict[str, list[str]]:
    """Statements by the words that their right sides use."""
    found: dict[str, list[str]] = {}
    for line in lines:
        statement = line.strip().partition("  # ")[0]
        for word in dict.fromkeys(re.findall(r"\w+", statement.partition(" = ")[2])):
            found.setdefault(word, []).append(statement)
    return found


def _inline(expression: Expression) -> str:
    """A short expression in one piece; anything else as something long."""
    parts: set[Expression] = set()
    stack = [expression]
    while stack and len(parts) <= _SHORT:
        part = stack.pop()
        if part not in parts:
            parts.add(part)
            stack.extend(part.operands())
    if len(parts) > _SHORT:
        return "?" * LINE
    texts: dict[Expression, Text] = {}
    for part in sorted(parts, key=lambda e: e.order):  # operands come first
        texts[part] = text_of(part, texts)
        if len(texts[part].text) > LINE:
            return texts[part].text
    return texts[expression].text


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
