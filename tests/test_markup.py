"""What shows itself as HTML in Jupyter: nothing breaks out of it, and nothing grows with a tensor or a tape."""

from __future__ import annotations

import tracemalloc
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
import torch

import tapegrad
from tapegrad import markup
from tests.helpers import ours, randn

HOSTILE = [
    "</td></table><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\" onmouseover='alert(1)'",
    "a\nb\u2028c\x00d\u202ee",
    "&lt;b&gt;",
    "x" * 10_000,
]
TAGS = {"div", "table", "thead", "tbody", "tr", "th", "td"}


class Reader(HTMLParser):
    """Collects the text, and refuses what is not a table; holds that every tag is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.text = [], []

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS, tag
        assert {name for name, _ in attrs} <= {"style", "class", "scope", "colspan"}, attrs
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(thing) -> str:
    """The text of a thing's HTML, which is well formed, small, and without colours of its own for text."""
    html = thing if isinstance(thing, str) else thing._repr_html_()
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    assert len(html) < 100_000
    assert "color: inherit" in html
    return " | ".join(reader.text)


def small_net():
    x, W = randn(4, 3), ours(randn(3, 2))
    h = torch.tanh(x @ W)
    loss = (h * h).mean()
    return SimpleNamespace(**locals())


def test_a_tensor():
    v = small_net()
    text = read(v.h)
    assert "(4, 2)  ·  float64  ·  op tanh" in text
    assert f"{v.h.data[3, 1].item():.4g}" in text
    assert "requires grad" in read(v.W)
    assert read(v.loss).startswith("a number")


@pytest.mark.parametrize(
    ("t", "shows"),
    [
        (torch.zeros(0, 3), "no elements"),
        (torch.zeros(3, 0), "no elements"),
        (torch.ones(3, 4, device="meta"), "meta tensor"),
        (torch.tensor([1 - 2j]).conj(), "1+2j"),
        (torch.tensor([True, False]), "False"),
        (torch.tensor(2**62 + 1), str(2**62 + 1)),
        (torch.tensor([float("nan"), float("-inf")]), "-inf"),
        (torch.eye(3).to_sparse(), "not shown"),
        (torch.tensor([1.5], dtype=torch.bfloat16), "1.5"),
        (torch.arange(24).reshape(2, 3, 4).permute(2, 0, 1), "[3, 1]"),
        (torch.arange(20), "…"),
        (torch.arange(20)[:, None], "⋮"),
    ],
)
def test_tensors_of_every_kind(t, shows):
    assert shows in read(tapegrad.tensor(t))


def test_a_huge_tensor_is_not_read():
    few = torch.zeros(1).expand(10**6, 10**6)
    wide = torch.zeros(4000, 4000).T[:, ::2]  # a reshape would copy it
    tracemalloc.start()
    for t in (few, few.unsqueeze(0).expand(1000, -1, -1), wide):
        html = tapegrad.tensor(t)._repr_html_()
        read(html)
        assert len(html) < 30_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_tape_before_and_after_its_walk():
    v = small_net()
    tape = tapegrad.tape(v.loss, names=vars(v))
    assert "tape of loss  ·  4 records  ·  1 leaves" in read(tape)
    assert "‖grad‖" not in read(tape)
    tape.backward()
    text = read(tape)
    assert "‖grad‖" in text
    assert "tanh" in text
    assert f"{float(v.W.grad.norm()):.4g}" in text


def test_a_long_tape_is_cut_in_the_middle():
    y = ours(randn(2))
    for _ in range(5000):
        y = y * 1.0001
    text = read(tapegrad.tape(y.sum()))
    assert "4,942 rows left out" in text
    assert "5,001 records" in text


def test_comparisons_and_checks():
    v = small_net()
    names = {k: t for k, t in vars(v).items() if isinstance(t, tapegrad.Tensor)}
    text = read(tapegrad.compare(v.loss, names=names))
    assert "of 3: 3 exact" in text
    checks = tapegrad.check(v.loss, {"h": -2 * v.h.data / 8, "W": ...}, names=vars(v))
    text = read(checks)
    assert "of 2: 0 approximate, 0 exact" in text
    assert "the sign is wrong" in text
    assert "it is still to be written" in text


def test_a_derivation():
    logits, y = ours(randn(4, 5)), torch.tensor([1, 0, 4, 2])
    loss = torch.nn.functional.cross_entropy(logits, y)
    found = tapegrad.derive(loss, "logits")
    text = read(found)
    assert "the gradient of logits  ·  dloss = 1" in text
    assert found.formula in text
    for line in found.lines:
        assert line.steps[-1].reason in text


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_do_not_break_out(name):
    x = ours(randn(2, 2))
    y = x.exp()
    names = {name: x, f"{name}2": y}
    loss = (y * x).sum()
    tape = tapegrad.tape(loss, names=names)
    things = [tape, tapegrad.compare(loss, names=names), tapegrad.check(loss, {name: ...}, names=names)]
    for thing in things:
        read(thing)
    tape.backward()
    read(tape)
    read(tapegrad.compare(tape))
    read(tapegrad.derive(loss, of=x, names=names))
    html = markup.text(name)
    assert not set(html) & set("<>\"'\n\u2028\x00\u202e")
    assert len(html) < 2000


def test_strings_in_a_hint():
    rows = tapegrad.Checks([tapegrad.Checked(HOSTILE[0], (2,), False, False, 1.0, HOSTILE[1])])
    assert HOSTILE[1] in read(rows)
    assert read(tapegrad.Comparison([])).startswith("of 0: 0 exact")


def test_text_elsewhere():
    v = small_net()
    assert repr(tapegrad.tape(v.loss)).startswith("#")
    assert "<div" not in repr(v.h) + str(tapegrad.compare(v.loss))
