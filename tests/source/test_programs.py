"""The source of whole programs runs and agrees."""

from __future__ import annotations

import operator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tapegrad
from tapegrad.source.program import STYLES
from tests.helpers import ours, randn
from tests.provers.networks import each_program
from tests.provers.runs import DEPRECATED, FLOATS
from tests.source.checks import assert_formatted, assert_written

pytestmark = DEPRECATED


@each_program
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_program(parameters, loss_of, style, dtype, tmp_path):
    leaves = {name: ours(value.to(dtype)) for name, value in parameters().items()}
    text = assert_written(loss_of(leaves), leaves, style)
    assert_formatted({"program": text}, tmp_path)


UNARY = [torch.tanh, torch.exp, torch.neg, lambda x: x**2, lambda x: 1 / (x * x + 1), lambda x: 2 * x - 1]
BINARY = [operator.add, operator.sub, operator.mul, torch.maximum, lambda x, y: x / (y * y + 1)]
MOVING = [
    lambda x: x.T,
    lambda x: x.reshape(-1)[:6].view(3, 2).T,
    lambda x: x[[0, 0, 1]][:2],
    lambda x: x - x.max(1, keepdim=True).values,
    lambda x: x.sum(0, keepdim=True).expand(2, 3),
    lambda x: torch.cat([x, x * x])[1:3],
    lambda x: x.softmax(1),
    lambda x: torch.where(x.detach().data > 0, x, 0.5),
]


@st.composite
def programs(draw):
    """A list of steps: an op, the positions of its operands, and whether the result gets a name."""
    steps = []
    for k in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["unary", "binary", "moving", "written", "added"]))
        pick = st.integers(0, 2 + k)
        op = draw(st.integers(0, {"unary": len(UNARY), "binary": len(BINARY), "moving": len(MOVING)}.get(kind, 1) - 1))
        steps.append((kind, op, draw(pick), draw(pick), draw(st.booleans())))
    return steps


@given(programs(), st.sampled_from(STYLES), st.sampled_from(FLOATS), st.booleans())
def test_random_programs(steps, style, dtype, several):
    leaves = {"a": ours(randn(2, 3, dtype=dtype, seed=1)), "b": ours(randn(3, dtype=dtype, seed=2))}
    leaves["c"] = ours(randn(dtype=dtype, seed=3))
    made = list(leaves.values())
    names = dict(leaves)
    for number, (kind, op, i, j, named) in enumerate(steps):
        x, y = made[i] + torch.zeros(2, 3, dtype=dtype), made[j]  # every operand of one shape
        if kind == "unary":
            out = UNARY[op](x)
        elif kind == "binary":
            out = BINARY[op](x, y)
        elif kind == "moving":
            out = MOVING[op](x)
            out = out.T if out.shape == (3, 2) else out
        else:
            out = x.clone()
            if kind == "written":
                out[0] = y[0] if y.ndim == 2 else y
            else:
                out += y
        made.append(out)
        if named:
            names[f"t{number}"] = out
    outputs = [made[-1], made[-2] * 2] if several else made[-1].sum()
    assert_written(outputs, names, style)


def test_a_scalar_expression():
    a, b = tapegrad.tensor(-4.0, requires_grad=True), tapegrad.tensor(2.0, requires_grad=True)
    c = a + b
    d = a * b + b**3
    L = c * d.tanh() + 3 * c
    names = {"a": a, "b": b, "c": c, "d": d, "L": L}
    assert tapegrad.tape(L, names=names).source(names=names, forward=True) == SCALARS
    for style in STYLES:
        assert_written(L, names, style)


SCALARS = """\
import torch


def forward(a, b):
    c = a + b
    d = a * b + b**3
    L = c * d.tanh() + 3 * c
    saved = {"a": a, "b": b, "c": c, "d": d}
    return L, saved


def backward(a, b, c, d):
    dL = torch.tensor(1.0)
    # L = c * d.tanh() + 3 * c
    tanh = d.tanh()
    dd = c * (1 - tanh * tanh)
    dc = 3.0 + tanh
    # d = a * b + b**3
    # c = a + b
    da = dd * b + dc
    db = dd * (3 * b**2) + dd * a + dc
    return {"L": dL, "d": dd, "c": dc, "a": da, "b": db}
"""


@pytest.mark.parametrize("style", STYLES)
def test_views_writes_repeated_indices_and_several_outputs(style):
    x, w = ours(randn(4, 6)), ours(randn(3, seed=1))
    y = x.tanh()
    y[1] = w.repeat(2)
    y = y * 2
    y[:, ::2] = x[:, 1::2]
    z = y.view(2, 12).T
    picked = z[[0, 0, 5]]
    picked += picked
    rows = x.narrow(0, 1, 2).unfold(1, 3, 2).sum(1)
    assert_written([picked, rows, z.sum()], {"x": x, "w": w, "z": z, "picked": picked}, style)


def test_an_output_that_leads_to_another():
    x = ours(randn(3))
    y = x.exp()
    z = y * y
    for style in STYLES:
        text = assert_written([y, z], {"x": x}, style)
        assert "dout0_2 = " in text


def test_a_long_chain():
    """Nothing recurses along the tape."""
    x = ours(randn(3))
    y = x
    for _ in range(1200):
        y = y * 1.0001 + x
    for style in STYLES:
        assert_written(y.sum(), {"x": x}, style)
