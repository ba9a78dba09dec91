"""Pictures of a tape: ``draw`` it, ``render`` it to a file, or take its ``graph`` as plain data."""

from .dot import Picture, draw
from .engine import NoRenderer
from .graph import Edge, Graph, Node, graph
from .render import render

__all__ = ["Edge", "Graph", "NoRenderer", "Node", "Picture", "draw", "graph", "render"]
