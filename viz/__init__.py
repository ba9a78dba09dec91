"""Pictures of a tape: ``draw`` or ``render`` it, step through it on a ``page``; ``heat`` shows one tensor."""

from .dot import Picture, draw
from .engine import NoRenderer
from .graph import Edge, Graph, Node, graph
from .heat import heat
from .page import Page, page
from .render import render

__all__ = ["Edge", "Graph", "NoRenderer", "Node", "Page", "Picture", "draw", "graph", "heat", "page", "render"]
