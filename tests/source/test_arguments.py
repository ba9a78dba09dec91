"""Arguments of every kind are written so that the source runs: numpy's numbers, tensors that stand for numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tests.helpers import assert_same, ours, randn


def assert_written(loss: tapegrad.Tensor, names: dict[str, Any]) -> str:
    """Each source of a loss runs, and gives the engine's gradients."""
    text = ""
    wanted = {name: t for name, t in names.items() if isinstance(t, tapegrad.Tensor)}
    grads = tapegrad.grad(loss, list(wanted.values()), retain_graph=True)
    tape = tapegrad.tape(loss, names=names)
    for style in ("plain", "exact"):
        for forward in (False, True):
            functions: dict[str, Any] = {}
            text = tape.source(names=names, style=style, forward=forward)
            exec(text, functions)
            given = tape.bindings(names=names, style=style, forward=forward)
            if forward:
                value, given = functions["forward"](**given)
                assert_same(value, loss.data, "value")
            got = functions["backward"](**given)
            tolerance = 0.0 if style == "exact" else 1e-12
            for name, g in zip(wanted, grads, strict=True):
                assert_same(got[name], g, name, rtol=tolerance, atol=tolerance)
    return text


@pytest.mark.parametrize(
    "program",
    """
    x * np.float64(2) | x + np.float16(0.1) | x / np.float32(3) | np.float64(2) * x | np.float32(0.3) - x
    x ** np.float64(2) | x * True | x * np.True_ | x * torch.tensor(2) | x.pow(torch.tensor(2)) | x % np.float64(0.7)
    3 % x | 2.5 % x | np.float64(3) % x | 3 / x | 2**x | np.float64(2) ** x | 3 - x | -3 * x | (x > 0) * x
    torch.remainder(3, x) | torch.fmod(x, np.float64(0.7)) | torch.sub(3, x) | torch.div(3, x) | torch.mul(3, x)
    torch.add(x, x, alpha=np.float64(2)) | x.lerp(x * 2, np.float32(0.5)) | x.masked_fill(x.data > 0, np.float64(0.1))
    x.clamp(np.float32(0.1), None) | x.clamp(torch.tensor(0.1), torch.tensor(0.2)) | F.leaky_relu(x, np.float64(0.1))
    x[np.int64(0)] | x[np.int64(0) : np.int64(2)] | x[torch.tensor(1)] | x[torch.tensor(0) : torch.tensor(2)]
    x[np.array([0, 0, 1])] | x[:: torch.tensor(2)] | x[[True, False, True]] | x[torch.tensor(0) :, None]
    x.view(torch.tensor(3), 1) | x.repeat(np.int64(2)) | x.expand(np.int64(2), 3) | x.unsqueeze(np.int64(0))
    x.narrow(0, torch.tensor(1), 1) | x.flip(torch.tensor(0)) | F.softmax(x, dim=np.int64(0))
    F.pad(x, (np.int64(1), 1))
    """.strip()
    .replace("\n", "|")
    .split("|"),
)
def test_numbers_of_every_kind(program):
    x = ours(randn(3))
    value = eval(program.strip(), {"x": x, "np": np, "torch": torch, "F": F})
    assert_written(value.sum() + (x * value.sum()).sum(), {"x": x})


@pytest.mark.parametrize("number", [0.1, 1 / 3, 1e-4, 7.7, 65504.0, 1e-7])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_numbers_keep_their_bits_in_half_precisions(dtype, number):
    """Known numbers: of the type where a tensor was filled with them, wider where Python gave them."""
    x = ours(randn(3, 4).to(dtype))
    for filled in (number, torch.full((), number, dtype=dtype), torch.full((3, 4), number, dtype=dtype)):
        loss = (x * filled).tanh().mean() + (x.tanh() / filled).sin().sum() + (filled - x).mean(0).sum()
        names = {"x": x, "filled": filled} if isinstance(filled, torch.Tensor) else {"x": x}
        for known in (names, {"x": x}):
            tape = tapegrad.tape(loss, names=known)
            functions: dict[str, Any] = {}
            exec(tape.source(names=known, style="exact"), functions)
            got = functions["backward"](**tape.bindings(names=known, style="exact"))
            (g,) = tapegrad.grad(loss, x, retain_graph=True)
            assert_same(got["x"], g, "gradient", signed=True)


def test_an_op_that_hands_back_its_argument():
    """Its result is a tensor of its own, for compare too."""

    @tapegrad.rule(x=lambda g: g)
    def same(x):
        return x

    x = ours(randn(3))
    y = same(x)
    loss = (y * x + same(y)).sum()
    assert tapegrad.compare(loss, names={"x": x, "y": y, "loss": loss}).exact
    assert_written(loss, {"x": x, "y": y})


def test_a_rule_and_an_op_with_constants_out_of_sight():
    """Passed in under a name of their own, whatever the user's are called."""
    hidden, other = randn(3, seed=7), randn(3, seed=8)

    @tapegrad.rule(x=lambda g: g * hidden + 0 * other)
    def weighted(x):
        return x * hidden

    x, constant, constant_2 = ours(randn(3)), ours(randn(3, seed=1)), randn(3, seed=2)
    loss = (weighted(x) * constant * constant_2 + weighted(x)).sum()
    text = assert_written(loss, {"x": x, "constant": constant, "constant_0": constant_2, "constant_2": constant_2})
    assert "constant_2" in text


def test_numbers_drawn_in_an_op_are_not_taken_for_the_same():
    @tapegrad.rule(x=lambda g: g)
    def noisy(x):
        return x + torch.randn(3, dtype=torch.float64)

    x = ours(randn(3))
    loss = (noisy(x) - noisy(x)).sum()
    functions: dict[str, Any] = {}
    tape = tapegrad.tape(loss, names={"x": x})
    exec(tape.source(names={"x": x}, forward=True), functions)
    value, _ = functions["forward"](**tape.bindings(names={"x": x}, forward=True))
    assert value.abs() > 1e-3


@pytest.mark.parametrize("style", ["plain", "exact"])
def test_a_leaf_that_is_an_output_beside_what_it_leads_to(style):
    x = ours(randn(3))
    y = x.exp()
    names = {"x": x, "y": y}
    tape = tapegrad.tape(x, y, names=names)
    functions: dict[str, Any] = {}
    exec(tape.source(names=names, style=style, forward=True), functions)
    mine, out, saved = functions["forward"](**tape.bindings(names=names, style=style, forward=True))
    assert_same(mine, x.data, "x")
    assert_same(out, y.data, "y")
    v, w = randn(3, seed=1), randn(3, seed=2)
    got = functions["backward"](v, w, **saved)
    assert_same(got["x"], v + w * y.data, "x", rtol=1e-12)
