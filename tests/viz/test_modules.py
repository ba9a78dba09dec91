"""Modules as boxes, and pictures that fit a slide."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tapegrad
from tapegrad import viz
from tests.viz.graphs import edges, leaf


class Block(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.ln = nn.LayerNorm(n)
        self.mlp = nn.Sequential(nn.Linear(n, 2 * n), nn.GELU(), nn.Linear(2 * n, n))

    def forward(self, x):
        return x + self.mlp(self.ln(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(5, 4)
        self.blocks = nn.ModuleList([Block(4) for _ in range(2)])
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, i):
        x = self.wte(i)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


@pytest.fixture
def loss():
    net = Net()
    with tapegrad.recording():
        loss = F.cross_entropy(net(torch.tensor([0, 2, 1])), torch.tensor([1, 2, 3]))
    return loss, net


def names(graph):
    return [node.name for node in graph.nodes]


def test_a_block_is_a_box(loss):
    loss, net = loss
    graph = viz.graph(loss, names={"net": net, "loss": loss}, depth=1)
    assert names(graph) == ["wte.weight", "wte", "blocks.0", "blocks.1", "wte (2)", "loss"]
    spine = ["wte", "blocks.0", "blocks.1", "wte (2)", "loss"]
    assert [edge for edge in edges(graph) if edge[0] != "wte.weight"] == list(itertools.pairwise(spine))


def test_deeper_boxes(loss):
    loss, net = loss
    found = names(viz.graph(loss, names={"net": net, "loss": loss}, depth=2))
    assert [name for name in found if name.startswith("blocks")] == [
        "blocks.0.ln", "blocks.0.mlp.0", "blocks.0.mlp.2", "blocks.1.ln", "blocks.1.mlp.0", "blocks.1.mlp.2"
    ]  # fmt: skip


def test_the_boxes_have_no_circle(loss):
    loss, net = loss
    for depth in (1, 2, 3):
        graph = viz.graph(loss, names={"net": net, "loss": loss}, depth=depth)
        place = {node.id: i for i, node in enumerate(graph.nodes)}
        assert all(place[edge.tail] < place[edge.head] for edge in graph.edges)
        called = " ".join(node.expression for node in graph.nodes)
        drawn = {node.name for node in graph.nodes}
        assert not [
            w
            for w in called.replace("(", " ").replace(",", " ").split()
            if "_" in w and w[-1].isdigit() and w not in drawn
        ]


def test_without_modules_nothing_changes():
    x = leaf(3)
    loss = (x * 2).exp().sum()
    assert viz.graph(loss, depth=1) == viz.graph(loss, collapse=False)


@pytest.mark.parametrize("depth", [0, -1, 1.5, "all", True])
def test_what_is_no_depth(depth):
    with pytest.raises(ValueError, match="draw: depth is"):
        viz.draw(leaf(3).sum(), depth=depth)


def test_a_slide():
    source = viz.draw(leaf(3).sum(), size=(13.3, 7.5), fontsize=26).source
    assert 'size="13.3,7.5!"' in source
    assert "fontsize=26" in source
    assert "fontsize=20" in source


@pytest.mark.parametrize("options", [{"size": (0, 3)}, {"size": (3,)}, {"fontsize": 0}])
def test_what_is_no_size(options):
    with pytest.raises(ValueError, match="draw: fontsize is"):
        viz.draw(leaf(3).sum(), **options)


# --- values of every node ---


def test_values_and_gradients_of_every_node():
    x, W = leaf(4, 3), leaf(3, 2)
    h = torch.tanh(x @ W)
    loss = (h * h).sum()
    graph = viz.graph(loss, values="all")
    for node, t in zip(graph.nodes, (x, W, h), strict=False):
        rows = [[f"{v:.3g}" for v in row] for row in t.tolist()]
        assert [line.split() for line in node.value.splitlines()] == rows
    gradient = (2 * h.data).tolist()
    assert graph.nodes[2].gradient.splitlines()[0] == "grad"
    assert [line.split() for line in graph.nodes[2].gradient.splitlines()[1:]] == [
        [f"{v:.3g}" for v in r] for r in gradient
    ]
    assert x.grad is None
    assert viz.draw(loss, values="all").source.count(">grad") == 4
    tape = tapegrad.tape(loss)
    tape.backward()
    assert viz.graph(tape, values="all") == graph


def test_what_is_large_or_has_no_numbers_is_left_out():
    x = leaf(20, 3)
    loss = (x * 2).sum()
    graph = viz.graph(loss, values="all")
    assert graph.nodes[0].value == ""
    assert graph.nodes[0].gradient.startswith("‖grad‖")
    with pytest.raises(ValueError, match="draw: values is 'some'"):
        viz.draw(loss, values="some")
