"""What is folded into the expression of another node, and what is not."""

from __future__ import annotations

import torch

import tapegrad
from tapegrad import viz
from tests.viz.graphs import edges, leaf, node


def test_fold_into_the_named_result():
    x, w, b = leaf(2, 3), leaf(3, 4), leaf(2, 4)
    y = x @ w + b
    graph = viz.graph(y)
    assert node(graph, "y").expression == "x @ w + b"
    assert node(graph, "y").ops == ("matmul", "add")
    assert edges(graph) == [("x", "y"), ("w", "y"), ("b", "y")]


def test_collapse_false_shows_each_record():
    x, w, b = leaf(2, 3), leaf(3, 4), leaf(2, 4)
    y = x @ w + b
    graph = viz.graph(y, collapse=False)
    assert edges(graph) == [("x", "matmul_0"), ("w", "matmul_0"), ("matmul_0", "y"), ("b", "y")]
    assert [n.expression for n in graph.nodes if n.ops] == ["x @ w", "matmul_0 + b"]
    assert not node(graph, "matmul_0").named
    assert "<i>matmul_0</i>" in viz.draw(y, collapse=False).source


def test_what_is_used_twice_is_not_folded():
    def twice(t):
        return t * t

    x = leaf(3)
    y = twice(x.exp())
    assert edges(viz.graph(y)) == [("x", "exp_0"), ("exp_0", "y"), ("exp_0", "y")]


def test_what_is_broadcast_is_not_folded():
    x = leaf(4, 3)
    y = x - x.mean(0)
    graph = viz.graph(y)
    assert edges(graph) == [("x", "mean_0"), ("x", "y"), ("mean_0", "y")]
    assert [e.copies for e in graph.edges] == [1, 1, 4]


def test_what_retains_its_gradient_is_not_folded():
    x = leaf(3)
    kept = [x.exp()]
    kept[0].retain_grad()
    y = kept[0] * 2
    y.sum().backward(retain_graph=True)
    graph = viz.graph(y, names={"x": x, "y": y})
    assert node(graph, "exp_0").gradient == "‖grad‖ 3.464"


def test_an_output_is_not_folded():
    x = leaf(3)
    y = x.exp()
    z = y.sum()
    graph = viz.graph(tapegrad.tape(y, z, names={}), names={})
    assert [(n.name, n.kind) for n in graph.nodes] == [("leaf_0", "leaf"), ("exp_0", "output"), ("sum_1", "output")]


def test_long_expressions_are_split():
    x = leaf(3)
    y = x
    for _ in range(40):
        y = torch.tanh(y)
    graph = viz.graph(y)
    assert len(graph.nodes) > 4
    assert max(len(n.expression) for n in graph.nodes) <= 44
    assert sum(len(n.ops) for n in graph.nodes) == 40
    assert all(e.uses == 1 for e in graph.edges)


def test_too_many_names_for_one_line():
    weights = {"a_rather_long_name_for_a_parameter": leaf(3), "another_long_name_for_a_parameter": leaf(3)}
    a, b = weights.values()
    y = torch.tanh((a + b) * 2)
    graph = viz.graph(y, names={**weights, "y": y})
    assert [n.expression for n in graph.nodes if n.ops] == ["add(…)", "tanh(add_0 * 2)"]
