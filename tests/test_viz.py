"""Pictures. The DOT of a few graphs is kept in tests/golden; write it anew, and look at the difference, with

GOLDEN=write python -m pytest tests/test_viz.py -k golden
"""

import os
import runpy
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tapegrad
from tapegrad.errors import FreedTape

pytest.importorskip("graphviz")

from tapegrad import viz

HERE = Path(__file__).parent
IMAGES = HERE.parent / "docs" / "images"


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


@pytest.mark.parametrize("draw", [square, broadcast_add, fan_out, makemore], ids=lambda f: f.__name__)
def test_golden(draw):
    path = HERE / "golden" / f"{draw.__name__}.gv"
    source = draw().source
    if os.environ.get("GOLDEN") == "write":
        path.write_text(source, encoding="utf-8")
    assert source == path.read_text(encoding="utf-8")


def test_two_runs_draw_the_same():
    assert makemore().source == makemore().source


# --- the graph ---


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


def test_the_whole_makemore_pass_is_there():
    source = makemore().source
    assert source.count(" -> ") == 32
    assert source.count("style=filled ") == 7
    names = "emb embcat hprebn bnmeani bndiff bndiff2 bnvar bnvar_inv bnraw hpreact h logits logit_maxes norm_logits "
    names += "counts counts_sum counts_sum_inv probs logprobs loss C W1 b1 W2 b2 bngain bnbias Xb Yb"
    assert {name for name in names.split() if f"<b>{name}</b>" in source} == set(names.split())
    assert "<i>" not in source  # nothing is without a name


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


# --- folding ---


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


# --- expressions ---


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (lambda x, y: x - (y - x), "x - (y - x)"),
        (lambda x, y: x - y - x, "x - y - x"),
        (lambda x, y: x * (y + 1), "x * (y + 1)"),
        (lambda x, y: x / (y * x), "x / (y * x)"),
        (lambda x, y: (x**2) ** 3, "(x**2) ** 3"),
        (lambda x, y: x**-0.5, "x**-0.5"),
        (lambda x, y: -(x**2), "-(x**2)"),
        (lambda x, y: (-x) ** 2, "(-x) ** 2"),
        (lambda x, y: -(x * y), "-(x * y)"),
        (lambda x, y: x * -y, "x * -y"),
        (lambda x, y: 1 - x, "1 - x"),
        (lambda x, y: 1 / 32 * x, "x * 0.03125"),
        (lambda x, y: x + 1e-5, "x + 1e-05"),
        (lambda x, y: x.exp()[1], "exp(x)[1]"),
        (lambda x, y: (x + y)[1:], "(x + y)[1:]"),
        (lambda x, y: x[..., None, ::2], "x[..., None, ::2]"),
        (lambda x, y: x.sum(0, keepdim=True), "sum(x, 0)"),
        (lambda x, y: x.view(3, 1).sum((0, 1)), "sum(view(x, 3, 1), 0, 1)"),
        (lambda x, y: x.max(0).values, "max(x, 0)"),
        (lambda x, y: x.max(), "max(x)"),
        (lambda x, y: x.var(), "var(x, correction=1)"),
        (lambda x, y: x.double(), "to(x)"),
        (lambda x, y: torch.cat([x, torch.ones(2), y]), "cat([x, const, y], 0)"),
        (lambda x, y: x.masked_fill(x > 1, -1.0), "masked_fill(x, const, -1)"),
        (lambda x, y: x * torch.tensor(2.5), "x * 2.5"),
        (lambda x, y: F.softmax(x, 0), "softmax(x, 0)"),
        (lambda x, y: F.cross_entropy(x, torch.tensor(2)), "cross_entropy(x, 2)"),
    ],
)
def test_expression(op, text):
    x, y = leaf(3), leaf(3)
    assert expression(op(x, y), x=x, y=y) == text


