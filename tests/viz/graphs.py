"""Small tapes, and what of their pictures can be compared."""

from __future__ import annotations

import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import torch

import tapegrad
from tapegrad import viz
from tests.helpers import ROOT

HERE = Path(__file__).parent
IMAGES = ROOT / "docs" / "images"


def leaf(*shape, dtype=torch.float32):
    return tapegrad.tensor(torch.linspace(0.5, 1.5, torch.Size(shape).numel(), dtype=dtype).view(shape), True)


def node(graph, name):
    [found] = [n for n in graph.nodes if n.name == name]
    return found


def edges(graph):
    """(tail's name, head's name) of each edge, in order."""
    names = {n.id: n.name for n in graph.nodes}
    return [(names[e.tail], names[e.head]) for e in graph.edges]


def expression(t, **names):
    """What the picture says that a tensor was computed from."""
    return viz.graph(t, names=names).nodes[-1].expression


# --- golden DOT ---


def square():
    x = leaf(3)
    y = x * x
    return viz.draw(y)


def broadcast_add():
    x, b = leaf(4, 3), leaf(3)
    loss = (x + b).sum()
    return viz.draw(loss, rankdir="LR")


def fan_out():
    a = leaf()
    b = a + a
    c = b * b + b
    c.backward(retain_graph=True)
    return viz.draw(c, values=True)


def makemore():
    return runpy.run_path(str(IMAGES / "makemore.py"))["picture"]()


def texts(svg):
    return [t.text for t in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
