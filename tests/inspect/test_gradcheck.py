"""The checkers are checked: a rule that is wrong by 0.1 % fails both, and the message says where."""

from __future__ import annotations

import inspect
import re

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad import GradcheckError
from tapegrad.engine.op import Op
from tests.helpers import ours, randn

# --- rules wrong by 0.1 % ---

positive = randn(2, 3).abs() + 0.5
other = randn(2, 3, seed=1).abs() + 0.5

WRONG = {
    "add": ("other", lambda x, y: x + y, (positive, other)),
    "mul": ("input", lambda x, y: x * y, (positive, other)),
    "div": ("other", lambda x, y: x / y, (positive, other)),
    "pow": ("exponent", lambda x, y: x**y, (positive, other)),
    "tanh": ("input", torch.tanh, (positive,)),
    "exp": ("input", torch.exp, (positive,)),
    "log": ("input", torch.log, (positive,)),
    "sum": ("input", lambda x: x.sum(1), (positive,)),
    "mean": ("input", lambda x: x.mean(0, keepdim=True), (positive,)),
    "max": ("input", lambda x: x.max(1).values, (positive,)),
    "matmul": ("other", lambda x, y: x @ y, (positive, other.T.contiguous())),
    "getitem": ("input", lambda x: x[[0, 1, 0]], (positive,)),
    "cat": ("tensors", lambda x, y: torch.cat([x, y]), (positive, other)),
    "softmax": ("input", lambda x: F.softmax(x, 1), (positive,)),
    "cross_entropy": ("input", lambda x: F.cross_entropy(x, torch.tensor([0, 2])), (positive,)),
    "batch_norm": (
        "weight",
        lambda x, w: F.batch_norm(x, None, None, w, None, True),
        (torch.cat([positive, other]), other[0]),
    ),
    "where": ("other", lambda x, y: torch.where(x > 1, x, y), (positive, other)),
}


def op_of(program, leaves) -> Op:
    """The op that a program records: the last that it is made of, and the only one of importance."""
    names = [record.op.name for record in tapegrad.tape(program(*leaves), names={})]
    assert len(names) == 1, names
    return program(*leaves).record.op


def off(rule):
    """A rule whose gradient is 0.1 % too large; with the same parameters, for they say what it needs."""

    def wrong(*args):
        g = rule(*args)
        return [part * 1.001 for part in g] if isinstance(g, (list, tuple)) else g * 1.001

    wrong.__signature__ = inspect.signature(rule)
    return wrong


@pytest.fixture
def break_rule(monkeypatch):
    """Make the formula and the kernel of one argument wrong, until the test ends."""
    broken = []

    def break_(op: Op, argument: str) -> None:
        monkeypatch.setitem(op.formulas, argument, off(op.formulas[argument]))
        monkeypatch.setitem(op.kernels, argument, off(op.kernels[argument]))
        op.prepare()
        broken.append(op)

    yield break_
    monkeypatch.undo()
    for op in broken:
        op.prepare()


@pytest.mark.parametrize("name", WRONG)
def test_a_rule_wrong_by_a_thousandth_fails_both_checks(name, break_rule):
    argument, program, data = WRONG[name]
    leaves = [ours(d) for d in data]
    assert tapegrad.gradcheck(program, leaves, rtol=1e-4)
    assert tapegrad.compare(weighted(program(*leaves))).approximate

    break_rule(op_of(program, leaves), argument)
    with pytest.raises(GradcheckError):
        tapegrad.gradcheck(program, leaves, rtol=1e-4)
    assert not tapegrad.compare(weighted(program(*leaves))).approximate


def weighted(out):
    """A loss that no gradient cancels in."""
    return (out * randn(*out.shape, seed=5)).sum()


def test_the_table_is_whole_again(break_rule):
    """The fixture mends what it broke."""
    argument, program, data = WRONG["exp"]
    leaves = [ours(d) for d in data]
    assert tapegrad.gradcheck(program, leaves, rtol=1e-4)
    break_rule(op_of(program, leaves), argument)


