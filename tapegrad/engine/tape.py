"""The tape: records of what ran, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, overload

import torch

from tapegrad.errors import FreedTape
from tapegrad.hooks import Hooks

if TYPE_CHECKING:
    from tapegrad.op import Op
    from tapegrad.tensor import Tensor

# One counter for all tapes: a record is newer, and its rank lower, than everything it was computed from.
next_rank = count(-1, -1).__next__

Watched = tuple[tuple[torch.Tensor, int], ...]


class Record:
    """One op that ran, with what its rule will need.

    Attributes:
        rank: falls with time; the walk goes from low to high.
        op: what ran.
        saved: the raw output, the raw arguments in order, and the auxiliary outputs, as ``op.saved`` names them; None
            in place of a tensor that no rule needs.
        parents: for each argument, where its gradient goes: the record that computed it, the leaf itself, None if it
            takes no gradient, or a tuple of these for a sequence of tensors. Once the walk has passed, None.
        watched: the saved tensors, each with torch's version counter, to notice changes in place.
        shape, dtype: of the output.
        hooks: what is to be done with the gradient of the output besides (``register_hook``, ``retain_grad``), or None.
        where: the user's line that ran the op; known only under ``detect_anomaly``.
    """

    __slots__ = ("dtype", "hooks", "op", "parents", "rank", "saved", "shape", "watched", "where")

    # ``recorded``, in tensor.py, makes them.
    rank: int
    op: Op
    saved: tuple[Any, ...]
    parents: tuple[Any, ...] | None
    watched: Watched
    shape: torch.Size
    dtype: torch.dtype
    hooks: Hooks | None
    where: str

    @property
    def tensor(self) -> Tensor | None:
        """The output, if it retains its gradient and is still there."""
        return self.hooks.retained() if self.hooks is not None and self.hooks.retained is not None else None

    @property
    def out(self) -> torch.Tensor | None:
        """The raw output, if a rule needs it."""
        return self.saved[0] if self.saved else None

    @property
    def aux(self) -> tuple[Any, ...]:
        """The raw auxiliary outputs."""
        return self.saved[1 + len(self.op.parameters) :]

    @property
    def args(self) -> tuple[Any, ...]:
        """The raw arguments in order; None in place of a tensor that no rule needs."""
        return self.saved[1 : 1 + len(self.op.parameters)]

    def __repr__(self) -> str:
        return f"<record {-self.rank}: {self.op.name} {shape_text(self.shape)}>"


def parents_of(record: Record) -> Iterator[Any]:
    """Each record or leaf that a record computed from, with repeats, in the order of the arguments."""
    for parent in record.parents or ():
        if type(parent) is tuple:
            yield from (p for p in parent if p is not None)
        elif parent is not None:
            yield parent


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
        self._position = {r: i for i, r in enumerate(self._records)}
        # A dict, for its order.
        places = [p for r in self._records for p in parents_of(r)] + self.outputs
        self.leaves: list[Tensor] = list(dict.fromkeys(p for p in places if type(p) is not Record))

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        return self._records[index]

    def name(self, place: Any) -> str:
        """The user's name for a record or leaf, or one made from its op and its position, such as ``mul_7``."""
        if place in self.names:
            return self.names[place]
        if type(place) is Record:
            return f"{place.op.name}_{self._position[place]}"
        return f"leaf_{next(i for i, leaf in enumerate(self.leaves) if leaf is place)}"

    def source(self, names: Mapping[str, Any] | None = None, style: str = "plain", forward: bool = False) -> str:
        """The backward pass of this tape, as PyTorch source.

        Args:
            names: variable name -> value, to call tensors by, for example ``locals()``; by default, the variables that
                the calling code can see.
            style: ``"plain"`` writes the textbook formulas; ``"exact"`` writes the kernels, equal to the engine's
                gradients bit for bit.
            forward: write ``forward(...)`` as well, which returns the outputs and a dict of what ``backward`` needs:
                together they are a whole program.

        Returns:
            A function ``backward(...)``, whose parameters are the tensors it needs, by name, and which returns a dict
            from name to gradient: of the leaves and of every named intermediate. Of one output with one element the
            gradient is 1; otherwise those of the outputs are parameters too: ``dout`` for ``out``.
        """
        from tapegrad.names import caller_scope
        from tapegrad.source import Program

        return Program(self, caller_scope(1) if names is None else names, style).text(forward)

    def bindings(
        self, names: Mapping[str, Any] | None = None, style: str = "plain", forward: bool = False
    ) -> dict[str, torch.Tensor]:
        """The raw tensors to call the functions of ``source`` with, by name: ``forward`` if it is there.

        Gradients of outputs, where they are parameters, are for the caller to add.
        """
        from tapegrad.names import caller_scope
        from tapegrad.source import Program

        return Program(self, caller_scope(1) if names is None else names, style).bindings(forward)

    def __str__(self) -> str:
        labels = {p: self.name(p) for p in self.leaves} | {r: self.name(r) for r in self._records}
        rows = [("", labels[leaf], "leaf", "", shape_text(leaf.shape)) for leaf in self.leaves]
        for i, r in enumerate(self._records):
            inputs = ", ".join(labels[p] for p in parents_of(r))
            rows.append((str(i), labels[r], r.op.name, inputs, shape_text(r.shape)))
        return table(("#", "name", "op", "inputs", "shape"), rows)

    __repr__ = __str__  # so that a prompt shows it too


def tape(*outputs: Tensor, names: Mapping[str, Any] | None = None) -> Tape:
    """The tape that led to some tensors: a sequence of Records, oldest first, that prints as a table.

    Args:
        *outputs: Tensors that require grad.
        names: variable name -> value, to call records and leaves by, for example ``locals()``; by default, the
            variables that the calling code can see.

    Raises:
        FreedTape: a backward without ``retain_graph=True`` has freed it.
        ValueError: an output does not require grad, so nothing was recorded.
    """
    from tapegrad.apply import node
    from tapegrad.names import caller_scope, name_nodes

    for t in outputs:
        if not hasattr(t, "record"):
            raise TypeError(f"tape: expected a Tensor of tapegrad's, got {type(t).__module__}.{type(t).__name__}")
        if not t.requires_grad:
            raise ValueError(
                f"tape: this tensor, of shape {shape_text(t.shape)}, does not require grad: nothing led to it"
            )
    return Tape([node(t) for t in outputs], name_nodes(caller_scope(1) if names is None else names))


def reached(outputs: Sequence[Any]) -> list[Record]:
    """All records that some nodes were computed by, oldest first.

    Raises:
        FreedTape: the walk has been there and freed them.
    """
    seen: set[Record] = set()
    stack = [p for p in outputs if type(p) is Record]
    while stack:
        record = stack.pop()
        if record in seen:
            continue
        if record.parents is None:
            raise FreedTape(
                f"the tape was freed by an earlier backward, as it passed {record.op.name} {shape_text(record.shape)}; "
                f"ask for the tape before that backward, or pass it retain_graph=True"
            )
        seen.add(record)
        stack.extend([p for p in parents_of(record) if type(p) is Record])
    return sorted(seen, key=lambda r: r.rank, reverse=True)


def shape_text(shape: Sequence[int]) -> str:
    """A shape as Python writes a tuple."""
    return str(tuple(shape))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text under a head, in aligned columns."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [" | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]]
    return "\n".join([lines[0], "-+-".join("-" * w for w in widths), *lines[1:]])
