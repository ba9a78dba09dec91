"""A tape as people read it: its records in order, with the user's names for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import torch

from tapegrad.engine.tape import Record, parents_of, reached, shape_text
from tapegrad.engine.tensor import Tensor
from tapegrad.engine.tensor import node as node_of
from tapegrad.inspect.names import caller_scope, name_nodes

_MOST = 8  # inputs that a row shows
_WIDEST = 60  # characters of a label


class Tape(Sequence[Record]):
    """Everything that led to some outputs, oldest record first.

    Attributes:
        outputs: the nodes (records, or leaves) that the tape leads to.
        leaves: the leaf Tensors that it starts from, in the order they were first used.
        names: record or leaf -> the user's name for it, where there is one.
    """

    def __init__(self, outputs: Sequence[Any], names: Mapping[Any, str]) -> None:
        self.outputs = list(outputs)
        self.names: dict[Any, str] = dict(names)
        self._records = reached(outputs)
        self._position: dict[Any, int] = {r: i for i, r in enumerate(self._records)}
        nodes = [p for r in self._records for p in parents_of(r)] + self.outputs
        self.leaves: list[Tensor] = list(dict.fromkeys(p for p in nodes if type(p) is not Record))
        self._position.update({leaf: i for i, leaf in enumerate(self.leaves)})

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        return self._records[index]

    def name(self, node: Any) -> str:
        """The user's name for a record or leaf, or one made from its op and its position, such as ``mul_7``."""
        if node in self.names:
            return self.names[node]
        return f"{node.op.name if type(node) is Record else 'leaf'}_{self._position[node]}"

    def uses(self) -> Counter[Any]:
        """How many arguments of the tape's records each record or leaf is."""
        return Counter(parent for record in self for parent in parents_of(record))

    if TYPE_CHECKING:  # source/program.py adds them

        def source(self, names: Mapping[str, Any] | None = None, style: str = "plain", forward: bool = False) -> str:
            """The backward pass of this tape, as PyTorch source."""

        def bindings(
            self, names: Mapping[str, Any] | None = None, style: str = "plain", forward: bool = False
        ) -> dict[str, torch.Tensor]:
            """The raw tensors to call the functions of ``source`` with, by name."""

    def __str__(self) -> str:
        labels = {p: _few([self.name(p)]) for p in (*self.leaves, *self._records)}
        rows = [("", labels[leaf], "leaf", "", shape_text(leaf.shape)) for leaf in self.leaves]
        for i, r in enumerate(self._records):
            inputs = _few([labels[p] for p in parents_of(r)])
            rows.append((str(i), labels[r], r.op.name, inputs, shape_text(r.shape)))
        return table(("#", "name", "op", "inputs", "shape"), rows)

    __repr__ = __str__  # so that a prompt shows it too


def _few(labels: Sequence[str]) -> str:
    """Labels in a row, so long as they are few: a table is as wide as its widest cell."""
    shown = [label if len(label) <= _WIDEST else f"{label[: _WIDEST - 1]}…" for label in labels[:_MOST]]
    return ", ".join(shown) + (f", … ({len(labels)} in all)" if len(labels) > _MOST else "")


def tape(*outputs: torch.Tensor, names: Mapping[str, Any] | None = None) -> Tape:
    """The tape that led to some tensors: a sequence of Records, oldest first, that prints as a table.

    Args:
        *outputs: Tensors that require grad.
        names: variable name -> value, to call records and leaves by, for example ``locals()``; by default, the
            variables that the calling code can see.

    Raises:
        FreedTape: a backward without ``retain_graph=True`` has freed it.
        ValueError: an output does not require grad, so nothing was recorded.
    """
    nodes = []
    for t in outputs:
        if not isinstance(t, Tensor):
            raise TypeError(f"tape: expected a Tensor of tapegrad's, got {type(t).__module__}.{type(t).__name__}")
        if not t.requires_grad:
            raise ValueError(
                f"tape: this tensor, of shape {shape_text(t.shape)}, does not require grad: nothing led to it"
            )
        nodes.append(node_of(t))
    return Tape(nodes, name_nodes(caller_scope(1) if names is None else names))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text under a head, in aligned columns."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [" | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]]
    return "\n".join([lines[0], "-+-".join("-" * w for w in widths), *lines[1:]])
