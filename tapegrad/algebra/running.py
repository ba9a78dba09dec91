"""A tape run once more in float64, on its own values or on others, with the engine's own gradients to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from tapegrad.algebra.constants import Constants
from tapegrad.engine.apply import apply
from tapegrad.engine.tape import Record
from tapegrad.engine.tensor import raw, tensor
from tapegrad.engine.walk import walk
from tapegrad.inspect.grad_mode import in_grad_mode
from tapegrad.inspect.tape import Tape


class Run:
    """The records of a tape, run again.

    Args:
        tape: what to run.
        constants: what takes no gradient.
        leaf: gives the value of a leaf, in float64, from the one that it has.

    Attributes:
        tensors: node -> its Tensor, on a tape of its own.
        saved: record -> the raw output, arguments and auxiliary outputs, all of them, as rules read them.
        constants: id of the original -> the copy that was used in its place.
    """

    def __init__(
        self, tape: Tape, constants: Constants, leaf: Callable[[torch.Tensor], torch.Tensor] = torch.clone
    ) -> None:
        self.tape = tape
        self._copies = constants.copies
        self.tensors: dict[Any, Any] = {}
        self.saved: dict[Record, tuple[Any, ...]] = {}
        self.constants: dict[int, torch.Tensor] = {}
        in_grad_mode(True, lambda: self._run(leaf))

    def _run(self, leaf: Callable[[torch.Tensor], torch.Tensor]) -> None:
        for node in self.tape.leaves:
            self.tensors[node] = tensor(leaf(node._data.double()), requires_grad=True)
        for record in self.tape:
            self._again(record)

    def _again(self, record: Record) -> None:
        args = [self._argument(v, p) for v, p in zip(record.args, record.parents or (), strict=True)]
        result = apply(record.op, tuple(args))
        out, *aux = result if record.op.aux else (result,)
        self.tensors[record] = out
        self.saved[record] = (raw(out), *[_raw(a) for a in args], *aux)

    def _argument(self, value: Any, parent: Any) -> Any:
        """A Tensor for a node, a copy of a constant."""
        if type(parent) is tuple:
            items = value or (None,) * len(parent)
            return tuple([self._argument(v, p) for v, p in zip(items, parent, strict=True)])
        if parent is not None:
            return self.tensors[parent]
        if isinstance(value, torch.Tensor):
            return self.constant(id(value))
        if isinstance(value, torch.Generator):
            return value.clone_state()
        return type(value)([self._argument(v, None) for v in value]) if type(value) in (tuple, list) else value

    def constant(self, key: int) -> torch.Tensor:
        """The copy of a constant, by the original's id: this run's own, for some ops write into theirs."""
        if key not in self.constants:
            self.constants[key] = self._copies[key].clone()
        return self.constants[key]

    def value(self, node: Any) -> torch.Tensor:
        """The raw value of a record or leaf."""
        data: torch.Tensor = raw(self.tensors[node])
        return data

    def gradients(self, start: Any, g: torch.Tensor, nodes: Iterable[Any]) -> Mapping[Any, torch.Tensor]:
        """What the engine's walk gives some nodes, from a gradient of ``start``."""
        wanted = {node: self.tensors[node] for node in nodes}
        inner = {node: t.record if t.record is not None else t for node, t in wanted.items()}
        outer = {n: node for node, n in inner.items()}
        found = walk([(inner[start], g)], list(outer), retain_graph=True, hooks=False)
        return {outer[n]: part for n, part in found.items()}


def other_value(generator: torch.Generator) -> Callable[[torch.Tensor], torch.Tensor]:
    """Random numbers in place of a leaf's: of the same signs, so that what had a logarithm still has one."""

    def drawn(value: torch.Tensor) -> torch.Tensor:
        factor = 0.5 + torch.rand(value.shape, generator=generator, dtype=torch.float64).to(value.device)
        noise = 0.1 * torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.device)
        return torch.where(value == 0, noise, value * factor)

    return drawn


def _raw(value: Any) -> Any:
    """An argument without Tensors; of a sequence, each."""
    return tuple(map(raw, value)) if type(value) is tuple else raw(value)
