"""Shortcuts: what is written out for an op does what ``apply`` does."""

import traceback

import numpy as np
import pytest
import torch
from helpers import ours, randn, raw, same_bits
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

import tapegrad
from tapegrad import scalar
from tapegrad.apply import apply
from tapegrad.op import TABLE, Op
from tapegrad.rules import activations, elementwise, indexing, matmul, reduction, shape
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
    *[(matmul.two_matrices, (a, b)) for a in (x, computed, constant) for b in (x, computed, constant, constant.data)],
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


def test_few_numbers_are_kept_and_none_that_is_met_but_once():
    OPERANDS.clear()
    scalar._met.clear()  # what other tests have met
    x = tapegrad.tensor(torch.ones(()), requires_grad=True)
    for i in range(10 * MOST):
        x = x * (0.9991 + i / 100_000)
    assert not OPERANDS
    for i in range(10 * MOST):
        for _ in range(3):
            x = x * (0.9991 + i / 100_000)
    assert 0 < len(OPERANDS) <= MOST


def test_any_name_may_be_an_arguments():
    before = dict(TABLE)
    try:
        x = ours(randn(3))
        for signature in ("op", "run", "out", "type", "raw_1", "apply"):
            op = tapegrad.rule(torch.frac, signature, **{signature: lambda g: g * 2})
            x.grad = None
            op(x).sum().backward()
            assert x.grad.tolist() == [2.0] * 3
        rolled = tapegrad.rule(torch.roll, "input, saved, run=0", input=lambda g: g)
        assert rolled(x, 1, 0).tolist() == torch.roll(x.data, 1, 0).tolist()
    finally:
        TABLE.clear()
        TABLE.update(before)


def test_an_anomaly_is_no_reason_to_run_again():
    runs = []

    class Watching(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            runs.append(func)
            return func(*args, **(kwargs or {}))

    with tapegrad.detect_anomaly(), Watching(), pytest.raises(tapegrad.Anomaly):
        ours(torch.tensor([-1.0])).log()
    assert runs.count(torch.log) == 1


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
    with FakeTensorMode():  # and one that is kept does not stand in its way
        fake = tapegrad.tensor(torch.ones(3), requires_grad=True)
        fake.tanh().sum().backward()
