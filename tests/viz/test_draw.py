"""Names, values and gradients in a picture, and what cannot be drawn."""

from __future__ import annotations

import pytest
import torch

import tapegrad
from tapegrad import viz
from tapegrad.errors import FreedTape
from tests.viz.graphs import leaf, node

# --- names, values, gradients ---


class Layer:
    def __init__(self):
        self.weight = leaf(3, 3)


def test_names_from_the_calling_scope():
    layers = [Layer(), Layer()]
    x = torch.ones(2, 3)
    hidden = torch.relu(x @ layers[0].weight)
    loss = (hidden @ layers[1].weight).sum()
    for graph in (viz.graph(loss), viz.graph(tapegrad.tape(loss))):
        assert [n.name for n in graph.nodes] == ["x", "layers[0].weight", "hidden", "layers[1].weight", "loss"]
    assert viz.draw(loss).source == viz.draw(loss, names=locals()).source


def test_names_given():
    x = leaf(3)
    loss = (x * 2).sum()
    assert [n.name for n in viz.graph(loss, names={"weight": x}).nodes] == ["weight", "sum_1"]


def test_the_operands_of_an_einsum():
    m, v = leaf(3, 3), leaf(3)
    assert "einsum(&#x27;ij,jk-&gt;ik&#x27;, m, m)" in viz.draw(torch.einsum("ij,jk->ik", m, m).sum()).source
    assert "einsum(&#x27;ij,j-&gt;i&#x27;, m, v)" in viz.draw(torch.einsum("ij,j->i", [m, v]).sum()).source


def test_draw_and_render_see_the_same_scope(tmp_path):
    x = leaf(3)
    loss = (x * 2).sum()
    source = viz.draw(loss).source
    assert "<b>x</b>" in source
    assert viz.render(loss, tmp_path / "a.gv").read_text(encoding="utf-8") == source


def test_gradients_after_backward():
    x = leaf(3)
    y = x * 2
    y.retain_grad()
    z = y.exp()
    loss = (z * 3).sum() * 2
    assert {n.gradient for n in viz.graph(loss).nodes} == {""}
    assert "grad‖" not in viz.draw(loss).source
    loss.backward(retain_graph=True)
    graph = viz.graph(loss)
    assert [n.name for n in graph.nodes if n.gradient] == ["x", "y"]
    assert node(graph, "x").gradient == f"‖grad‖ {x.grad.norm().item():.4g}"
    assert node(graph, "y").gradient == f"‖grad‖ {y.grad.norm().item():.4g}"
    assert f"‖grad‖ {x.grad.norm().item():.4g}" in viz.draw(loss).source


def test_the_gradient_of_one_number_keeps_its_sign():
    x = leaf()
    loss = x * -2
    loss.backward(retain_graph=True)
    assert node(viz.graph(loss), "x").gradient == "grad -2"


def test_drawing_a_freed_tape_says_what_to_do():
    x = leaf(3)
    loss = x.exp().sum()
    loss.backward()
    for draw in (viz.draw, viz.graph):
        with pytest.raises(FreedTape, match=r"^draw: .* pass retain_graph=True to that backward"):
            draw(loss)


def test_values():
    x, big, c = leaf(2), leaf(7), torch.tensor([1, 2])
    y = x * c
    loss = y.sum() + big.sum()
    graph = viz.graph(loss, values=True)
    assert {n.name: n.value for n in graph.nodes} == {
        "x": "[0.5, 1.5]",
        "c": "[1, 2]",
        "y": "[0.5, 3]",
        "big": "",
        "loss": "10.5",
    }
    assert {n.value for n in viz.graph(loss).nodes} == {""}
    assert ">[0.5, 1.5]<" in viz.draw(loss, values=True).source


def test_meta_tensors_draw():
    x = tapegrad.tensor(torch.empty(3, device="meta"), True)
    loss = (x * torch.empty(3, device="meta")).sum() * torch.empty((), device="meta")
    loss.backward(retain_graph=True)
    graph = viz.graph(loss, values=True)
    assert [(n.value, n.gradient) for n in graph.nodes] == [("", ""), ("", "")]
    assert node(graph, "loss").expression == "sum(x * const) * const"


# --- what is refused ---


def test_a_torch_tensor_is_refused():
    with pytest.raises(TypeError, match="Tensor or Tape of tapegrad"):
        viz.draw(torch.ones(3))


def test_a_tensor_without_a_past_is_refused():
    with pytest.raises(ValueError, match="does not require grad"):
        viz.draw(tapegrad.tensor([1.0]))


def test_a_leaf_alone_is_drawn():
    x = leaf(3)
    assert [(n.name, n.kind) for n in viz.graph(x).nodes] == [("x", "leaf")]


def test_max_nodes():
    x = leaf(3)
    y = x.exp().exp().exp()
    assert len(viz.graph(y, collapse=False, max_nodes=4).nodes) == 4
    with pytest.raises(ValueError, match=r"4 nodes, more than max_nodes=3; pass max_nodes=4"):
        viz.draw(y, collapse=False, max_nodes=3)


def test_two_thousand_ops_draw():
    x = leaf(3)
    y = x
    for _ in range(1000):
        y = y * y.tanh()
    assert viz.draw(y, collapse=False).source.count(" -> ") == 3000