def deeper(inner):
    sign, number = st.sampled_from("+ - * / **".split()), st.sampled_from(["2", "0.5", "(-3)"])
    binary = st.tuples(inner, sign, inner) | st.tuples(inner, sign, number) | st.tuples(number, sign, inner)
    return binary.map("({0[0]} {0[1]} {0[2]})".format) | inner.map("(-{})".format)


@settings(deadline=None)
@given(deeper(st.recursive(st.sampled_from("xy"), deeper, max_leaves=6)))
def test_an_expression_means_what_ran(code):
    names = {"x": leaf(dtype=torch.float64), "y": leaf(dtype=torch.float64) + 1, "reciprocal": torch.reciprocal}
    result = eval(code, dict(names))
    text = expression(result, **names)
    assume("_" not in text)  # split, for its length
    assert eval(text, dict(names)).data.allclose(result.data, equal_nan=True)


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
        with pytest.raises(FreedTape, match=r"^draw: .* before that backward, or pass it retain_graph=True"):
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


# --- DOT ---


def test_kinds_look_different_in_black_and_white():
    x, w = torch.ones(3), leaf(3)
    y = x * w
    loss = y.sum()
    outlines = set()
    for line in viz.draw(loss).source.splitlines():
        if "fillcolor" in line:
            outlines.add(("rounded" in line, "dashed" in line, "penwidth=2" in line, "peripheries=2" in line))
    assert len(outlines) == 4


def test_rankdir_and_legend():
    x, b = leaf(2, 3), leaf(3)
    y = x * x + b
    source = viz.draw(y, rankdir="LR").source
    assert "rankdir=LR" in source
    assert "gradients add up" in source
    assert "broadcast to n copies" in source
    assert "arrowtail=dot" in source
    assert 'label=" ×2"' in source
    bare = viz.draw(y, legend=False).source
    assert "rankdir=TB" in bare
    assert "gradients add up" not in bare
    assert "broadcast" not in viz.draw(x * 2).source


def test_dtype_is_shown_if_it_is_not_float32():
    x = leaf(3, dtype=torch.float64)
    assert "(3,) float64" in viz.draw(x.exp()).source
    assert "float32" not in viz.draw(leaf(3).exp()).source


NASTY = [
    "<b>&amp;\"'",
    "a\\Nb",
    "a\\\\",
    "</td>",
    "]]>",
    "x\x00y\n\r\t\x1b",
    "é中😀",
    "\ud800",
    "",
    "z" * 200,
    "%s ${x} {}",
]


@pytest.fixture
def bundled(monkeypatch):
    """No dot on PATH; pygraphviz's engine is there."""
    monkeypatch.setenv("PATH", "")
    pytest.importorskip("pygraphviz")


def texts(svg):
    return [t.text for t in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", NASTY)
def test_names_are_escaped(name, bundled):
    x = leaf(3)
    svg = viz.draw(x * 2, names={name: x})._repr_svg_()
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name) or "\xa0"
    shown = printable if len(printable) <= 60 else f"{'z' * 59}…"
    assert shown in texts(svg)


def test_op_names_are_escaped(bundled):
    op = tapegrad.rule(x=lambda g: g * 2)(lambda x: x * 2)
    x = leaf(3)
    svg = viz.draw(op(x), names={"x": x})._repr_svg_()
    assert "<lambda>(x)" in texts(svg)
    assert 'title="&lt;lambda&gt;"' in svg


# --- rendering ---


@pytest.fixture
def picture():
    x = leaf(3)
    loss = (x * x).sum()
    return viz.draw(loss)


def test_render_svg(picture, bundled, tmp_path):
    path = viz.render(picture, tmp_path / "a.svg")
    assert path == tmp_path / "a.svg"
    found = texts(path.read_text(encoding="utf-8"))
    assert {"x", "loss", "sum(x * x)", "(3,)"} <= set(found)
    assert [p.name for p in tmp_path.iterdir()] == ["a.svg"]


