"""Checking gradients that were worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tapegrad.engine.tape import Record, parents_of, shape_text
from tapegrad.engine.tensor import Tensor, raw
from tapegrad.engine.unbroadcast import unbroadcast
from tapegrad.inspect.compare import Comparison, Row
from tapegrad.inspect.grad_mode import in_grad_mode
from tapegrad.inspect.hints import Facts, Named, hint, negligible
from tapegrad.inspect.names import scope_of, tensors_in
from tapegrad.inspect.parts import Parts
from tapegrad.inspect.replay import replay
from tapegrad.inspect.tape import Tape
from tapegrad.tracebacks import trimmed

_SIGNS = {"add": "+", "sub": "-", "rsub": "-", "mul": "*", "div": "/", "pow": "**"}
_NEAR = 3  # records away from a node, within which a tensor may be a factor of its gradient


@dataclass(frozen=True)
class Checked(Row):
    """A hand-written gradient beside the right one.

    Attributes:
        hint: what is wrong with it, as far as trying typical mistakes tells; empty if it is right.
    """

    hint: str = ""

    def __str__(self) -> str:
        return f"{super().__str__()}\n    {self.hint}" if self.hint else super().__str__()


class Checks(Comparison):
    """Rows of hand-written gradients beside the right ones; prints as the lecture's table, with a hint where wrong."""

    def _columns(self) -> tuple[str, ...]:
        return (
            (*super()._columns(), "hint")
            if any(isinstance(row, Checked) and row.hint for row in self)
            else super()._columns()
        )

    def _cells(self, row: Any) -> tuple[object, ...]:
        return (*super()._cells(row), row.hint)[: len(self._columns())]


@trimmed
def check(loss: Any, gradients: Mapping[str, Any], names: Mapping[str, Any] | None = None) -> Checks:
    """Check gradients that were worked out by hand, and say what is wrong with those that are.

    Args:
        loss: a Tensor, a Tape, or a torch tensor that torch.autograd follows. Its tape stays.
        gradients: name of a tensor of the forward pass -> its gradient as you have it, a torch tensor or a Tensor; or
            ``...`` for one that is still to be written.
        names: variable name -> value, to find the tensors by, for example ``locals()``; by default, the variables that
            the calling code can see.

    Returns:
        A row for each, with its name, exact, approximate and maxdiff. A wrong one has a hint that was found by trying
        signs, constant factors, sums too many or too few, transposes, forgotten branches and steps left out.

    Raises:
        TypeError: ``loss``, or a gradient, is no tensor.
        ValueError: there is no tensor of that name, or it has no gradient.
        FreedTape: a backward without ``retain_graph=True`` has freed the tape.

    Example:
        >>> x = tapegrad.tensor([1.0, 2.0], requires_grad=True)
        >>> y = x * x
        >>> loss = y.sum()
        >>> tapegrad.check(loss, {"x": -2 * x.data})
        x               | exact: False | approximate: False | maxdiff: 8.0
            the sign is wrong
    """
    scope = scope_of(names)
    if isinstance(loss, Tape) or (isinstance(loss, Tensor) and loss.requires_grad):
        known: Any = _OnTape(loss if isinstance(loss, Tape) else Tape([loss], scope))
    elif isinstance(loss, torch.Tensor) and not isinstance(loss, Tensor) and loss.grad_fn is not None:
        known = _OnTorch(loss, dict(tensors_in(scope)))
    else:
        raise TypeError("check: expected a Tensor that requires grad, a Tape, or a torch tensor with a grad_fn")
    if not gradients:
        raise ValueError("check: gradients is empty: nothing to check")
    return Checks([_row(name, given, known) for name, given in gradients.items()])


def _row(name: Any, given: Any, known: Any) -> Checked:
    if not isinstance(name, str):
        raise TypeError(f"check: gradients are given by name, such as {{'W1': dW1}}, not by {type(name).__name__}")
    facts: Facts = known.facts(name)
    truth = facts.truth
    shape = tuple(truth.shape)
    if given is None or given is Ellipsis:
        return Checked(name, shape, False, False, float("nan"), "it is still to be written")
    given = raw(given)
    if not isinstance(given, torch.Tensor):
        raise TypeError(f"check: the gradient of {name} is no tensor but {type(given).__name__}")
    given = given.detach().to(truth.device)
    if given.shape != truth.shape or not given.is_floating_point():
        return Checked(name, shape, False, False, float("inf"), in_grad_mode(False, lambda: hint(given, facts)))
    row = Row.of(name, given.to(truth.dtype), truth)
    look = hint if not row.approximate else negligible
    text = "" if row.exact else in_grad_mode(False, lambda: look(given, facts))
    if not row.approximate and not text:
        text = "it is wrong, and none of the usual mistakes gives it; look at the line that computes " + facts.name
    return Checked(name, shape, row.exact, row.approximate, row.maxdiff, text)


