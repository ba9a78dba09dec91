"""A tape written out as PyTorch source: of its backward pass, and of the forward pass that it recorded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from keyword import iskeyword
from typing import Any

import torch

from tapegrad.apply import node
from tapegrad.body import Body, Statement
from tapegrad.gradients import Gradients
from tapegrad.names import name_nodes, tensors_in
from tapegrad.tape import Record, Tape, parents_of, reached, shape_text
from tapegrad.tensor import Tensor
from tapegrad.trace import Node, Trace
from tapegrad.writing import LINE, Text, expression, plain

STYLES = ("plain", "exact")
RESERVED = ("torch", "F", "forward", "backward")
_SHORT = 40  # characters of an unnamed intermediate that is written out instead of passed in


class Program:
    """The backward pass of a tape, and its forward pass, written out.

    Args:
        tape: what to write.
        scope: variable name -> value, to call tensors by.
        style: see ``Tape.source``.
    """

    def __init__(self, tape: Tape, scope: Mapping[str, Any], style: str) -> None:
        if style not in STYLES:
            raise ValueError(f"source: style must be one of {', '.join(STYLES)}, not {style!r}")
        reached(tape.outputs)  # or it is freed
        self.tape = tape
        self.exact = style == "exact"
        self.named = {**tape.names, **name_nodes(scope)}
        self.values: dict[Any, torch.Tensor] = {}  # node -> its raw tensor, where it is still there
        self._names: dict[Any, str] = {}  # node, or id of a raw tensor -> what it is called
        self._called: set[str] = {*RESERVED}
        self._given: dict[str, torch.Tensor] = {}  # leaves and constants, by name
        for place in [*tape.leaves, *tape]:
            if place in self.named or type(place) is not Record:
                self.variable(place)
        constants = {id(value) for record in tape for value, origin in _arguments(record) if origin is None}
        for name, called in tensors_in(scope):
            origin = node(called) if isinstance(called, Tensor) else None
            data = called._data if isinstance(called, Tensor) else called
            if origin is not None:
                self.values.setdefault(origin, data)
            elif id(data) in constants:
                self._call(id(data), name)
        for leaf in tape.leaves:
            self.values[leaf] = leaf._data
        for record in tape:
            for value, origin in [(record.out, record), *_arguments(record)]:
                if value is not None and origin is not None:
                    self.values.setdefault(origin, value)
        devices = {value.device for value in self.values.values() if value.device.type == "cuda"}
        with torch.random.fork_rng(devices), torch.no_grad():
            self._forward = Trace()
            self._computed = self._run()
            self._backward = Trace(self.exact)
            self._statements: list[Statement] = []
            self._results: list[tuple[str, Statement]] = []
            self._hints: dict[Node, str] = {}
            lines = Body(self._forward_statements(()), {}, RESERVED).lines
            self._lines = [line.strip().partition("  # ")[0] for line in lines]
            self._walk()
        self.body = Body(self._statements, self._hints, RESERVED)
        for n in self.body.inputs:
            if n.name not in self._called:  # a constant that a rule keeps out of sight
                self._given[self._call(id(n.value), n.name)] = n.value

    # --- names ---

    def variable(self, place: Any) -> str:
        """What a node is called."""
        return self._call(place, self.named[place] if place in self.named else self.tape.name(place))

    def _call(self, key: Any, name: str) -> str:
        """The variable name of a node, or of a constant by its id: near to the given one, and its alone."""
        if key not in self._names:
            base = candidate = identifier(name)
            i = 2
            while candidate in self._called:
                candidate, i = f"{base}_{i}", i + 1
            self._called.add(candidate)
            self._names[key] = candidate
        return self._names[key]

    # --- forward ---

    def _run(self) -> dict[Any, Any]:
        """Run the records again, watched by a trace: a value for each node, and for (record, i) its auxiliary ones."""
        computed: dict[Any, Any] = {leaf: leaf._data for leaf in self.tape.leaves}
        for leaf in self.tape.leaves:
            self._given[self.variable(leaf)] = leaf._data
            self._forward.name(leaf._data, self.variable(leaf))
        copies: dict[int, torch.Tensor] = {}  # of constants, for the ops that write into them

        def again(value: Any, place: Any) -> Any:
            if type(place) is tuple:
                given = value or (None,) * len(place)
                return tuple([again(v, p) for v, p in zip(given, place, strict=True)])
            if place is not None:
                return computed[place]
            if isinstance(value, torch.Tensor):
                if id(value) not in copies:
                    copies[id(value)] = value.clone()
                    self._name_constant(self._forward, copies[id(value)], value, hint)
                return copies[id(value)]
            if isinstance(value, torch.Generator):
                return value.clone_state()
            return type(value)([again(v, None) for v in value]) if type(value) in (tuple, list) else value

        for record in self.tape:
            args = []
            for parameter, value, place in zip(record.op.parameters, record.args, record.parents or (), strict=True):
                hint = f"{record.op.name}_{parameter}"
                args.append(again(value, place))
            with self._forward:
                result = record.op.run(*args)
            computed[record], *aux = result if record.op.aux else (result,)
            computed.update({(record, i): value for i, value in enumerate(aux)})
        return computed

    def _name_constant(self, trace: Trace, value: torch.Tensor, original: torch.Tensor, hint: str) -> None:
        """Call a constant by the user's name, by what it plainly is, or by the argument that it was given for."""
        if id(original) in self._names or trace.node(value).kind == "input":
            name = self._call(id(original), hint)
            self._given[name] = original
            trace.name(value, name)

    def _forward_statements(self, needed: Sequence[str]) -> list[Statement]:
        statements = []
        for record in self.tape:
            if record in self.named or record in self.tape.outputs or self._names.get(record) in needed:
                node = self._forward.node(self._computed[record])
                statements.append(Statement(self.variable(record), node, _shape_comment(record)))
            for i, name in enumerate(record.op.aux):
                if self._names.get((record, name)) in needed:
                    node = self._forward.node(self._computed[record, i])
                    statements.append(Statement(self._names[record, name], node))
        return statements

    # --- backward ---

    def _walk(self) -> None:
        """Run every rule watched by a trace, newest record first, as the engine's walk runs it."""
        trace = self._backward
        gradients = Gradients(in_place=True)
        pending = gradients.pending
        for output in dict.fromkeys(self.tape.outputs):
            pending[output] = torch.ones_like(self._computed[output])
            if len(self.tape.outputs) == 1 and output.shape.numel() == 1:
                trace.number(pending[output], 1.0)
            else:
                trace.name(pending[output], self._call(("cotangent", output), f"d{self.variable(output)}"))
        uses = Counter(place for record in self.tape for place in parents_of(record))
        for record in reversed(self.tape):
            g = pending.pop(record, None)
            if g is not None:
                self._settle(record, g)
                for value, place in [(record.out, record), *_arguments(record)]:
                    self._make_known(value, place, record)
                for name, value in zip(record.op.aux, record.aux, strict=True):
                    if isinstance(value, torch.Tensor):
                        trace.name(value, self._call((record, name), f"{self.variable(record)}_{name}"))
                with trace:
                    for place, part in self._parts(record, g):
                        gradients.give(place, part)
            for place in parents_of(record):
                uses[place] -= 1
                if type(place) is not Record and not uses[place] and place in pending:
                    self._settle(place, pending.pop(place))
        for place, g in pending.items():
            self._settle(place, g)

    def _parts(self, record: Record, g: torch.Tensor) -> Iterator[tuple[Any, torch.Tensor]]:
        """What a record's rule gives to each of its parents."""
        pullbacks = record.op.pullbacks if self.exact else record.op.differentiable
        for pullback, parent in zip(pullbacks, record.parents or (), strict=True):
            if parent is None or pullback is None:
                continue
            part = pullback(g, record.saved, parent)
            pairs = zip(parent, part, strict=True) if type(parent) is tuple else ((parent, part),)
            yield from ((p, g) for p, g in pairs if p is not None and g is not None)

    def _settle(self, place: Any, g: torch.Tensor) -> None:
        """Note a node's complete gradient: a statement if the node has a name, a hint to a name if it has none."""
        node = self._backward.node(g)
        name = f"d{self.variable(place)}"
        if place in self.named or type(place) is not Record:
            cotangent = node.kind == "input" and node.name == self._names.get(("cotangent", place))
            comment = () if node.number is not None else (*_shape_comment(place), *self._undone(place))
            statement = Statement(node.name if cotangent else name, node, comment)
            if not cotangent:
                self._statements.append(statement)
            self._results.append((self.named.get(place, self.variable(place)), statement))
        else:
            self._hints.setdefault(node, name)

    def _undone(self, place: Any) -> list[str]:
        """The forward lines that use a node, newest first."""
        word = re.compile(rf"\b{self.variable(place)}\b")
        return [line for line in reversed(self._lines) if word.search(line.partition(" = ")[2])]

    def _make_known(self, value: Any, place: Any, record: Record) -> None:
        """Tell the trace what to call a saved tensor."""
        if value is None or self._backward.known(value):
            return
        if place is None:
            self._name_constant(self._backward, value, value, f"{record.op.name}_{self._parameter(record, value)}")
        elif place in self.named or not self._write_out(value, place):
            self._backward.name(value, self.variable(place))

    def _parameter(self, record: Record, value: torch.Tensor) -> str:
        return next(
            name
            for name, arg in zip(record.op.parameters, record.args, strict=True)
            if any(v is value for v in _tensors(arg))
        )

    def _write_out(self, value: torch.Tensor, place: Any) -> bool:
        """Write an unnamed intermediate as an expression of named ones, if that is short: ``bnvar + 1e-05``."""
        if type(place) is not Record or len(place.op.parameters) > 2 or place.op.aux:
            return False
        pairs = list(zip(place.args, place.parents or (), strict=True))
        if not all(p is None or (type(p) is not tuple and p in self.named and p in self.values) for _, p in pairs):
            return False
        for arg, p in pairs:
            for tensor in _tensors(arg if p is None else self.values[p]):
                self._make_known(tensor, p, place)
        with self._backward:
            again = place.op.run(*[arg if p is None else self.values[p] for arg, p in pairs])
        node = self._backward.node(again)
        if len(_inline(node)) > _SHORT or not (value.is_meta or _equal(value, again)):
            return False
        self._backward.alias(value, node)
        return True

    # --- the whole ---

    def text(self, forward: bool = False) -> str:
        """The source."""
        inputs = self._inputs(self.body)
        results = [(name, statement.name) for name, statement in self._results]
        functions = [_function("backward", inputs, self.body.lines, "return ", results)]
        if forward:
            functions.insert(0, self._forward_text(inputs))
        whole = "\n\n\n".join(functions)
        imports = [
            *(["import torch"] if re.search(r"\btorch\.", whole) else []),
            *(["import torch.nn.functional as F"] if re.search(r"\bF\.", whole) else []),
        ]
        return "\n".join([*imports, *(["", ""] if imports else []), whole, ""])

    def _forward_body(self) -> Body:
        return Body(self._forward_statements(self._inputs(self.body)), {}, RESERVED)

    def _inputs(self, body: Body) -> list[str]:
        """The parameters: gradients of outputs, leaves, computed tensors and constants."""
        cotangents, rest = self._cotangents(), list(self._names.values())
        inputs = [n.name for n in body.inputs if n.name not in cotangents]
        return [*(cotangents if body is self.body else ()), *sorted(inputs, key=rest.index)]

    def _forward_text(self, needed: Sequence[str]) -> str:
        cotangents = self._cotangents()
        body = self._forward_body()
        saved = [(name, name) for name in needed if name not in cotangents]
        outputs = ", ".join([self.variable(output) for output in self.tape.outputs])
        function = _function("forward", self._forward_inputs(body), body.lines, "saved = ", saved)
        return f"{function}\n    return {outputs}, saved"

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
        return [name for key, name in self._names.items() if type(key) is tuple and key[0] == "cotangent"]


