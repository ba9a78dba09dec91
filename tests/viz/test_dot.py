"""The DOT: styles, options, and any name escaped."""

from __future__ import annotations

import pytest
import torch

import tapegrad
from tapegrad import viz
from tests.viz.graphs import leaf, texts


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
