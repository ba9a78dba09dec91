"""The nodes and edges of a picture."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad import viz
from tests.viz.graphs import edges, leaf, node


def test_nodes_and_edges():
    x, w = tapegrad.tensor(torch.ones(2, 3)), leaf(3, 1)
    y = torch.tanh(x @ w)
    loss = y.mean()
    graph = viz.graph(loss)
    assert [(n.id, n.kind, n.name, n.named, n.expression, n.ops, n.shape) for n in graph.nodes] == [
        ("n0", "constant", "x", True, "", (), (2, 3)),
        ("n1", "leaf", "w", True, "", (), (3, 1)),
        ("n2", "op", "y", True, "tanh(x @ w)", ("matmul", "tanh"), (2, 1)),
        ("n3", "output", "loss", True, "mean(y)", ("mean",), ()),
    ]
    assert graph.edges == (
        viz.Edge("n0", "n2", copies=1, uses=1, gradient=False),
        viz.Edge("n1", "n2", copies=1, uses=1, gradient=True),
        viz.Edge("n2", "n3", copies=1, uses=1, gradient=True),
    )


def test_a_tensor_used_twice_has_two_edges():
    x = leaf(3)
    y = x * x
    graph = viz.graph(y)
    assert edges(graph) == [("x", "y"), ("x", "y")]
    assert [e.uses for e in graph.edges] == [2, 2]


def test_uses_count_across_ops():
    x = leaf(3)
    y = x.exp()
    z = x + y
    assert [(e.uses, pair) for e, pair in zip(viz.graph(z).edges, edges(viz.graph(z)), strict=True)] == [
        (2, ("x", "y")),
        (2, ("x", "z")),
        (1, ("y", "z")),
    ]


@pytest.mark.parametrize(
    ("op", "shapes", "copies"),
    [
        (lambda a, b: a + b, [(32, 4), (4,)], [1, 32]),
        (lambda a, b: a - b, [(32, 1), (1, 4)], [4, 32]),
        (lambda a, b: a * b, [(32, 4), ()], [1, 128]),
        (lambda a, b: torch.add(a, b, alpha=2), [(3,), (2, 3)], [2, 1]),
        (lambda a, b: torch.where(torch.ones(2, 3) > 0, a, b), [(3,), (2, 1)], [2, 3]),
        (lambda a, b: a @ b, [(5, 2, 3), (3, 4)], [1, 5]),
        (lambda a, b: a @ b, [(2, 3), (3, 4)], [1, 1]),
        (lambda a, b: a @ b, [(6, 1, 2, 3), (5, 3, 4)], [5, 6]),
        (lambda a, b: a @ b, [(6, 2, 3), (3,)], [1, 6]),
        (lambda a, b: a @ b, [(3,), (6, 5, 3, 4)], [30, 1]),
        (lambda a, b: a @ b, [(2, 3), (3,)], [1, 1]),
        (lambda a, b: a @ b, [(3,), (3,)], [1, 1]),
        (lambda a, b: F.linear(torch.ones(7, 3), a, b), [(4, 3), (4,)], [1, 7]),
        (lambda a, b: torch.cat([a, b]), [(1, 3), (2, 3)], [1, 1]),
        (lambda a, b: torch.stack([a, b]), [(3,), (3,)], [1, 1]),
        (lambda a, b: a + b, [(0, 3), (3,)], [1, 1]),
    ],
)
def test_copies(op, shapes, copies):
    a, b = leaf(*shapes[0]), leaf(*shapes[1])
    graph = viz.graph(op(a, b), names={"a": a, "b": b})
    assert [e.copies for e in graph.edges] == copies


@pytest.mark.parametrize(
    ("op", "copies"),
    [
        (lambda x: x.expand(5, 3), 5),
        (lambda x: x.sum(), 1),
        (lambda x: x[torch.zeros(4, 3, dtype=torch.long)], 1),
        (lambda x: x[None], 1),
        (lambda x: F.softmax(x, 0), 1),
    ],
)
def test_copies_by_one_operand(op, copies):
    [edge] = viz.graph(op(leaf(3)), names={}).edges
    assert edge.copies == copies


def test_constants_with_a_name_are_nodes():
    w, x, index = leaf(5, 2), torch.ones(3, 5), torch.tensor([0, 1])
    loss = ((x @ w)[index, range(2)] * torch.tensor([3.0, 4.0])).sum()
    graph = viz.graph(loss)
    assert [n.name for n in graph.nodes if n.kind == "constant"] == ["x", "index"]
    assert [(n.shape, n.dtype) for n in graph.nodes if n.kind == "constant"] == [((3, 5), "float32"), ((2,), "int64")]
    assert node(graph, "loss").expression == "sum((x @ w)[index, range(2)] * const)"
    hidden = viz.graph(loss, constants=False)
    assert [n.name for n in hidden.nodes] == ["w", "loss"]
    assert edges(hidden) == [("w", "loss")]
    assert node(hidden, "loss").expression == "sum((x @ w)[index, range(2)] * const)"


def test_no_gradient_is_claimed_for_a_constant():
    w, x = leaf(3), torch.ones(3)
    x.grad = torch.ones(3)
    assert node(viz.graph(w * x), "x").gradient == ""
