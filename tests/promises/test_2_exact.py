"""Promise 2: it is exact. Gradients equal torch's bit for bit: of the lecture's 26 rows, and of every sample call.

The samples that may differ say why, and by how much: ``reason`` and ``rtol`` in tests/provers/samples.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tapegrad
from tests.helpers import assert_same, ours, raw, theirs
from tests.provers.lecture import BACKWARD, FORWARD, FORWARD_AGAIN, MANUAL_TRAINING, ROWS, both, train
from tests.provers.networks import each_program, gradients
from tests.provers.runs import DEPRECATED, FLOATS, Run, assert_agrees, for_each_call
from tests.provers.samples import assigned

pytestmark = DEPRECATED
on_both_roads = pytest.mark.usefixtures("road")


@on_both_roads
@each_program
def test_gradients_are_torchs(parameters, loss_of):
    loss, grads = gradients(parameters, loss_of, ours, torch.float64)
    loss_torch, wanted = gradients(parameters, loss_of, theirs, torch.float64)
    torch.testing.assert_close(loss, loss_torch, rtol=1e-12, atol=0)
    for name, g in grads.items():
        torch.testing.assert_close(g, wanted[name], rtol=1e-10, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@on_both_roads
@each_program
def test_gradients_in_single_precision(parameters, loss_of):
    loss, grads = gradients(parameters, loss_of, ours, torch.float32)
    loss_torch, wanted = gradients(parameters, loss_of, theirs, torch.float32)
    torch.testing.assert_close(loss, loss_torch, rtol=1e-6, atol=0)
    for name, g in grads.items():
        # A bias before a normalization has a gradient of 0, but for rounding.
        scale = max(float(wanted[name].abs().max()), 1e-2)
        torch.testing.assert_close(g, wanted[name], rtol=1e-4, atol=1e-5 * scale, msg=lambda m, n=name: f"{n}: {m}")


@on_both_roads
@pytest.mark.parametrize("forward", [FORWARD, FORWARD_AGAIN], ids=["lecture", "another notebook"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hidden", [64, 200])
def test_every_row_is_exact(hidden, dtype, forward):
    mine, yours = both(hidden, dtype)
    for variables in (mine, yours):
        exec(forward + BACKWARD, variables)
    assert mine["loss"].item() == yours["loss"].item()
    assert len(ROWS) == 26
    for row in ROWS:
        assert_same(raw(mine[row]), raw(yours[row]), row)
        assert_same(mine[row].grad, yours[row].grad, f"d{row}", signed=True)


@on_both_roads
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exercise_4_ends_bit_equal(dtype):
    mine, yours = both(200, dtype)
    update = "for p in parameters:\n  p.data += -lr * p.grad\n"
    losses = [train(variables, 20, "loss.backward()\n", update) for variables in (mine, yours)]
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]
    for p, q in zip(mine["parameters"], yours["parameters"], strict=True):
        assert_same(raw(p), raw(q), "a parameter after 20 steps")


def test_the_manual_loop_ends_bit_equal():
    """``with torch.no_grad():`` around forward pass, gradients by hand and update, all on wrapped parameters."""
    mine, yours = both(64)
    update = "for p, grad in zip(parameters, grads):\n  p.data += -lr * grad\n"
    losses = []
    for variables in (mine, yours):
        with torch.no_grad():
            losses.append(train(variables, 5, MANUAL_TRAINING, update))
    assert losses[0] == losses[1]
    for p, q in zip(mine["parameters"], yours["parameters"], strict=True):
        assert_same(raw(p), raw(q), "a parameter after 5 steps")


@for_each_call
def test_value_and_gradient_are_torchs(function, call):
    for dtype in FLOATS:
        Run(function, call, theirs, dtype)  # a sample is a call that torch accepts
        assert_agrees(function, call, dtype)


@for_each_call(which=lambda calls: [c for c in calls if len(c.data(torch.float32)[2]) > 1])
def test_each_input_alone(function, call):
    """The others are constants: Tensors without requires_grad, or plain torch tensors, on either side."""
    for only in range(sum(call.data(torch.float32)[2])):
        assert_agrees(function, call, torch.float32, only=only, constant=constant)
        if function is not assigned:  # nothing can be recorded in a plain torch tensor
            assert_agrees(function, call, torch.float32, only=only)


def constant(value: torch.Tensor) -> Any:
    """A Tensor that takes no gradient."""
    return tapegrad.tensor(value) if value.is_floating_point() else value
