"""gradcheck finds rules that are wrong with respect to the cotangent, that give NaN, and in any of several outputs."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad import GradcheckError
from tapegrad.engine.table import TABLE
from tests.helpers import ours, randn


@pytest.fixture(autouse=True)
def _table_as_it_was():
    before = dict(TABLE)
    yield
    TABLE.clear()
    TABLE.update(before)


def squared(formula, kernel=None):
    """x * x, with a rule."""

    @tapegrad.rule(x=formula)
    def square(x):
        return x * x

    if kernel is not None:
        tapegrad.kernel(square, x=kernel)
    return square


# --- the cotangent ---

RIGHT_TO_FIRST_ORDER = {
    "it is detached": lambda g, x: g.detach() * 2 * x,
    "it is a raw tensor": lambda g, x: (g.data if isinstance(g, tapegrad.Tensor) else g) * 2 * x,
    "it is detached in part": lambda g, x: g.detach() * x + g * x,
    "its size is detached": lambda g, x: g.sign() * g.abs().detach() * 2 * x,
    "it is multiplied by what is 1": lambda g, x: g * (1 + g - g.detach()) * 2 * x,
    "it is added and taken away": lambda g, x: g * 2 * x + g - g.detach(),
    "it is frozen as a constant": lambda g, x: torch.tensor(g.tolist(), dtype=torch.float64) * 2 * x,
    "it is detached where x is negative": lambda g, x: torch.where(x.detach() < 0, g.detach(), g) * 2 * x,
}


@pytest.mark.parametrize("formula", RIGHT_TO_FIRST_ORDER.values(), ids=RIGHT_TO_FIRST_ORDER)
def test_a_rule_that_is_wrong_in_the_cotangent(formula):
    square, x = squared(formula), ours(randn(4))
    assert tapegrad.gradcheck(square, x)
    with pytest.raises(GradcheckError, match="gradcheck: square, order 2: the gradient of the cotangent, shape"):
        tapegrad.gradcheck(square, x, order=2)


def test_a_rule_that_broadcasts_a_detached_cotangent():
    @tapegrad.rule(x=lambda g, x: g.detach().unsqueeze(1).expand_as(x) * x.cos())
    def sines(x):
        return x.sin().sum(1)

    assert tapegrad.gradcheck(sines, ours(randn(2, 3)))
    with pytest.raises(GradcheckError, match=re.escape("order 2: the gradient of the cotangent, shape (2,), is wrong")):
        tapegrad.gradcheck(sines, ours(randn(2, 3)), order=2)


@pytest.mark.parametrize("argument", ["a", "b"])
def test_a_rule_that_is_wrong_in_one_argument(argument):
    rules = {"a": lambda g, b: g * b, "b": lambda g, a: g * a}
    wrong = {"a": lambda g, b: g.detach() * b, "b": lambda g, a: g.detach() * a}

    @tapegrad.rule(**{**rules, argument: wrong[argument]})
    def times(a, b):
        return a * b

    pair = [ours(randn(3)), ours(randn(3, seed=1))]
    assert tapegrad.gradcheck(times, pair)
    with pytest.raises(GradcheckError, match="times, order 2: the gradient of the cotangent"):
        tapegrad.gradcheck(times, pair, order=2)


def test_a_cotangent_of_the_second_order():
    """Right to second order; only the third differentiates what the rule of the rule does with its cotangent."""

    @tapegrad.rule(x=lambda g, x: g.detach() * 2 * x, y=lambda g: g)
    def square(x, y):
        return x * x + y

    @tapegrad.rule(x=lambda g, x: square(x, 0 * x) * 3 * g)
    def cube(x):
        return x**3

    x = ours(randn(3) + 2)
    assert tapegrad.gradcheck(cube, x, order=2)
    with pytest.raises(GradcheckError, match="cube, order 3: the gradient of the cotangent"):
        tapegrad.gradcheck(cube, x, order=3)


@pytest.mark.parametrize("program", [torch.tanh, lambda x: x.softmax(0), lambda x: x @ x, lambda x: x.sum(), torch.neg])
@pytest.mark.parametrize("order", [2, 3])
def test_right_rules(program, order):
    assert tapegrad.gradcheck(program, ours(randn(3)), order=order)


# --- NaN ---


def test_a_formula_that_gives_nan_where_the_kernel_does_not():
    square = squared(lambda g, x: g * 2 * x * torch.nan, kernel=lambda g, x: g * 2 * x)
    x = ours(randn(3))
    assert tapegrad.gradcheck(square, x)
    with pytest.raises(GradcheckError, match=r"order 1: .* with create_graph=True, .* analytic nan"):
        tapegrad.gradcheck(square, x, order=2)


def test_a_formula_that_is_another_than_the_kernel():
    square = squared(lambda g, x: g * 2.01 * x, kernel=lambda g, x: g * 2 * x)
    with pytest.raises(GradcheckError, match=r"order 1: .* with create_graph=True"):
        tapegrad.gradcheck(square, ours(randn(3)), order=2)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", [0, 2])
def test_one_element_that_is_not_finite(value, where):
    def formula(g, x):
        spoilt = g * 2 * x
        spoilt[where] = value
        return spoilt

    with pytest.raises(GradcheckError, match=rf"wrong in 1 of 3 elements; at \[{where}\] analytic {value}, numeric"):
        tapegrad.gradcheck(squared(formula), ours(randn(3)))


def test_nan_in_the_second_derivative():
    square = squared(lambda g, x: g * 2 * x + (x - x.detach()).sqrt().nan_to_num() * 0)
    with pytest.raises(GradcheckError, match=r"order 2: .* analytic nan"):
        tapegrad.gradcheck(square, ours(randn(3)), order=2)


def test_a_rule_that_gives_nan_where_the_function_does():
    """One output is NaN, and the sum of all with it: nothing would be checked."""

    @tapegrad.rule(x=lambda g, x: g * torch.nan)
    def root(x):
        return x.sqrt()

    x = tapegrad.tensor(torch.tensor([-1.0, 4.0], dtype=torch.float64), requires_grad=True)
    message = r"cannot be checked at \[0\]: the finite difference is nan, for func is not finite near there"
    with pytest.raises(GradcheckError, match=message):
        tapegrad.gradcheck(root, x)
    with pytest.raises(GradcheckError, match=message):
        tapegrad.gradcheck(torch.sqrt, x)


# --- several outputs ---


def test_several_outputs():
    x, y = ours(randn(2, 3)), ours(randn(2, 3, seed=1))
    for program in (
        lambda x, y: (x * y, x + y),
        lambda x, y: [x * y, [y.exp(), (x.tanh(),)]],
        lambda x, y: torch.max(x * y, 1),  # values, and indices that take no gradient
        lambda x, y: (x * y).unbind(0),
        lambda x, y: torch.linalg.slogdet(x @ x.T + y @ y.T),
        lambda x, y: (None, 3, x.detach(), x > 0, x * y),
        lambda x, y: torch.var_mean(x * y, 1),
    ):
        assert tapegrad.gradcheck(program, [x, y], order=2)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_wrong_output_is_named(which):
    wrong = squared(lambda g, x: g * 2.1 * x)

    def program(x):
        parts = [x.exp(), x.detach(), x * x, x.tanh()]
        parts.insert(which, wrong(x))
        return parts

    with pytest.raises(GradcheckError, match=rf"order 1: output {which}: the gradient of inputs\[0\], shape"):
        tapegrad.gradcheck(program, ours(randn(3)))


def test_wrong_outputs_do_not_cancel():
    """The same error with either sign, in outputs of one shape."""
    plus, minus = squared(lambda g, x: g * 2.1 * x), squared(lambda g, x: g * 1.9 * x)
    with pytest.raises(GradcheckError, match="output 0"):
        tapegrad.gradcheck(lambda x: (plus(x), minus(x)), ours(randn(3)))


@pytest.mark.parametrize("which", [0, 1])
def test_the_wrong_cotangent_is_named(which):
    wrong = squared(lambda g, x: g.detach() * 2 * x)

    def program(x):
        parts = [x.exp()]
        parts.insert(which, wrong(x))
        return tuple(parts)

    assert tapegrad.gradcheck(program, ours(randn(3)))
    with pytest.raises(GradcheckError, match=f"order 2: the gradient of the cotangent of output {which}"):
        tapegrad.gradcheck(program, ours(randn(3)), order=2)


@pytest.mark.parametrize("result", [(), None, 3.0, [None, 1]], ids=repr)
def test_no_output_that_requires_grad(result):
    with pytest.raises(GradcheckError, match="no output requires grad; nothing was recorded"):
        tapegrad.gradcheck(lambda x: result, ours(randn(3)))
    with pytest.raises(GradcheckError, match="no output requires grad; nothing was recorded"):
        tapegrad.gradcheck(lambda x: (x.detach(), x.argmax()), ours(randn(3)))


def test_outputs_in_a_dict_are_refused():
    """They would be passed over."""
    with pytest.raises(TypeError, match="gradcheck: func returned a dict"):
        tapegrad.gradcheck(lambda x: {"y": x * 2}, ours(randn(3)))
    with pytest.raises(TypeError, match="gradcheck: func returned a dict"):
        tapegrad.gradcheck(lambda x: (x * 2, {"y": x * 2}), ours(randn(3)))


def test_a_layer_with_several_outputs():
    x, w = ours(randn(2, 3)), ours(randn(3, 3, seed=1))
    assert tapegrad.gradcheck(lambda x, w: (F.linear(x, w), F.linear(x, w).relu().sum(0)), [x, w], order=2)


# --- a thousandth ---

FUNCTIONS = {
    "tanh": (torch.tanh, lambda x: 1 - x.tanh() ** 2),
    "exp": (torch.exp, torch.exp),
    "sin": (torch.sin, torch.cos),
    "sigmoid": (torch.sigmoid, lambda x: x.sigmoid() * (1 - x.sigmoid())),
    "cube": (lambda x: x**3, lambda x: 3 * x**2),
    "softplus": (F.softplus, torch.sigmoid),
    "scaled": (lambda x: 1e-2 * x, lambda x: 0.01 + 0 * x),
    "large": (lambda x: 1e3 * x**2, lambda x: 2e3 * x),
}


@pytest.mark.parametrize("wrong", [1.001, 0.999])
@pytest.mark.parametrize(("function", "derivative"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_rule_that_is_wrong_by_a_thousandth(function, derivative, wrong):
    factor = 1.0

    @tapegrad.rule(x=lambda g, x: g * derivative(x) * factor)
    def wrapped(x):
        return function(x)

    assert tapegrad.gradcheck(wrapped, ours(randn(4, 3)), order=2)
    factor = wrong
    with pytest.raises(GradcheckError, match="wrapped, order 1"):
        tapegrad.gradcheck(wrapped, ours(randn(4, 3)))


@pytest.mark.parametrize("wrong", [1.001, 0.999])
@pytest.mark.parametrize(("function", "derivative"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_rule_whose_second_order_is_wrong_by_a_thousandth(function, derivative, wrong):
    """Its value is right; what stands in it has a gradient that is not."""

    @tapegrad.rule(x=lambda g: g * wrong)
    def itself(x):
        return x.clone()

    @tapegrad.rule(
        x=lambda g, x: g * derivative(x) if not isinstance(g, tapegrad.Tensor) else itself(g * derivative(x))
    )
    def wrapped(x):
        return function(x)

    assert tapegrad.gradcheck(wrapped, ours(randn(4, 3)))
    with pytest.raises(GradcheckError, match="wrapped, order 2"):
        tapegrad.gradcheck(wrapped, ours(randn(4, 3)), order=2)