def identifier(name: str) -> str:
    """A variable name as near to ``layers[0].weight`` as Python allows."""
    name = re.sub(r"\W+", "_", name).strip("_") or "x"
    return f"{name}_" if iskeyword(name) or name in ("l", "O", "I") else name if name.isidentifier() else f"x{name}"


def _function(name: str, inputs: Sequence[str], lines: Sequence[str], before: str, results: Any) -> str:
    head = f"def {name}({', '.join(inputs)}):"
    if len(head) > LINE:
        head = f"def {name}(\n    {', '.join(inputs)}\n):"
    if max(map(len, head.splitlines())) > LINE:
        head = f"def {name}(\n" + "".join(f"    {n},\n" for n in inputs) + "):"
    items = [f"{plain(key).text}: {value}" for key, value in results]
    last = f"    {before}{{{', '.join(items)}}}"
    if len(last) > LINE:
        last = f"    {before}{{\n" + "".join(f"        {item},\n" for item in items) + "    }"
    return "\n".join([head, *lines, last])


def _arguments(record: Record) -> Iterator[tuple[torch.Tensor | None, Any]]:
    """A record's tensors and where they come from; those of sequences and of indices one by one."""
    for value, place in zip(record.args, record.parents or (), strict=True):
        if type(place) is tuple:
            yield from zip(value or (None,) * len(place), place, strict=True)
        elif place is not None:
            yield value, place
        else:
            yield from ((tensor, None) for tensor in _tensors(value))


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from _tensors(v)


def _shape_comment(place: Any) -> tuple[str, ...]:
    return (shape_text(place.shape),) if place.shape else ()


def _inline(node: Node) -> str:
    """A short expression in one piece; anything else as something long."""
    if node.kind == "input" or node.number is not None:
        return expression(node, {}).text
    operands = list(node.operands())
    return expression(node, {n: Text(_inline(n)) for n in operands}).text if len(operands) < 3 else "?" * LINE


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
