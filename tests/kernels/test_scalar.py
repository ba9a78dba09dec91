"""Python numbers among tensors: torch's bits, and nothing kept that a mode would see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

import tapegrad
from tapegrad.kernels import activations, scalar
from tapegrad.kernels.scalar import MOST, OPERANDS, as_tensor
from tests.helpers import FAST, ours, raw, same_bits


@given(
    st.floats(allow_nan=False) | st.integers(-(2**70), 2**70),
    st.sampled_from([torch.float32, torch.float64, torch.float16]),
)
def test_numbers_have_torchs_bits(number, dtype):
    """Also those that are 0, overflow, or are no number that the type can hold."""
    values = torch.tensor([0.0, -0.0, 1.5, -3.0, 1e-30, torch.inf], dtype=dtype)
    t = tapegrad.tensor(values, requires_grad=True)
    for program in (
        lambda v: v + number,
        lambda v: v - number,
        lambda v: number - v,
        lambda v: v * number,
        lambda v: v / number,
    ):
        try:
            expected = program(values)
        except (RuntimeError, OverflowError, ZeroDivisionError):
            continue
        actual = program(t).data
        assert actual.dtype == expected.dtype
        assert (
            torch.equal(actual.view(torch.uint8), expected.view(torch.uint8))
            or (actual.isnan() == expected.isnan()).all()
        )


class Marked(torch.Tensor):
    """A subclass of torch's."""


@pytest.mark.parametrize(
    "number",
    [
        np.float64(0.3), np.float32(1.5), np.float16(1.5), np.int64(3), np.bool_(True), type("F", (float,), {})(0.7),
        torch.nn.Parameter(torch.tensor(0.6), requires_grad=False),
        torch.nn.Parameter(torch.tensor([0.6, 0.7]), requires_grad=False), torch.tensor([0.4, 0.9]).as_subclass(Marked),
    ],
    ids=lambda n: f"{type(n).__name__}",
)  # fmt: skip
def test_what_is_no_plain_number_is_left_alone(number):
    """Also in the backward pass; and it does not become what an equal number is computed with."""
    plain = torch.as_tensor(number).detach().as_subclass(torch.Tensor)
    for _ in range(3):
        for program in (lambda v: v * number, lambda v: v / number, lambda v: v + number, lambda v: v - number):
            v = torch.tensor([1.0, 2.0], requires_grad=True)
            t = tapegrad.tensor(v.detach().clone(), requires_grad=True)
            program(v).sum().backward()
            program(t).sum().backward()
            assert same_bits(raw(t.grad), v.grad.as_subclass(torch.Tensor))
    if plain.ndim == 0 and plain.dtype.is_floating_point:
        assert (ours(torch.ones(2)) * plain.item()).tolist() == (torch.ones(2) * plain.item()).tolist()


MODES = {
    "inference_mode": torch.inference_mode,
    "FakeTensorMode": FakeTensorMode,
}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_what_is_kept_of_a_number_outlives_the_mode_it_was_met_in(mode):
    with mode():
        for _ in range(3):
            as_tensor(0.12345, torch.ones(3))
    assert (tapegrad.tensor(torch.ones(3), requires_grad=True) * 0.12345).tolist() == [torch.tensor(0.12345).item()] * 3
    assert not any(v.is_inference() or type(v) is not torch.Tensor for v in OPERANDS.values())


def test_what_is_kept_of_a_number_is_no_functional_tensor():
    program = lambda v: (tapegrad.tensor(v, requires_grad=True) * 0.54321).data
    for _ in range(3):
        torch.func.functionalize(program)(torch.ones(3))
    assert "functional" not in str(ours(torch.ones(3)) * 0.54321)


def test_a_number_that_is_kept_is_not_used_in_a_mode_that_refuses_it():
    x = tapegrad.tensor(torch.ones(3), requires_grad=True)
    for _ in range(3):
        (x * 0.77).mean().backward()
    with FakeTensorMode():
        x = tapegrad.tensor(torch.ones(3), requires_grad=True)
        (x * 0.77).mean().backward()
    assert x.grad.shape == (3,)


@pytest.mark.skipif(not FAST, reason="without fast/ the forward pass keeps no numbers")
def test_few_numbers_are_kept_and_none_that_is_met_but_once():
    OPERANDS.clear()
    scalar._met.clear()  # numbers that other tests have used
    x = tapegrad.tensor(torch.ones(()), requires_grad=True)
    for i in range(10 * MOST):
        x = x * (0.9991 + i / 100_000)
    assert not OPERANDS
    for i in range(10 * MOST):
        for _ in range(3):
            x = x * (0.9991 + i / 100_000)
    assert 0 < len(OPERANDS) <= MOST


def test_a_one_of_a_mode_is_not_kept():
    activations._ones.clear()
    with FakeTensorMode():
        fake = tapegrad.tensor(torch.ones(3), requires_grad=True)
        fake.tanh().sum().backward()
    real = tapegrad.tensor(torch.zeros(3), requires_grad=True)
    for _ in range(2):
        real.grad = None
        real.tanh().sum().backward()
        assert real.grad.tolist() == [1.0] * 3
    with FakeTensorMode():  # a number kept from before does no harm in a mode
        fake = tapegrad.tensor(torch.ones(3), requires_grad=True)
        fake.tanh().sum().backward()
