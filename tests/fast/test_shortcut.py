"""A shortcut does what apply does."""

from __future__ import annotations

import traceback

import pytest
import torch
from torch.overrides import TorchFunctionMode

import tapegrad
from tapegrad.engine.apply import apply
from tapegrad.engine.op import Op
from tapegrad.engine.table import TABLE
from tapegrad.fast.apply_source import text
from tapegrad.rules import activations, elementwise, indexing, matmul, reduction, shape
from tests.helpers import ours, randn

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
        assert outcome(op.road, *args) == outcome(apply, op, args)


def test_most_ops_have_one():
    ops = {entry for entry in TABLE.values() if isinstance(entry, Op) and entry.trusted}  # other tests make theirs
    written = [op for op in ops if text(op)]
    assert len(written) > 0.7 * len(ops)
    for op in written:
        compile(text(op), op.name, "exec")


def test_a_traceback_shows_its_lines(monkeypatch):
    monkeypatch.setenv("TAPEGRAD_TRACEBACK", "full")
    with pytest.raises(RuntimeError) as caught:
        x @ ours(randn(2, 2))
    assert "return apply(op, (input, other))" in "".join(traceback.format_exception(caught.value))


def test_a_tensor_of_inference_mode_is_refused_in_our_words():
    t = ours(randn(3))
    with torch.inference_mode():
        t.data = randn(3)
    with pytest.raises(RuntimeError, match=r"mul\(\): input, of shape \(3,\), was made in torch.inference_mode"):
        t * ours(randn(3))


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