class _OnTape:
    """What a tape knows of its gradients."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._parts = Parts(tape)
        self._values: dict[Any, torch.Tensor] = {}

    def facts(self, name: str) -> Facts:
        tape = self._tape
        node = tape.node(name, "check")
        truth = self._parts.gradients.get(node)
        if truth is None:
            raise ValueError(f"check: no gradient comes to {name}, of shape {shape_text(node.shape)}")
        sent = self._parts.into(node)
        named = {n: g for n, g in self._parts.gradients.items() if n is not node}
        return Facts(
            name,
            truth,
            parts=[(self._ahead(s.record), s.sent) for s in sent],
            others={tape.name(n): g for n, g in named.items() if n in tape.names and g.shape == truth.shape},
            values={self._spelled(n): v for n, v in self._near(node).items()},
            slips=lambda: self._slips(node),
            sizes=sorted({n for r in (*tape, *tape.leaves) for n in (*r.shape, r.shape.numel()) if n > 1}),
        )

    def _ahead(self, record: Any) -> str:
        """The name of a record, or of the next one that has a name."""
        users: dict[Any, Record] = {}
        for r in self._tape:
            for p in parents_of(r):
                users.setdefault(p, r)
        while record not in self._tape.names and record in users:
            record = users[record]
        return self._tape.name(record)

    def _spelled(self, node: Any) -> str:
        """What to call a node: its name, or of a simple step without one, such as ``1 - p``, what it computes."""
        name = self._tape.name(node)
        if type(node) is not Record or node in self._tape.names:
            return name
        operands = [
            self._tape.names.get(p) if p is not None else str(a) if isinstance(a, (int, float)) else None
            for p, a in zip(node.parents or (), node.args, strict=True)
            if type(p) is not tuple
        ]
        if not operands or not all(operands):
            return name
        texts = [str(text) for text in operands]
        if node.op.name in _SIGNS and len(texts) == 2:
            return f"({f' {_SIGNS[node.op.name]} '.join(texts[::-1] if node.op.name == 'rsub' else texts)})"
        return f"{node.op.name}({', '.join(texts)})" if len(texts) == 1 else name

    def _value(self, node: Any) -> torch.Tensor:
        if not self._values:
            leaves = {leaf: leaf._data for leaf in self._tape.leaves}
            with torch.random.fork_rng([]):
                self._values = in_grad_mode(False, lambda: replay(self._tape, leaves))
        return self._values[node]

    def _near(self, node: Any) -> dict[Any, torch.Tensor]:
        """The values of what a node is computed with."""
        around = dict.fromkeys([node])
        front = {node}
        for _ in range(_NEAR):
            users = [r for r in self._tape if not front.isdisjoint(parents_of(r))]
            front = set(users)
            around |= dict.fromkeys(p for r in users for p in (r, *parents_of(r)))
        return {n: self._value(n) for n in around}

    def _slips(self, node: Any) -> Iterator[tuple[torch.Tensor, str]]:
        """Typical slips in the rules that lead to a node."""
        sent = self._parts.into(node)
        for s in sent:
            rest = self._parts.gradients[node] - s.sent
            record, g = s.record, self._parts.gradients[s.record]
            position = record.op.parameters.index(s.argument)
            pullback, parent = record.op.recorded_pullbacks[position], (record.parents or ())[position]
            if type(parent) is tuple or pullback is None:
                continue
            step, alone = self._ahead(record), self._alone(record)

            def tried(
                g: torch.Tensor,
                saved: tuple[Any, ...],
                pullback: Any = pullback,
                parent: Any = parent,
                rest: Any = rest,
            ) -> torch.Tensor | None:
                try:
                    part: torch.Tensor = pullback(g, saved, parent)
                    whole: torch.Tensor = rest + (part if part.shape == node.shape else unbroadcast(part, node.shape))
                    return whole
                except (
                    RuntimeError,
                    TypeError,
                    AttributeError,
                    IndexError,
                ):  # it does not fit: it is not what was done
                    return None

            local = None if alone is None else tried(alone, record.saved)
            if local is not None:
                yield local, f"this is the local derivative of {step} alone: multiply it by d{step}"
            full = self._saved(record)
            for i, j in ((0, 1 + position), (1, 2)):
                if j < len(full) and i < len(record.saved) and isinstance(full[j], torch.Tensor):
                    swapped = list(full)
                    swapped[i], swapped[j] = full[j], full[i]
                    wrong = tried(g, tuple(swapped))
                    if wrong is not None:
                        what = (
                            "the input stands where the output belongs" if i == 0 else "the other operand belongs here"
                        )
                        yield wrong, f"in the derivative of {step}, {what}"
            for index in record.args:
                indices = index if isinstance(index, tuple) else (index,)
                if record.op.name == "getitem" and any(isinstance(k, torch.Tensor) for k in indices):
                    last = torch.zeros_like(self._value(node))
                    last[index] = g
                    yield rest + last, "what an index takes twice was written, not added: use += or index_add_"

    def _alone(self, record: Record) -> torch.Tensor | None:
        """The gradient that would come to a record if that of the next one with a name were 1; None if paths part."""
        if record in self._tape.names or record in self._tape.outputs:
            return torch.ones_like(self._parts.gradients[record])
        onward = self._parts.into(record)
        if len(onward) != 1:
            return None
        user = onward[0].record
        position = user.op.parameters.index(onward[0].argument)
        pullback, g = user.op.recorded_pullbacks[position], self._alone(user)
        if g is None or pullback is None or type((user.parents or ())[position]) is tuple:
            return None
        part: torch.Tensor = pullback(g, user.saved, record)
        return part if part.shape == record.shape else unbroadcast(part, record.shape)

    def _saved(self, record: Record) -> tuple[Any, ...]:
        """All that a record was computed from, also what its rule does not ask for."""
        pairs = zip(record.args, record.parents or (), strict=True)
        args = [self._value(p) if p is not None and type(p) is not tuple else a for a, p in pairs]
        return (self._value(record), *args, *record.aux)


class _OnTorch:
    """What torch.autograd knows of gradients, where the forward pass ran on torch tensors."""

    def __init__(self, loss: torch.Tensor, scope: Mapping[str, Any]) -> None:
        self._loss = loss
        self._tensors = {n: t for n, t in scope.items() if not isinstance(t, Tensor) and t.requires_grad}
        found = torch.autograd.grad(
            loss, list(self._tensors.values()), torch.ones_like(loss), retain_graph=True, allow_unused=True
        )
        self._gradients = {n: g for n, g in zip(self._tensors, found, strict=True) if g is not None}

    def facts(self, name: str) -> Facts:
        if name not in self._gradients:
            known = ", ".join(self._gradients)
            raise ValueError(f"check: no tensor that led to the loss is called {name!r}; there are: {known or 'none'}")
        truth = self._gradients[name]
        return Facts(
            name,
            truth,
            parts=self._parts(self._tensors[name]),
            others={n: g for n, g in self._gradients.items() if n != name and g.shape == truth.shape},
            values={n: t.detach() for n, t in self._tensors.items()},
            sizes=sorted({n for t in self._tensors.values() for n in (*t.shape, t.numel()) if n > 1}),
        )

    def _parts(self, t: torch.Tensor) -> list[Named]:
        """What each use of a tensor contributes, seen by hooks on those who use it."""
        names = {t.grad_fn: name for name, t in self._tensors.items() if t.grad_fn is not None}
        seen: set[Any] = {self._loss.grad_fn}
        stack: list[tuple[Any, str]] = [(self._loss.grad_fn, "loss")]
        parts: list[Named] = []
        handles = []
        while stack:
            function, name = stack.pop()
            name = names.get(function, name)
            for i, (before, _) in enumerate(function.next_functions):
                if before is None:
                    continue
                if before is t.grad_fn or (t.is_leaf and getattr(before, "variable", None) is t):

                    def keep(inputs: Any, outputs: Any, i: int = i, name: str = name) -> None:
                        if inputs[i] is not None:
                            parts.append((name, inputs[i].detach()))

                    handles.append(function.register_hook(keep))
                if before not in seen:
                    seen.add(before)
                    stack.append((before, name))
        try:
            torch.autograd.grad(self._loss, t, torch.ones_like(self._loss), retain_graph=True)
        finally:
            for handle in handles:
                handle.remove()
        return parts