def test_render_png(picture, bundled, tmp_path):
    data = viz.render(picture, str(tmp_path / "a.png")).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert 300 < width < 1200  # sharp: 144 dots per inch
    assert 200 < height < 800


def test_render_pdf(picture, bundled, tmp_path):
    assert viz.render(picture, tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_render_gv(picture, tmp_path):
    assert viz.render(picture, tmp_path / "a.gv").read_text(encoding="utf-8") == picture.source


def test_render_takes_options(tmp_path):
    x = leaf(3)
    loss = (x * 2).sum()
    source = viz.render(loss, tmp_path / "a.gv", names={"w": x}, rankdir="LR", collapse=False).read_text(
        encoding="utf-8"
    )
    assert source == viz.draw(loss, names={"w": x}, rankdir="LR", collapse=False).source


def test_the_suffix_may_be_in_capitals(picture, tmp_path):
    assert viz.render(picture, tmp_path / "a.GV").read_text(encoding="utf-8") == picture.source


@pytest.mark.parametrize("name", ["a.bmp", "a", "a.svg~"])
def test_render_refuses_other_suffixes(picture, tmp_path, name):
    with pytest.raises(ValueError, match=r"must be one of \.svg, \.png, \.pdf, \.gv"):
        viz.render(picture, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_engine_refuses_a_format_that_would_crash_it(bundled):
    from tapegrad.viz.engine import layout

    with pytest.raises(ValueError, match="no format 'webq'"):
        layout("digraph {}", "webq")


def test_no_renderer(picture, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    with pytest.raises(viz.NoRenderer, match=r"pip install 'tapegrad\[viz\]'.*install graphviz.*a\.gv"):
        viz.render(picture, tmp_path / "a.svg")
    assert [p.name for p in tmp_path.iterdir()] == ["a.gv"]
    assert (tmp_path / "a.gv").read_text(encoding="utf-8") == picture.source
    bundle = picture._repr_mimebundle_()
    assert list(bundle) == ["text/plain"]
    assert "tapegrad[viz]" in bundle["text/plain"]


@pytest.mark.skipif(sys.platform == "win32", reason="a script cannot stand in for dot")
def test_dot_on_path_goes_first(picture, tmp_path, monkeypatch):
    dot = tmp_path / "dot"
    dot.write_text(
        f"#!{sys.executable}\nimport sys\nsys.stdout.write(' '.join(sys.argv[1:]) + chr(10) + sys.stdin.read())\n"
    )
    dot.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    assert viz.render(picture, tmp_path / "a.svg").read_text(encoding="utf-8") == f"-Tsvg\n{picture.source}"
    assert viz.render(picture, tmp_path / "a.png").read_text(encoding="utf-8") == f"-Tpng -Gdpi=144\n{picture.source}"
    dot.write_text(f"#!{sys.executable}\nraise SystemExit(3)\n")
    with pytest.raises(subprocess.CalledProcessError):
        viz.render(picture, tmp_path / "b.svg")


def test_jupyter_shows_the_picture(picture, bundled):
    import graphviz

    assert isinstance(picture, graphviz.Digraph)
    bundle = picture._repr_mimebundle_(include=None, exclude=None)
    assert list(bundle) == ["image/svg+xml"]
    assert "sum(x * x)" in texts(bundle["image/svg+xml"])
    assert picture._repr_svg_() == bundle["image/svg+xml"]


def test_the_picture_in_the_docs_is_up_to_date(bundled):
    assert texts((IMAGES / "makemore.svg").read_text(encoding="utf-8")) == texts(makemore()._repr_svg_())


def test_without_graphviz_only_pictures_are_missing():
    code = "import sys; sys.modules['graphviz'] = None; import tapegrad; print('fine'); import tapegrad.viz"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "fine\n"
    assert "ImportError: tapegrad.viz needs the graphviz package: pip install 'tapegrad[viz]'" in result.stderr