@pytest.mark.parametrize("name", WRONG)
def test_a_formula_wrong_by_a_thousandth_fails_the_second_order(name, monkeypatch):
    """Only the formula, which create_graph records; the kernel stays right, so the first order passes."""
    argument, program, data = WRONG[name]
    leaves = [ours(d) for d in data]
    op = op_of(program, leaves)
    right = op.formulas[argument]
    try:
        op.formulas[argument] = off(right)
        op.prepare()
        first = tapegrad.grad(weighted(program(*leaves)), leaves)
        recorded = tapegrad.grad(weighted(program(*leaves)), leaves, create_graph=True)
        assert not all(
            torch.allclose(a, b.data if isinstance(b, tapegrad.Tensor) else b, rtol=1e-4, atol=0)
            for a, b in zip(first, recorded, strict=True)
        )
    finally:
        op.formulas[argument] = right
        op.prepare()


def test_a_wrong_second_derivative_is_found():
    @tapegrad.rule(x=lambda g, x: g * 2 * x.detach())  # correct to first order only
    def squared(x):
        return x * x

    x = ours(randn(3))
    assert tapegrad.gradcheck(squared, x)
    with pytest.raises(GradcheckError, match="gradcheck: squared, order 2:"):
        tapegrad.gradcheck(squared, x, order=2)


def test_a_wrong_third_derivative_is_found():
    @tapegrad.rule(x=lambda g, x: g * (6 * x * x.detach() - 3 * x.detach() ** 2))  # right to second order
    def cubed(x):
        return x**3

    x = ours(randn(2) + 2)
    assert tapegrad.gradcheck(cubed, x, order=2)
    with pytest.raises(GradcheckError, match="gradcheck: cubed, order 3:"):
        tapegrad.gradcheck(cubed, x, order=3)
    assert tapegrad.gradcheck(lambda x: x**3, x, order=3)


def test_one_wrong_element_is_found():
    """A mistake in a single place of a larger tensor."""
    spoil = torch.ones(4, 5, dtype=torch.float64)
    spoil[2, 3] = 1.01

    @tapegrad.rule(x=lambda g: g * 2 * spoil)
    def doubled(x):
        return x * 2

    with pytest.raises(GradcheckError, match=re.escape("wrong in 1 of 20 elements; at [2, 3]")):
        tapegrad.gradcheck(doubled, ours(randn(4, 5)))


def test_a_fanned_out_gradient_that_is_overwritten_is_found():
    """``b = a + a`` with a rule that forgets one of the two."""

    @tapegrad.rule(x=lambda g: g)
    def plus(x, y):
        return x + y

    a = ours(randn(3))
    with pytest.raises(GradcheckError, match="analytic"):
        tapegrad.gradcheck(lambda a: plus(a, a.detach()), a)


# --- the message ---


def test_the_message_says_op_input_element_and_both_values(break_rule):
    break_rule(op_of(lambda x: x * x, [ours(randn(2))]), "other")
    x = tapegrad.tensor(torch.tensor([1.0, 2.0], dtype=torch.float64), requires_grad=True)
    y = tapegrad.tensor(torch.tensor([[3.0, 5.0]], dtype=torch.float64), requires_grad=True)
    with pytest.raises(GradcheckError) as caught:
        tapegrad.gradcheck(lambda x, y: x * y, [x, y], rtol=1e-5)
    message = str(caught.value)
    assert message.startswith("gradcheck: mul, order 1: the gradient of inputs[1], shape (1, 2), is wrong in 2 of 2")
    with pytest.raises(GradcheckError, match="gradcheck: mul, order 1:"):
        tapegrad.gradcheck(lambda x, y: x * y, [x, y], rtol=1e-5, order=2)
    found = re.search(r"at \[0, 0\] analytic (\S+), numeric (\S+)$", message)
    analytic, numeric = (float(v) for v in found.groups())
    assert analytic / numeric == pytest.approx(1.001, abs=1e-6)


# --- what it accepts ---


def test_it_returns_true():
    assert tapegrad.gradcheck(torch.exp, ours(randn(3))) is True


def test_inputs_that_are_no_tensors_are_passed_on():
    assert tapegrad.gradcheck(lambda x, k, c, dim: (x * k * c).sum(dim), [ours(randn(2, 3)), 2.0, randn(3), 0])


def test_outputs_of_any_shape():
    for program in (lambda x: x.sum(), lambda x: x.view(3, 2, 1), lambda x: x[:0]):
        assert tapegrad.gradcheck(program, ours(randn(2, 3)))


