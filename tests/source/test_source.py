"""How the source reads: what is bound, what is folded, and the names."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad.source.program import STYLES
from tests.helpers import assert_same, ours, randn
from tests.source.checks import assert_written, execute

# --- what is shared is bound, what is plain is folded ---


def source(loss: Any, **names: Any) -> str:
    """The lines of the body, without the result."""
    scope = {**names, "loss": loss}
    lines = tapegrad.tape(loss, names=scope).source(names=scope).splitlines()
    start = next(k for k, line in enumerate(lines) if line.endswith("):"))
    end = next(k for k, line in enumerate(lines) if line.startswith("    return"))
    return "\n".join(line.strip() for line in lines[start + 1 : end])


def test_ones_and_zeros_vanish():
    x = ours(randn(3))
    assert source((x * 1 + 0).sum(), x=x).endswith("\ndx = torch.ones(3, dtype=torch.float64)")


def test_what_is_used_twice_is_bound_once():
    x = ours(randn(2, 3))
    loss = (torch.nn.functional.silu(x)).sum()
    assert source(loss, x=x).count("sigmoid()") == 1


def test_broadcast_becomes_a_sum_and_a_sum_a_broadcast():
    x, b = ours(randn(2, 3)), ours(randn(1, 3))
    y = x * b
    text = source((y * y).mean(), x=x, b=b, y=y)
    assert "db = (dy * x).sum(0, keepdim=True)" in text


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e300, 1e-300, 0.1, 1 / 3, -7.0, 123456789.125])
def test_numbers(value):
    x = ours(randn(3))
    for style in STYLES:
        assert_written((x * value).sum(), {"x": x}, style)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_small_dtypes(dtype):
    x = ours(randn(3, dtype=torch.float32).to(dtype))
    for style in STYLES:
        assert_written((x.tanh() * x).sum(), {"x": x}, style)


def test_meta_tensors():
    x = tapegrad.tensor(torch.empty(3, 4, device="meta"), requires_grad=True)
    tape = tapegrad.tape((x.max(1).values * 2).sum(), names={"x": x})
    text = tape.source(names={"x": x}, forward=True)
    assert 'device="meta"' in text
    assert "dx = " in text


# --- names ---


def test_names_that_python_or_the_source_needs():
    values = {name: ours(randn(3, seed=k)) for k, name in enumerate(["lambda", "torch", "backward", "len", "l", "F"])}
    names: dict[str, Any] = {**values, "x": {"lambda": ours(randn(3, seed=9))}}
    loss = names["x"]["lambda"].tanh().sum()
    for x in values.values():
        loss = loss + (x * x.exp()).sum()
    scope = {**names, "loss": loss}
    tape = tapegrad.tape(loss, names=scope)
    text = tape.source(names=scope)
    got = execute(text)["backward"](**tape.bindings(names=scope))
    for name, x in values.items():
        assert torch.allclose(got[name], x.data.exp() * (1 + x.data))
    assert_same(got["x['lambda']"], 1 - names["x"]["lambda"].data.tanh() ** 2, "gradient", rtol=1e-12)


def test_names_that_clash_as_variables():
    layers = [{"weight": ours(randn(3))}, {"weight": ours(randn(3, seed=1))}]
    layers_0_weight = ours(randn(3, seed=2))
    dx, x = ours(randn(3, seed=3)), ours(randn(3, seed=4))
    out = layers[0]["weight"] * layers[1]["weight"] * layers_0_weight * dx * x
    names = {"layers": layers, "layers_0_weight": layers_0_weight, "dx": dx, "x": x}
    tape = tapegrad.tape(loss := out.sum(), names=names)
    got = execute(tape.source(names=names))["backward"](**tape.bindings(names=names))
    leaves = {"layers[0]['weight']": layers[0]["weight"], "layers_0_weight": layers_0_weight, "dx": dx, "x": x}
    for name, wanted in zip(leaves, tapegrad.grad(loss, list(leaves.values())), strict=True):
        assert_same(got[name], wanted, "gradient", rtol=1e-12)


def test_names_come_from_the_caller():
    weight = ours(randn(3))
    shift = torch.randn(3, dtype=torch.float64)
    loss = (weight * shift * weight).sum()
    tape = tapegrad.tape(loss)
    assert "def backward(weight, shift" in tape.source()
    assert tape.bindings()["shift"] is shift
    assert tape.bindings()["weight"] is weight.data


def test_leaves_without_a_name():
    x = ours(randn(3))
    assert '"leaf_0"' in tapegrad.tape((x * x).sum(), names={}).source(names={})


# --- it only reads ---


def test_the_tape_is_as_it_was():
    x, running = ours(randn(5, 3)), torch.zeros(3, dtype=torch.float64)
    y = F.dropout(F.batch_norm(x, running, torch.ones(3, dtype=torch.float64), training=True), 0.5)
    loss = (y * y).sum()
    before, state = running.clone(), torch.get_rng_state()
    tape = tapegrad.tape(loss)
    saved = [record.saved for record in tape]
    for style in STYLES:
        tape.source(style=style, forward=True)
        tape.bindings(style=style, forward=True)
    assert torch.equal(running, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(record.saved is s for record, s in zip(tape, saved, strict=True))
    loss.backward()
    assert x.grad is not None


def test_a_freed_tape_cannot_be_written():
    x = ours(randn(3))
    loss = (x * x).sum()
    tape = tapegrad.tape(loss)
    loss.backward()
    with pytest.raises(tapegrad.FreedTape):
        tape.source()


def test_unknown_style():
    x = ours(randn(3))
    with pytest.raises(ValueError, match="plain, exact"):
        tapegrad.tape((x * x).sum()).source(style="terse")


def test_a_rule_of_the_users():
    @tapegrad.rule(x=lambda g, x: g * 3 * x**2)
    def cube(x):
        return x**3

    x = ours(randn(3))
    text = assert_written(cube(x).sum(), {"x": x}, "exact")
    assert "x**3" in text


def test_a_rule_that_writes_through_a_view():
    def gradient(g, x):
        out = torch.zeros_like(x)
        rows = out.view(-1)
        rows[1:3] = g
        rows[2:] += g[0]
        rows.mul_(2)
        return out

    @tapegrad.rule(x=gradient)
    def middle(x):
        return x.reshape(-1)[1:3] * 1

    x = ours(randn(2, 3))
    for style in STYLES:
        assert_written(middle(x), {"x": x}, style)


def test_a_rule_with_a_constant_out_of_sight():
    """It is passed in, like the constants on the tape."""
    hidden = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)

    @tapegrad.rule(x=lambda g: g * hidden)
    def weighted(x):
        return x * hidden

    x = ours(randn(3))
    for style in STYLES:
        assert "constant" in assert_written(weighted(x), {"x": x}, style)
