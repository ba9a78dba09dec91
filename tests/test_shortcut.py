"""Shortcuts: what is written out for an op does what ``apply`` does."""

import traceback

import pytest
import torch
from helpers import ours, randn
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

import tapegrad
from tapegrad.apply import apply
from tapegrad.op import TABLE, Op
from tapegrad.rules import activations, elementwise, indexing, linalg, reduction, shape
from tapegrad.scalar import MOST, OPERANDS, as_tensor
from tapegrad.shortcut import text

x, y, constant = ours(randn(3, 3)), ours(randn(3, 3)), tapegrad.tensor(randn(3, 3))
computed = y.exp()
operands = [x, y, computed, constant, constant.data, 2, 2.5, True, 0.0, -0.0, float("nan"), 10**30]

CALLS = [
    *[
        (op, (a, b))
        for op in (
            elementwise.add,
            elementwise.sub,
            elementwise.rsub,
            elementwise.mul,
            elementwise.div,
            elementwise.pow,
        )
        for a in (x, computed, constant)
        for b in operands
    ],
    *[(linalg.two_matrices, (a, b)) for a in (x, computed, constant) for b in (x, computed, constant, constant.data)],
    *[
        (op, (a,))
        for op in (elementwise.neg, elementwise.exp, elementwise.log, activations.tanh)
        for a in (x, constant)
    ],
    *[(reduction.sum, (computed, dim, keepdim)) for dim in (None, 1, (0, 1), [0, 1]) for keepdim in (True, False)],
    (reduction.max_dim, (computed, 1, True)),
    (shape.view, (computed, (9,))),
    (indexing.gather, (computed, 1, torch.tensor([[0, 1]]), False)),
    (indexing.gather, (computed, 1, tapegrad.tensor(torch.tensor([[0, 1]])), False)),
]


def outcome(run, *args):
    """Everything about a result that does not depend on when it was computed; or the error."""
    try:
        result = run(*args)
    except Exception as error:
        return type(error), str(error)
    first, *aux = result if isinstance(result, tuple) else (result,)
    if not isinstance(first, tapegrad.Tensor) or first.record is None:
        return type(first), str(first), str(aux)
    r = first.record
    saved = ["out" if v is first.data else v for v in r.saved]
    watched = [("out" if v is first.data else v, version) for v, version in r.watched]
    return str(first.data), r.op, str(saved), r.parents, str(watched), r.shape, r.dtype, str(aux)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad])
@pytest.mark.parametrize(("op", "args"), CALLS)
def test_a_shortcut_does_what_apply_does(op, args, mode):
    with mode():
        assert outcome(op.short, *args) == outcome(apply, op, args)


def test_most_ops_have_one():
    ops = {entry for entry in TABLE.values() if isinstance(entry, Op)}
    written = [op for op in ops if text(op)]
    assert len(written) > 0.7 * len(ops)
    for op in written:
        compile(text(op), op.name, "exec")


def test_a_traceback_shows_its_lines():
    try:
        x @ ours(randn(2, 2))
    except RuntimeError as error:
        shown = "".join(traceback.format_exception(error))
    assert "return apply(op, (input, other))" in shown


def test_a_tensor_of_inference_mode_is_refused_in_our_words():
    t = ours(randn(3))
    with torch.inference_mode():
        t.data = randn(3)
    with pytest.raises(RuntimeError, match=r"mul\(\): input, of shape \(3,\), was made in torch.inference_mode"):
        t * ours(randn(3))


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


@pytest.mark.parametrize("mode", [torch.inference_mode, FakeTensorMode])
def test_what_is_kept_of_a_number_outlives_the_mode_it_was_met_in(mode):
    number = 0.12345
    with mode():
        as_tensor(number, torch.ones(3))
    assert (tapegrad.tensor(torch.ones(3), requires_grad=True) * number).tolist() == [torch.tensor(number).item()] * 3
    kept = [v for v in OPERANDS.values() if isinstance(v, torch.Tensor)]
    assert not any(v.is_inference() or type(v) is not torch.Tensor for v in kept)


def test_few_numbers_are_kept():
    x = tapegrad.tensor(torch.ones(()), requires_grad=True)
    for i in range(10 * MOST):
        x = x * (1 + i / 1000)
    assert len(OPERANDS) <= MOST
