"""A tape as a graph of plain data: what to draw, and nothing of how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import torch

from tapegrad.engine.tape import Record, parents_of
from tapegrad.engine.tensor import Tensor
from tapegrad.errors import FreedTape
from tapegrad.inspect import tape as tapes
from tapegrad.inspect.grad_mode import in_grad_mode
from tapegrad.inspect.names import scope_of, tensors_in
from tapegrad.inspect.parts import Parts
from tapegrad.inspect.replay import replay
from tapegrad.inspect.tape import Tape
from tapegrad.source.layout import Text
from tapegrad.tracebacks import trimmed

from .expression import constant, expression, number, readable, spelling
from .modules import Cell, folded

_LONGEST = 44  # characters of an expression; what would make it longer is drawn apart
_FEW = 6  # elements whose values are worth showing
_SIDE = 8  # rows and columns of a matrix that is printed as numbers, where all values are asked for


Kind = Literal["leaf", "constant", "op", "output"]


@dataclass(frozen=True)
class Node:
    """A tensor, with what computed it.

    Attributes:
        id: n0, n1, ... in the order of the tape; a leaf or constant comes just before the first op that uses it.
        kind: a leaf that takes a gradient, a constant that takes none, an op's result, or an output of the tape.
        name: the user's name for it, or one made from its op and its position on the tape.
        named: whether the name is the user's.
        expression: what computed it, from the nodes that lead to it; empty for a leaf or constant.
        ops: the names of the ops in the expression, oldest first.
        shape: of the tensor.
        dtype: likewise.
        value: its elements, if asked for, few and known; else empty.
        gradient: its ``grad`` if that is one number, its norm if there are more, empty if there is none.
    """

    id: str
    kind: Kind
    name: str
    named: bool
    expression: str
    ops: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    value: str
    gradient: str


@dataclass(frozen=True)
class Edge:
    """One use of a tensor by an op.

    Attributes:
        tail: the node that data flows from, and the gradient to.
        head: the node that data flows to, and the gradient from.
        copies: how many copies of the tensor broadcasting makes; the backward pass sums over as many.
        uses: how many edges leave the tail; the backward pass adds as many gradients.
        gradient: whether a gradient flows.
    """

    tail: str
    head: str
    copies: int
    uses: int
    gradient: bool


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of the tape, and edges in the order of each op's arguments."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


@trimmed
def graph(
    loss: torch.Tensor | Tape,
    *,
    names: Mapping[str, Any] | None = None,
    values: bool | Literal["all"] = False,
    collapse: bool = True,
    depth: int | None = None,
    constants: bool = True,
    max_nodes: int = 3000,
) -> Graph:
    """The graph that ``draw``, whose arguments and errors are the same, draws."""
    scope = scope_of(names)
    if not isinstance(loss, (Tensor, Tape)):
        raise TypeError(f"draw: loss must be a Tensor or Tape of tapegrad, not a {type(loss).__name__}")
    try:
        tape = loss if isinstance(loss, Tape) else tapes.tape(loss, names=scope)
    except FreedTape as error:
        raise FreedTape(f"draw: {error}") from None
    labels = {id(t.data): name for t, name in tape.names.items() if isinstance(t, Tensor)}
    variables = dict(tensors_in(scope, depth=1))
    labels |= {id(t): name for name, t in variables.items() if isinstance(t, torch.Tensor)}
    # Each op adds a character or more to the expression that it is folded into: there are so many nodes at least.
    if (least := len(tape) // _LONGEST) > max_nodes:
        most = sum(1 + len(record.saved) + len(list(parents_of(record))) for record in tape)
        raise ValueError(
            f"draw: the graph has {least} nodes or more, and max_nodes={max_nodes}; pass max_nodes={most} to draw it "
            f"all the same, or draw an earlier tensor for a part of it"
        )
    if values not in (False, True, "all"):
        raise ValueError(f"draw: values is {values!r}; give True, for small tensors, or 'all'")
    if depth is not None and (type(depth) is not int or depth < 1):
        raise ValueError(
            f"draw: depth is {depth!r}; give how many steps of a module's path tell boxes apart, 1 or more"
        )
    cells = _cells(tape, labels, collapse and depth is None)  # no op is folded out of its module
    boxes: dict[Record, str] = {}
    if depth is not None:
        cells, boxes = folded(cells, tape, depth)

    # Dicts throughout, for their order, and because == of Tensors gives a tensor.
    nodes = dict.fromkeys(p for record, cell in cells.items() for p in (*[p for p, _ in cell.inputs], record))
    nodes |= dict.fromkeys(tape.outputs)
    drawn = [p for p in nodes if not isinstance(p, torch.Tensor) or (constants and id(p) in labels)]
    if len(drawn) > max_nodes:
        raise ValueError(
            f"draw: the graph has {len(drawn)} nodes, more than max_nodes={max_nodes}; pass max_nodes={len(drawn)} to "
            f"draw it all the same, or draw an earlier tensor for a part of it"
        )
    ids = {node: f"n{i}" for i, node in enumerate(drawn)}
    uses = Counter(node for cell in cells.values() for node, _ in cell.inputs)
    data = {t.record: t.data for t in (*variables.values(), loss) if isinstance(t, Tensor) and t.record is not None}
    gradients: Mapping[Any, torch.Tensor] = {}
    if values == "all":
        data = in_grad_mode(False, lambda: replay(tape, {leaf: leaf._data for leaf in tape.leaves}))
        gradients = tape.gradients or Parts(tape).gradients
    outputs = dict.fromkeys(tape.outputs)

    def describe(node: Any) -> Node:
        computed, given = type(node) is Record, isinstance(node, torch.Tensor)
        kind: Kind = "constant" if given else "leaf" if not computed else "output" if node in outputs else "op"
        cell = cells.get(node, Cell())
        value = None if node in boxes else data.get(node) if computed else node.data
        holder = node.tensor if computed else node
        grad = None if given else gradients.get(node, None if holder is None else holder.grad)
        return Node(
            id=ids[node],
            kind=kind,
            name=labels[id(node)] if given else boxes.get(node) or tape.name(node),
            named=given or node in boxes or node in tape.names,
            expression=cell.text.text,
            ops=cell.ops,
            shape=tuple(node.shape),
            dtype=str(node.dtype).removeprefix("torch."),
            value=_value(value, values == "all") if values else "",
            gradient=_gradient(grad, values == "all" and node not in boxes),
        )

    edges = [
        Edge(ids[node], ids[record], copies, uses[node], gradient=not isinstance(node, torch.Tensor))
        for record, cell in cells.items()
        for node, copies in cell.inputs
        if node in ids
    ]
    return Graph(tuple(map(describe, drawn)), tuple(edges))


def _cells(tape: Tape, labels: Mapping[int, str], collapse: bool) -> dict[Record, Cell]:
    """The records to be drawn, oldest first, each with those folded into it."""
    uses = tape.uses()
    apart = {*tape.names, *tape.outputs}
    cells: dict[Record, Cell] = {}

    def cell(record: Record, fold: bool) -> Cell:
        ops: list[str] = []
        inputs: list[tuple[Any, int]] = []
        folded: list[Record] = []

        def write(node: Any) -> Text:
            copies = _copies(node.shape, record)
            if fold and node in cells and node not in apart and uses[node] == copies == 1 and node.tensor is None:
                ops.extend(cells[node].ops)
                inputs.extend(cells[node].inputs)
                folded.append(node)
                return cells[node].text
            inputs.append((node, copies))
            if isinstance(node, torch.Tensor):
                return Text(labels.get(id(node)) or constant(node))
            return Text(tape.name(node))

        return Cell(expression(record, write), (*ops, spelling(record)), tuple(inputs), tuple(folded))

    for record in tape:
        drawn = cell(record, collapse)
        if len(drawn.text.text) > _LONGEST:
            drawn = cell(record, False)
        if len(drawn.text.text) > _LONGEST:
            drawn = drawn._replace(text=Text(f"{spelling(record)}(…)"))
            apart.add(record)
        for inner in drawn.folded:
            del cells[inner]
        cells[record] = drawn
    return cells


def _value(data: torch.Tensor | None, rows: bool) -> str:
    """A tensor's elements, if they are few; with ``rows``, those of a small matrix as well, a line for each row."""
    if data is None or not readable(data):
        return ""
    if rows and data.ndim == 2 and 1 < data.shape[0] <= _SIDE and 0 < data.shape[1] <= _SIDE:
        texts = [[f"{v:.3g}" if isinstance(v, float) else str(v) for v in row] for row in data.tolist()]
        width = max(len(text) for row in texts for text in row)
        return "\n".join(" ".join(text.rjust(width) for text in row) for row in texts)
    most = _SIDE if rows else _FEW
    return "" if data.numel() > most else number(data.tolist())


def _gradient(grad: torch.Tensor | None, rows: bool) -> str:
    if grad is None or not readable(grad):
        return ""
    if grad.numel() == 1:
        return f"grad {number(grad.item())}"
    if rows and (text := _value(grad, rows)):
        return f"grad\n{text}" if "\n" in text else f"grad {text}"
    return f"‖grad‖ {number(float(grad.norm()))}"


def _copies(shape: torch.Size, record: Record) -> int:
    """How many copies of an input of some shape broadcasting makes: 1 if it fits as it is."""
    name, out = record.op.name, record.shape
    if name == "matmul":
        shape, out = shape[:-2], out[: -min(2, len(shape))]  # a batch of matrices, or of vectors
    elif not (name in ("expand", "scaled_add") or (name == "linear" and shape == out[-1:]) or _pointwise(name)):
        return 1
    return max(1, prod(out) // max(1, prod(shape)))


def _pointwise(name: str) -> bool:
    """Whether torch has an elementwise function of that name."""
    packet = getattr(torch.ops.aten, name, None)
    overloads: list[str] = getattr(packet, "overloads", list)()
    return any(torch.Tag.pointwise in getattr(packet, overload).tags for overload in overloads)