def test_inputs_in_any_layout():
    x = ours(randn(3, 2).T)
    assert tapegrad.gradcheck(lambda x: x.exp() @ x.T, x, order=2)
    assert tapegrad.gradcheck(lambda x: x * 2, ours(randn(1, 3).expand(2, 3)))


def test_an_input_that_is_not_used():
    assert tapegrad.gradcheck(lambda x, y: x * 2, [ours(randn(2)), ours(randn(2))], order=2)


def test_the_inputs_are_left_as_they_were():
    x = ours(randn(3))
    before = x.data.clone()
    tapegrad.gradcheck(lambda x: x.exp() * x, x, order=2)
    assert torch.equal(x.data, before)
    assert x.grad is None


def test_float32_is_refused():
    with pytest.raises(ValueError, match=r"inputs\[1\] is torch\.float32; finite differences need float64"):
        tapegrad.gradcheck(lambda x, y: x * y, [ours(randn(2)), ours(randn(2, dtype=torch.float32))])


def test_nothing_to_check():
    with pytest.raises(ValueError, match="no input requires grad"):
        tapegrad.gradcheck(torch.exp, tapegrad.tensor(randn(3)))


@pytest.mark.parametrize("order", [0, -1, 1.5])
def test_orders_that_there_are_not(order):
    with pytest.raises(ValueError, match=f"order is {order}; 1 checks the gradient"):
        tapegrad.gradcheck(torch.exp, ours(randn(3)), order=order)


def test_a_function_that_records_nothing():
    with pytest.raises(GradcheckError, match="nothing was recorded"):
        tapegrad.gradcheck(lambda x: x.detach() * 2, ours(randn(3)))


def test_tolerances():
    @tapegrad.rule(x=lambda g: g * 2.02)
    def doubled(x):
        return x * 2

    x = ours(randn(3))
    with pytest.raises(GradcheckError):
        tapegrad.gradcheck(doubled, x)
    assert tapegrad.gradcheck(doubled, x, rtol=0.02)
    assert tapegrad.gradcheck(doubled, x, rtol=0.0, atol=0.2)


def test_nan_is_wrong_unless_the_difference_is_nan_too():
    @tapegrad.rule(x=lambda g: g * float("nan"))
    def doubled(x):
        return x * 2

    with pytest.raises(GradcheckError, match="analytic nan"):
        tapegrad.gradcheck(doubled, ours(randn(3)))


# --- the other checkers would notice as well ---


def test_the_seeds_rows_would_show_it(break_rule):
    """The lecture's table says ``exact: False`` for everything behind a wrong rule, and only that."""
    break_rule(op_of(torch.tanh, [ours(randn(2))]), "input")
    x, w = ours(randn(4, 3)), ours(randn(3, 2, seed=1))
    pre = x @ w
    h = torch.tanh(pre)
    loss = (h * h).mean()
    rows = {row.name: row.approximate for row in tapegrad.compare(loss, names={"x": x, "w": w, "pre": pre, "h": h})}
    assert rows == {"x": False, "w": False, "pre": False, "h": True}


# --- complex numbers ---


@pytest.mark.parametrize(
    "func",
    [
        lambda z: z * z.exp(),
        torch.abs,
        lambda z: z.conj() * z.real + z.angle(),
        torch.view_as_real,
        torch.fft.fft,
        lambda z: torch.fft.irfft(z, 4),
        lambda z: torch.linalg.inv(z.outer(z) + torch.eye(3)),
        torch.sgn,
    ],
)
def test_complex_numbers_pass_to_second_order(func):
    z = torch.complex(randn(3), randn(3, seed=1))
    assert tapegrad.gradcheck(func, tapegrad.tensor(z, requires_grad=True), order=2)


def test_a_rule_without_its_conjugate_is_found():
    @tapegrad.rule(z=lambda g, z: g * z.sgn())
    def absolute(z):
        return z.abs()

    z = torch.complex(randn(3), randn(3, seed=1))
    with pytest.raises(tapegrad.GradcheckError, match="gradient of inputs"):
        tapegrad.gradcheck(absolute, tapegrad.tensor(z, requires_grad=True))
