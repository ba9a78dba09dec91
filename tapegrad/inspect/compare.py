"""Checking gradients against torch.autograd, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

import torch

from tapegrad import markup
from tapegrad.engine.tape import shape_text
from tapegrad.engine.tensor import Tensor
from tapegrad.engine.tensor import node as node_of
from tapegrad.engine.walk import walk
from tapegrad.inspect.grad_mode import in_grad_mode
from tapegrad.inspect.names import checked, scope_of
from tapegrad.inspect.replay import replay
from tapegrad.inspect.tape import Tape
from tapegrad.tracebacks import trimmed


@dataclass(frozen=True)
class Row:
    """One gradient beside torch's.

    Attributes:
        name: whose gradient it is.
        shape: its shape.
        exact: every element is equal.
        approximate: ``torch.allclose`` with its default tolerances.
        maxdiff: the largest absolute difference.
    """

    name: str
    shape: tuple[int, ...]
    exact: bool
    approximate: bool
    maxdiff: float

    def __str__(self) -> str:
        exact, approximate = str(self.exact), str(self.approximate)
        return f"{self.name:15s} | exact: {exact:5s} | approximate: {approximate:5s} | maxdiff: {self.maxdiff}"

    @classmethod
    def of(cls, name: str, ours: torch.Tensor | None, theirs: torch.Tensor | None) -> Row:
        """Compare two gradients, None standing for zeros.

        Raises:
            ValueError: they have different shapes or dtypes.
        """
        if ours is None or theirs is None:
            given = theirs if ours is None else ours
            ours = torch.zeros_like(given) if ours is None and given is not None else ours
            theirs = torch.zeros_like(given) if theirs is None and given is not None else theirs
        if ours is None or theirs is None:
            return cls(name, (), True, True, 0.0)
        if ours.shape != theirs.shape:
            raise ValueError(
                f"Row.of: the gradients of {name} have shapes {shape_text(ours.shape)} and {shape_text(theirs.shape)}"
            )
        if ours.dtype != theirs.dtype:
            raise ValueError(f"Row.of: the gradients of {name} have dtypes {ours.dtype} and {theirs.dtype}")
        same = (ours == theirs) | (ours.isnan() & theirs.isnan())
        diff = torch.where(same, 0.0, (ours - theirs).abs())  # inf - inf is no difference
        return cls(
            name,
            tuple(ours.shape),
            bool(same.all()),
            torch.allclose(ours, theirs, equal_nan=True),
            float(diff.max()) if diff.numel() else 0.0,
        )


class Comparison(tuple[Row, ...]):
    """Rows of gradients beside torch's; prints as the lecture's table."""

    @property
    def exact(self) -> bool:
        """Whether every row is exact."""
        return all(row.exact for row in self)

    @property
    def approximate(self) -> bool:
        """Whether every row is approximate."""
        return all(row.approximate for row in self)

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    __repr__ = __str__

    def _columns(self) -> tuple[str, ...]:
        return ("gradient of", "shape", "exact", "approximate", "maxdiff")

    def _cells(self, row: Any) -> tuple[object, ...]:
        return (row.name, row.shape or "a number", row.exact, row.approximate, f"{row.maxdiff:.4g}".replace("nan", ""))

    def _repr_html_(self) -> str:
        exact, good = sum(row.exact for row in self), sum(row.approximate for row in self)
        words = [f"{exact} exact"] if exact == len(self) else [f"{good} approximate", f"{exact} exact"]
        head = markup.caption(f"of {len(self)}: {', '.join(words)}") if len(self) != 1 else ""
        return markup.block(
            head,
            markup.table(
                self._columns(),
                len(self),
                lambda i: self._cells(self[i]),
                right=[4],
                marked=lambda i: not self[i].approximate,
                longest=400,
            ),
        )


@trimmed
def compare(loss: torch.Tensor | Tape, names: Mapping[str, torch.Tensor] | None = None) -> Comparison:
    """Compare the gradient of every node with torch.autograd's, by replaying the tape on torch tensors.

    Call it before ``loss.backward()`` frees the tape, or give it a Tape and use ``tape.backward()``, which does not.
    Gradients in ``grad`` are left alone.

    Args:
        loss: a tensor of one element, of any shape, whose sum then counts as the loss, or a Tape.
        names: name -> Tensor: the rows wanted, in that order. By default every node of the tape has a row, called by
            the name that the calling code has for it, or else by its op.

    Returns:
        A row for each node, with its name and what ``Row`` says of it.

    Raises:
        RuntimeError: the replay gives another loss, because a leaf or a constant was changed since.
        FreedTape: the tape was walked before without ``retain_graph=True``.
        TypeError: ``loss``, or a value of ``names``, is no Tensor.
        ValueError: a tensor in ``names`` is not on the tape or takes no gradient, or there is nothing to compare.

    Example:
        >>> x = tapegrad.tensor(torch.randn(3), requires_grad=True)
        >>> loss = (x * x).sum()
        >>> tapegrad.compare(loss, names={"x": x})
        x               | exact: True  | approximate: True  | maxdiff: 0.0
    """
    if not isinstance(loss, Tape) and not (isinstance(loss, Tensor) and loss.requires_grad):
        raise TypeError("compare: expected a Tensor of tapegrad's that requires grad, or a Tape")
    tape = loss if isinstance(loss, Tape) else Tape([loss], scope_of(names))
    for output in tape.outputs:
        if not output.shape.numel():
            raise ValueError(
                f"compare: the loss, of shape {shape_text(output.shape)}, has no elements: nothing to compare"
            )
    if names is None:
        rows = {tape.name(node): node for node in [*tape.leaves, *tape]}
    else:
        on_tape = {*tape.leaves, *tape}
        rows = {name: _row(name, t, on_tape) for name, t in checked(names).items()}
        if not rows:
            raise ValueError("compare: names is empty: nothing to compare; leave it out to compare all of the tape")
    if any(data.is_meta for _, data in tape.results):
        raise ValueError("compare: the tape is on the meta device, where there are no numbers; compute it on another")
    starts = [(node, torch.ones_like(data)) for node, data in tape.results]
    nodes = list(dict.fromkeys(rows.values()))
    ours = in_grad_mode(False, lambda: walk(starts, nodes, retain_graph=True, hooks=False))
    theirs = in_grad_mode(True, lambda: _by_torch(tape))
    for node, data in tape.results:
        result = theirs[node]
        if not ((result == data) | (result.isnan() & data.isnan())).all():
            raise RuntimeError(
                "compare: replaying the tape gives another loss; a leaf or a constant was changed since the forward "
                "pass"
            )
    torch.autograd.backward([theirs[node] for node, _ in starts], [ones for _, ones in starts])
    return Comparison(
        [Row.of(name, ours.get(node), theirs[node].grad if node in theirs else None) for name, node in rows.items()]
    )


def _by_torch(tape: Tape) -> dict[Any, torch.Tensor]:
    """The tape run again under torch.autograd, which is to keep every gradient."""
    theirs = replay(tape, {leaf: leaf._data.detach().clone().requires_grad_() for leaf in tape.leaves})
    for record in tape:
        theirs[record].retain_grad()
    return theirs


def _row(name: str, t: Any, on_tape: Set[Any]) -> Any:
    """The node of a tensor that the user wants a row for."""
    if not isinstance(t, Tensor):
        raise TypeError(
            f"compare: {name} is no Tensor of tapegrad's but a {type(t).__module__}.{type(t).__name__}; names are of "
            f"tensors that led to the loss"
        )
    node = node_of(t)
    if node is None:
        raise ValueError(
            f"compare: {name}, of shape {shape_text(t.shape)}, does not require grad, so that it has no gradient to "
            f"compare; leave it out of names"
        )
    if node not in on_tape:
        raise ValueError(
            f"compare: {name}, of shape {shape_text(t.shape)}, is not on the tape: the loss was not computed from it; "
            f"leave it out of names, or compute the loss from it"
        )
    return node
