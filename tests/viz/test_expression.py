"""The expressions that a picture shows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.viz.graphs import expression, leaf


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
        (lambda x, y: x.sum(0, keepdim=True), "sum(x, 0, keepdim=True)"),
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
