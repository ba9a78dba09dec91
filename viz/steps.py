"""The backward pass as data for a page that steps through it: nodes, lines, steps and samples of tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tapegrad.engine.tape import Record, parents_of, shape_text
from tapegrad.inspect.grad_mode import in_grad_mode
from tapegrad.inspect.parts import Parts, Sent
from tapegrad.inspect.replay import replay
from tapegrad.inspect.tape import Tape
from tapegrad.source.explain import formula, reasons, sum_of_uses
from tapegrad.source.layout import Text
from tapegrad.source.program import Program
from tapegrad.source.quotes import hosts

from .expression import constant, expression
from .modules import modules

ROWS, COLUMNS = 12, 12  # of a sample


class Steps:
    """A walk along a tape, told step by step.

    Args:
        tape: what to walk.
        scope: the variables that name constants.
        gradient: as for ``Tape.backward``.

    Attributes:
        data: what the page shows, of numbers, strings, lists and dicts.
    """

    def __init__(self, tape: Tape, scope: Mapping[str, Any], gradient: Any = None) -> None:
        self._tape = tape
        self._parts = Parts(tape, gradient)
        self._arrived: dict[Any, list[Sent]] = {}
        self._uses = Counter(s.node for s in self._parts.sent)
        self._ids = {node: i for i, node in enumerate(tape.nodes)}
        self._samples: list[dict[str, Any]] = []
        self._known: dict[str, int] = {}
        self._labels = {id(t): name for name, t in scope.items() if isinstance(t, torch.Tensor) and name[:1] != "_"}
        leaves = {leaf: leaf._data for leaf in tape.leaves}
        devices = {t.device for t in leaves.values() if t.device.type == "cuda"}
        with torch.random.fork_rng(devices):
            self._values = in_grad_mode(False, lambda: replay(tape, leaves))
        self._modules = modules(tape)
        forward = self._forward()
        backward = self._backward(scope)
        steps = [self._step(record) for record in reversed(tape) if record in self._parts.gradients]
        self.data: dict[str, Any] = {
            "nodes": [self._node(node) for node in tape.nodes],
            "edges": [[self._ids[p], self._ids[r]] for r in tape for p in dict.fromkeys(parents_of(r))],
            "forward": forward,
            "backward": backward,
            "steps": steps,
            "samples": self._samples,
        }

    def _name(self, node: Any) -> str:
        return self._tape.name(node)

    def _node(self, node: Any) -> dict[str, Any]:
        computed = type(node) is Record
        g = self._parts.gradients.get(node)
        return {
            "name": self._name(node),
            "kind": "output" if node in self._tape.outputs else "op" if computed else "leaf",
            "op": node.op.name.strip("_") if computed else "leaf",
            "shape": shape_text(node.shape),
            "dtype": str(node.dtype).removeprefix("torch."),
            "module": self._modules.get(node, ""),
            "value": self._sample(self._values[node]),
            "grad": None if g is None else self._sample(g),
        }

    def _step(self, record: Record) -> dict[str, Any]:
        sends = []
        texts: list[str] = []
        for s in self._parts.sent:
            if s.record is not record:
                continue
            name = self._name(s.node)
            before = self._arrived.setdefault(s.node, [])
            before.append(s)
            of = self._uses[s.node]
            total = s.sent if len(before) == 1 else self._sum(before)
            said = reasons(s, name)
            if of > 1:
                said.append(f"{sum_of_uses(name, of)}: this is part {len(before)} of {of}")
            texts += [t for t in said if t not in texts]
            sends.append(
                {
                    "to": self._ids[s.node],
                    "argument": s.argument,
                    "formula": formula(record.op, s.argument),
                    "part": self._sample(s.part),
                    "sent": self._sample(s.sent),
                    "number": len(before),
                    "of": of,
                    "total": self._sample(total),
                }
            )
        return {"node": self._ids[record], "reasons": texts, "sends": sends}

    def _sum(self, parts: Sequence[Sent]) -> torch.Tensor:
        if len(parts) == self._uses[parts[0].node] and parts[0].node in self._parts.gradients:
            return self._parts.gradients[parts[0].node]
        total = parts[0].sent
        for s in parts[1:]:
            total = total + s.sent
        return total

    # --- lines ---

    def _forward(self) -> list[dict[str, Any]]:
        """The user's lines with the records that they computed, or lines made from the records."""
        of = hosts(self._tape)
        found: dict[Any, list[int]] = {}
        texts: dict[Any, str] = {}
        for record in self._tape:
            host = of[record]
            found.setdefault(host, []).append(self._ids[record])
            if host not in texts:
                line = self._tape.lines.get(host)
                texts[host] = line.text if line is not None else f"{self._name(host)} = {self._spelled(host)}"
        return [{"text": texts[host], "nodes": ids, "main": self._ids[host]} for host, ids in found.items()]

    def _spelled(self, record: Record) -> str:
        """A record as an expression, with those before it that have no name and are used once written into it."""
        uses = self._tape.uses()
        texts: dict[Any, Text] = {}
        order, stack = [], [record]
        while stack:
            r = stack.pop()
            order.append(r)
            stack += [
                p
                for p in parents_of(r)
                if type(p) is Record and p not in self._tape.names and p not in self._tape.lines and uses[p] == 1
            ]
        for r in reversed(order):
            texts[r] = expression(r, lambda n: texts.get(n) or self._operand(n))
        return texts[record].text

    def _operand(self, node: Any) -> Text:
        if isinstance(node, torch.Tensor) and node not in self._ids:
            return Text(self._labels.get(id(node)) or constant(node))
        return Text(self._name(node))

    def _backward(self, scope: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The lines of the written backward pass, with the nodes whose gradients they compute."""
        try:
            lines = Program(self._tape, scope, "plain").gradient_lines()
        except (NotImplementedError, ValueError):
            lines = [
                (f"d{self._name(s.node)} += {formula(s.record.op, s.argument)}  # {self._name(s.record)}", s.node)
                for s in self._parts.sent
            ]
        return [{"text": text, "nodes": [] if node is None else [self._ids[node]]} for text, node in lines]

    # --- samples ---

    def _sample(self, t: torch.Tensor) -> int:
        """The number of a sample of a tensor."""
        made = sample(t)
        key = repr(made)
        if key not in self._known:
            self._known[key] = len(self._samples)
            self._samples.append(made)
        return self._known[key]


def sample(t: torch.Tensor) -> dict[str, Any]:
    """Some of a tensor's elements as rows of numbers, with what is left out.

    A tensor of more than two dimensions is shown as the matrix of its last; of a large one, rows and columns are taken
    at equal distances, from the first to the last.
    """
    shape = tuple(t.shape)
    if t.is_meta:
        return {"shape": list(shape), "rows": [], "columns": [], "values": [], "note": "no elements: a meta tensor"}
    t = t.detach()
    t = t.to_dense() if t.layout is not torch.strided else t
    width = shape[-1] if shape else 1
    matrix = t.reshape(-1, width) if t.numel() else t.reshape(0, 1)
    rows, columns = _chosen(matrix.shape[0], ROWS), _chosen(matrix.shape[1], COLUMNS)
    picked = matrix[rows][:, columns].double().cpu()
    largest = float(matrix.double().abs().nan_to_num(0, 0, 0).max()) if t.numel() else 0.0
    left_out = len(rows) < matrix.shape[0] or len(columns) < matrix.shape[1]
    note = f"{len(rows)} of {matrix.shape[0]} rows, {len(columns)} of {matrix.shape[1]} columns" if left_out else ""
    return {
        "shape": list(shape),
        "rows": rows,
        "columns": columns,
        "values": [[_number(v) for v in row] for row in picked.tolist()],
        "largest": float(f"{largest:.6g}"),
        "note": f"sampled: {note}" if note else "",
    }


def _chosen(n: int, most: int) -> list[int]:
    return list(range(n)) if n <= most else [round(i * (n - 1) / (most - 1)) for i in range(most)]


def _number(v: float) -> float | str:
    """A number to six digits; as text, what JSON has no number for."""
    return float(f"{v:.6g}") if v == v and abs(v) != float("inf") else str(v)
