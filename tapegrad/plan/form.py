"""The form of a tape: its records with Values in place of tensors, so that it can be walked for other elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from tapegrad.engine.op import Op
from tapegrad.engine.tape import Record, shape_text
from tapegrad.engine.tensor import Tensor, wrap
from tapegrad.engine.walk import walk
from tapegrad.errors import CompileError
from tapegrad.plan.calls import Value, values_in

_MAKE_RECORD = object.__new__


@dataclass(eq=False)
class Row:
    """A record, by what is the same each time.

    Attributes:
        op, shape, dtype: as in ``Record``.
        saved: the values that its rules ask for, Values in place of tensors; None in place of others.
        parents: for each argument the Row or the Use that its gradient goes to, None, or a tuple of these.
    """

    op: Op
    saved: tuple[Any, ...]
    parents: tuple[Any, ...]
    shape: torch.Size
    dtype: torch.dtype


@dataclass(eq=False)
class Use:
    """A place where the tape reads a tensor that was there before: a gradient goes out.

    Attributes:
        node: which of the form's nodes gets it.
    """

    node: int


@dataclass(eq=False)
class Form:
    """A tape.

    Attributes:
        rows: its records, newest first.
        uses: where gradients go out, in the order of the walk.
        nodes: the nodes that they go to, as they were when the tape was recorded.
        saved: the Values that rules ask for.
        held: these, and what else the tape holds.
    """

    rows: list[Row] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    nodes: list[Any] = field(default_factory=list)
    saved: list[Value] = field(default_factory=list)
    held: list[Value] = field(default_factory=list)

    def walk(
        self,
        tensors: Callable[[Any], Any],
        starts: Sequence[tuple[Row, torch.Tensor]],
        leaves: Sequence[Tensor],
    ) -> list[torch.Tensor | None]:
        """Walk the tape for the elements that some tensors have.

        Args:
            tensors: gives what stands for a row's saved values.
            starts: rows and their cotangents.
            leaves: for each use, the leaf that stands for its node: its own, or one for all the uses of a node.

        Returns:
            The gradient of each leaf; None where none was reached.
        """
        records: dict[Any, Any] = {row: _MAKE_RECORD(Record) for row in self.rows}
        records |= dict(zip(self.uses, leaves, strict=True))
        for rank, row in enumerate(self.rows):
            record = records[row]
            record.rank, record.op, record.shape, record.dtype = rank, row.op, row.shape, row.dtype
            record.saved, record.watched, record.hooks = tensors(row.saved), (), None
            record.parents = tuple(
                [tuple(map(records.get, p)) if type(p) is tuple else records.get(p) for p in row.parents]
            )
        # A record freed is memory freed, as in eager mode: so nothing here holds on to one.
        begin = [(records[row], g) for row, g in starts]
        del records, record
        found = walk(begin)
        return [found.get(leaf) for leaf in dict.fromkeys(leaves)]

    def stand_ins(self, each_use: bool) -> list[Tensor]:
        """For each use a leaf that has its node's shape and dtype, and no elements.

        Args:
            each_use: whether each use has its own, and the gradients of a node's uses are not summed.
        """

        def leaf(node: Any) -> Tensor:
            t = wrap(torch.empty(node.shape, dtype=node.dtype, device="meta"), None)
            t._requires_grad = True
            return t

        if each_use:
            return [leaf(self.nodes[use.node]) for use in self.uses]
        leaves = [leaf(node) for node in self.nodes]
        return [leaves[use.node] for use in self.uses]


def form_of(starts: Sequence[Record], since: int, template: Callable[[Any], Any]) -> tuple[Form, list[Row]]:
    """The form of the tape that led to some records.

    Args:
        starts: the records.
        since: a rank; older records are nodes outside.
        template: gives a saved value with Values in place of tensors.

    Returns:
        The form, and the row of each start.

    Raises:
        CompileError: a hook stands on the tape.
    """
    form = Form()
    rows: dict[Record, Row] = {}
    stack = list(starts)
    found: set[Record] = set()
    while stack:
        record = stack.pop()
        if record in found:
            continue
        found.add(record)
        if record.hooks is not None:
            raise CompileError(
                f"compile: a tensor made inside, by {record.op.name} of shape {shape_text(record.shape)}, has a hook "
                f"or retains its gradient, and a plan has no place for that; return the tensor, and do it outside"
            )
        stack.extend([p for p in _flat(record.parents or ()) if type(p) is Record and p.rank < since])
    numbers: dict[Any, int] = {}
    ordered = sorted(found, key=lambda r: r.rank)
    rows = {r: Row(r.op, (), (), r.shape, r.dtype) for r in ordered}

    def place(node: Any) -> Any:
        if node is None or node in rows:
            return rows.get(node)
        if node not in numbers:
            numbers[node] = len(form.nodes)
            form.nodes.append(node)
        form.uses.append(Use(numbers[node]))
        return form.uses[-1]

    for record in ordered:
        row, parents = rows[record], record.parents or ()
        row.parents = tuple([tuple(map(place, p)) if type(p) is tuple else place(p) for p in parents])
        needed = record.op.needed(parents)
        form.held += values_in(template(record.saved))
        row.saved = tuple(
            [
                template(v) if name in needed or type(v) is tuple else None
                for name, v in zip(record.op.saved_names, record.saved, strict=True)
            ]
        )
    form.rows = list(rows.values())
    form.saved = list(dict.fromkeys(values_in([row.saved for row in form.rows])))
    return form, [rows[start] for start in starts]


def _flat(parents: Sequence[Any]) -> list[Any]:
    return [p for parent in parents for p in (parent if type(parent) is tuple else (parent,))]
