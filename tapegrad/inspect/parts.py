"""The backward pass of a tape, part by part: what each rule sends to each node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from tapegrad.engine.gradients import Part
from tapegrad.engine.tape import Record, observers
from tapegrad.engine.unbroadcast import unbroadcast
from tapegrad.engine.walk import walk
from tapegrad.inspect.grad_mode import in_grad_mode
from tapegrad.inspect.tape import Tape


@dataclass(frozen=True, eq=False)
class Sent:
    """What a rule gives one argument.

    Attributes:
        record: whose rule it is.
        argument: the name of the argument.
        node: the record or leaf that the argument came from.
        part: as the rule gives it.
        sent: in the node's shape: summed over the copies that a broadcast made, put where an index took it from.
    """

    record: Record
    argument: str
    node: Any
    part: torch.Tensor
    sent: torch.Tensor


class Parts:
    """A walk along a tape, which is left as it is.

    Args:
        tape: what to walk.
        gradient: as for ``Tape.backward``.

    Attributes:
        gradients: record or leaf -> its gradient.
        sent: what rules gave, in the order of the walk.
    """

    def __init__(self, tape: Tape, gradient: Any = None) -> None:
        self.sent: list[Sent] = []
        self._seen: list[tuple[Record, str, Any]] = []
        starts = tape.starts(gradient)
        observers.append(self)
        try:
            self.gradients: dict[Any, torch.Tensor] = in_grad_mode(
                False, lambda: walk(starts, tape.nodes, retain_graph=True, hooks=False)
            )
        finally:
            observers.remove(self)
        on_tape = set(tape)
        self.sent = in_grad_mode(False, lambda: self._sorted([s for s in self._seen if s[0] in on_tape]))

    def made(self, record: Record, out: torch.Tensor) -> None:
        """An observer is told of new records; here they do not matter."""

    def passed(self, record: Record, argument: str, g: Any) -> None:
        """Keep what a rule gives."""
        self._seen.append((record, argument, g))

    def _sorted(self, seen: list[tuple[Record, str, Any]]) -> list[Sent]:
        """Each piece with the node that it goes to."""
        found: list[Sent] = []
        pieces = iter(seen)
        for record, argument, g in pieces:
            parent = (record.parents or ())[record.op.parameters.index(argument)]
            nodes = parent if type(parent) is tuple else (parent,)
            rest = [g, *[next(pieces)[2] for _ in nodes[1:]]]
            for i, (node, part) in enumerate(zip(nodes, rest, strict=True)):
                if node is not None:
                    found.append(Sent(record, argument, node, part, self._fitted(record, argument, node, part, i)))
        return found

    def _fitted(self, record: Record, argument: str, node: Any, part: torch.Tensor, i: int) -> torch.Tensor:
        if part.shape != node.shape:
            try:
                part = unbroadcast(part, node.shape)
            except RuntimeError:  # of an index: the formula writes the zeros as well
                position = record.op.parameters.index(argument)
                pullback, parent = record.op.recorded_pullbacks[position], (record.parents or ())[position]
                whole: Any = pullback(self.gradients[record], record.saved, parent)  # type: ignore[misc]  # it has one
                whole = whole[i] if type(parent) is tuple else whole
                part = whole.whole(node.shape) if type(whole) is Part else whole
                part = unbroadcast(part, node.shape) if part.shape != node.shape else part
        return part.to(node.dtype)

    def into(self, node: Any) -> list[Sent]:
        """The parts of a node's gradient, in the order in which they come."""
        return [s for s in self.sent if s.node is node]
