"""A graph in DOT: what it looks like."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Literal

import torch

from tapegrad.inspect.names import scope_of
from tapegrad.inspect.tape import Tape
from tapegrad.tracebacks import trimmed

from .engine import NoRenderer, layout
from .graph import Edge, Graph, Node, graph

try:
    import graphviz
except ImportError as error:
    raise ImportError("tapegrad.viz needs the graphviz package: pip install 'tapegrad[viz]'") from error

# Okabe and Ito's colours, which the colour-blind tell apart, on tints of them. In black and white the outline tells: a
# leaf is square and heavy, a constant dashed, an op's result rounded, an output doubly outlined.
_NODES = {
    "leaf": {"style": "filled", "fillcolor": "#FDF0D0", "color": "#B87A00", "penwidth": "2"},
    "constant": {"style": "filled,dashed", "fillcolor": "#F4F4F4", "color": "#777777"},
    "op": {"style": "filled,rounded", "fillcolor": "#E8F3FB", "color": "#0072B2"},
    "output": {"style": "filled,rounded", "fillcolor": "#FBE4D8", "color": "#D55E00", "peripheries": "2"},
}
_GREY, _GREEN = "#555555", "#007A59"
_FONT = {"fontname": "DejaVu Sans Mono,Menlo,Consolas,monospace"}  # of much the same width: text fits on other machines
_SMALL = {**_FONT, "fontsize": "10", "fontcolor": _GREY}
_LONGEST = 60  # characters of a name


class Picture(graphviz.Digraph):  # type: ignore[misc]  # its base has no types
    """A ``graphviz.Digraph`` that shows itself in Jupyter, also where there is no ``dot`` on PATH."""

    def _repr_svg_(self) -> str:
        return layout(self.source, "svg").decode()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **_: Any) -> dict[str, str]:
        try:
            return {"image/svg+xml": self._repr_svg_()}
        except NoRenderer as error:
            return {"text/plain": f"{error}\n\n{self.source}"}


@trimmed
def draw(
    loss: torch.Tensor | Tape,
    *,
    names: Mapping[str, Any] | None = None,
    rankdir: Literal["TB", "LR", "BT", "RL"] = "TB",
    values: bool | Literal["all"] = False,
    collapse: bool = True,
    depth: int | None = None,
    constants: bool = True,
    legend: bool = True,
    size: tuple[float, float] | None = None,
    fontsize: float = 13,
    max_nodes: int = 3000,
) -> Picture:
    """Draw the graph that led to a tensor.

    Draw before ``loss.backward()``, which frees the tape; or after ``loss.backward(retain_graph=True)``, and leaves
    and tensors that retain their gradient show its norm.

    Args:
        loss: a Tensor of any shape that requires grad, or a Tape.
        names: variable name -> value, to call nodes by, for example ``locals()``; by default, the variables that the
            calling code can see. The nodes of a Tape keep the names that it has.
        rankdir: where the data flows: ``"TB"``, from top to bottom, or ``"LR"``, from left to right.
        values: show the values of small tensors: of leaves and constants, and of what ``names`` holds. With ``"all"``,
            those of every node and its gradient, for which the tape is run again, forward and backward; matrices of up
            to 8 rows and columns are printed as numbers.
        collapse: fold an op whose result has no name and is used once into the expression that uses it. A result that
            is broadcast there, or retains its gradient, is kept apart.
        depth: draw what a module computes as one box: with 1, ``blocks.0`` is one; with 2, ``blocks.0.attn`` and
            ``blocks.0.mlp`` are two. Modules are told by the names of their parameters, which are left out. Other ops
            are drawn one by one.
        constants: give the tensors that take no gradient, and have a name, nodes of their own.
        legend: explain the marks on the edges, where there are any.
        size: width and height in inches that the picture is fitted to, for example (13.3, 7.5) for a slide.
        fontsize: of names, in points; what is smaller keeps its proportion.
        max_nodes: refuse a graph that is larger.

    Returns:
        A ``graphviz.Digraph``. In Jupyter it shows itself; ``render`` writes it to a file.

    Raises:
        FreedTape: a backward without ``retain_graph=True`` has freed the tape.
        ValueError: nothing was recorded, the graph has more than ``max_nodes`` nodes, or an argument is none of these.
    """
    scope = scope_of(names)
    if not fontsize > 0 or (size is not None and not (len(size) == 2 and min(size) > 0)):
        raise ValueError(
            f"draw: fontsize is {fontsize} and size is {size}; give points, and a width and height in inches"
        )
    options = {"values": values, "collapse": collapse, "depth": depth, "constants": constants, "max_nodes": max_nodes}
    drawn = graph(loss, names=scope, **options)  # type: ignore[arg-type]  # each of its own type
    small = {**_SMALL, "fontsize": _points(10, fontsize)}
    kinds = {node.id: node.kind for node in drawn.nodes}
    picture = Picture("tape")
    picture.attr("graph", rankdir=rankdir, bgcolor="white", nodesep="0.2", ranksep="0.3", labeljust="l", **small)
    picture.attr(
        "node", shape="box", margin="0.1,0.04", height="0.3", width="0.6", fontsize=_points(13, fontsize), **_FONT
    )
    picture.attr("edge", color=_GREY, arrowsize="0.6", **small)
    if size is not None:
        picture.attr("graph", size=f"{size[0]:g},{size[1]:g}!")
    if legend and (rows := _legend(drawn)):
        picture.attr(label=_table(rows, '<td align="left">'))
    for node in drawn.nodes:
        tooltip = graphviz.escape(", ".join(node.ops) or node.kind)
        picture.node(node.id, _label(node, fontsize), tooltip=tooltip, **_NODES[node.kind])
    for edge in drawn.edges:
        # Heavy edges are drawn straight: the data flows down a spine, and leaves join from the side.
        weight = "8" if kinds[edge.tail] == "op" else None
        picture.edge(edge.tail, edge.head, weight=weight, **_marks(edge))
    return picture


def _points(usual: float, fontsize: float) -> str:
    """A size of type, where names have ``fontsize`` in place of 13 points."""
    return f"{usual * fontsize / 13:.3g}"


def _label(node: Node, fontsize: float) -> str:
    """Name and shape, what computed it, and what is known of its value and gradient."""
    face = "b" if node.named else "i"
    dtype = "" if node.dtype == "float32" else f" {node.dtype}"
    small = [node.expression, *node.value.split("\n"), *node.gradient.split("\n")]
    size = _points(11, fontsize)
    head = f"<{face}>{_html(node.name)}</{face}>"
    shape = f'<font point-size="{_points(10, fontsize)}" color="{_GREY}">{node.shape}{dtype}</font>'
    return _table([f"{head} {shape}", *[f'<font point-size="{size}">{_html(text)}</font>' for text in small if text]])


def _marks(edge: Edge) -> dict[str, str]:
    """How an edge shows what the backward pass does along it."""
    marks = {"label": f" ×{edge.copies}"} if edge.copies > 1 else {}
    if not edge.gradient:
        return marks | {"style": "dashed", "color": "#999999"}
    if edge.uses > 1:
        return marks | {"dir": "both", "arrowtail": "dot", "color": _GREEN, "penwidth": "1.5"}
    return marks


def _legend(drawn: Graph) -> list[str]:
    """What the marks mean, of those that occur."""
    rows = []
    if any(edge.gradient and edge.uses > 1 for edge in drawn.edges):
        rows.append(f'<font color="{_GREEN}">●</font>&#160; used more than once: its gradients add up')
    if any(edge.copies > 1 for edge in drawn.edges):
        rows.append("×n broadcast to n copies: its gradient sums over them")
    return rows


def _table(rows: list[str], cell: str = "<td>") -> str:
    cells = "".join(f"<tr>{cell}{row}</td></tr>" for row in rows)
    return f'<<table border="0" cellspacing="0" cellpadding="0">{cells}</table>>'


def _html(text: str) -> str:
    """Text of one line and of printable characters, none of which graphviz reads as markup or as an escape."""
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return escape(text).replace("\\", "\\\\") or "&#160;"
