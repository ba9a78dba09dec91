"""What torch refuses is refused, and no argument drops a gradient without a word.

``tests/provers/arguments.py`` looks for more of them, in every function of the table.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad import MissingRule
from tests.helpers import assert_program_agrees, ours, randn

# --- strings, ranks and options ---

REFUSED = {
    "cross_entropy": lambda x: F.cross_entropy(x, x.softmax(1), reduction="typo"),
    "mse_loss": lambda x: F.mse_loss(x, x, reduction="typo"),
    "kl_div": lambda x: F.kl_div(x, x.exp(), reduction="typo"),
    "nll_loss": lambda x: F.nll_loss(x, torch.tensor([0, 1]), reduction="typo"),
    "quantile": lambda x: x.quantile(0.5, 0, interpolation="typo"),
    "nanquantile": lambda x: torch.nanquantile(x, 0.5, interpolation="LINEAR"),
    "a dim of quantile": lambda x: x.quantile(0.5, 2),
    "meshgrid": lambda x: torch.meshgrid(x[0], x[1], indexing="typo"),
    "types in meshgrid": lambda x: torch.meshgrid(x[0], x[1].float(), indexing="ij"),
    "softmax without dim": lambda x: x.softmax(),
    "log_softmax without dim": lambda x: x.log_softmax(),
    "dropout1d": lambda x: F.dropout1d(x.view(2, 3, 1, 1)),
    "training": lambda x: F.dropout(x, 0.5, training="typo"),
    "keepdim": lambda x: x.sum(0, keepdim=None),
    "dtype": lambda x: x.sum(0, dtype=2.5),
    "dims of max": lambda x: x.max(None, True),
    "flip": lambda x: x.flip(),
    "matrix_norm": lambda x: torch.linalg.matrix_norm(x, 2.5),
    "inner": lambda x: torch.inner(x, x[:, :1]),
    "matrix_power": lambda x: torch.linalg.matrix_power(x, 1),
    "subtraction of booleans": lambda x: torch.sub(x, x > 0, alpha=2),
    "trapezoid": lambda x: torch.trapezoid(x, x=x[0, :2]),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True, eps=-1.0),
    "no such argument": lambda x: x.relu(inplace=True),
    "an argument too many": lambda x: torch.softmax(x, 0, 1),
    "in place": lambda x: x.clone().fill_(1.0, 2.0),
    "types in assignment": lambda x: x.clone().index_put_((torch.tensor([0]),), x[:1].float()),
    "types in indexed assignment": lambda x: x.clone().__setitem__([0], x[:1].float()),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_torch_refuses_is_refused(name):
    call = REFUSED[name]
    with pytest.raises((TypeError, ValueError, RuntimeError, IndexError)):
        call(randn(2, 3).requires_grad_())
    with pytest.raises((TypeError, ValueError, RuntimeError, IndexError)):
        call(ours(randn(2, 3)))


def test_our_own_words_come_first():
    with pytest.raises(TypeError, match="a tensor or a float"):
        F.gaussian_nll_loss(ours(randn(3)), ours(randn(3)), 1)


def test_asking_torch_draws_nothing_and_changes_nothing():
    x = ours(torch.tensor(1.0))  # without dimensions: torch is asked with a copy of the number
    state = torch.default_generator.get_state()
    with pytest.raises((TypeError, RuntimeError)):
        F.dropout(x, 0.5, training="typo", inplace=True)
    assert torch.equal(torch.default_generator.get_state(), state)
    assert x.item() == 1.0


def test_torch_is_asked_again_for_other_values():
    x = ours(randn(4))
    for interpolation in ("linear", "lower"):
        assert x.quantile(0.5, interpolation=interpolation).requires_grad
    with pytest.raises(RuntimeError, match="interpolation"):
        x.quantile(0.5, interpolation="typo")


# --- arguments that take no gradient ---

NO_GRADIENT = {
    "full_like": lambda x, s: torch.full_like(x, s),
    "full_like of a torch tensor": lambda x, s: torch.full_like(torch.ones(2), s),
    "full_like by name": lambda x, s: torch.full_like(input=x, fill_value=s),
    "new_full": lambda x, s: x.new_full((2,), s),
    "new_full of a torch tensor": lambda x, s: torch.ones(2).new_full((2,), s),
    "new_tensor": lambda x, s: x.new_tensor(s),
    "new_tensor of a list": lambda x, s: x.new_tensor([s, s]),
    "add": lambda x, s: torch.add(x, x, alpha=s),
    "add_": lambda x, s: x.clone().add_(x, alpha=s),
    "sub": lambda x, s: x.sub(x, alpha=s),
    "rsub": lambda x, s: torch.rsub(x, x, alpha=s),
    "dropout": lambda x, s: F.dropout(x, s, training=False),
    "pairwise_distance": lambda x, s: F.pairwise_distance(x, x, eps=s),
    "label_smoothing": lambda x, s: F.cross_entropy(x, torch.tensor(1), label_smoothing=s),
    "keepdim": lambda x, s: x.sum(0, keepdim=s),
    "isclose": lambda x, s: torch.isclose(x, x, rtol=s),
    "normal_": lambda x, s: x.clone().normal_(s),
}


@pytest.mark.parametrize("value", [1.0, 0.5])
@pytest.mark.parametrize("name", NO_GRADIENT)
def test_a_gradient_that_would_be_lost_is_refused(name, value):
    with pytest.raises((TypeError, MissingRule, RuntimeError)):
        NO_GRADIENT[name](ours(randn(3)), ours(torch.tensor(value).double()))
    constant = ours(torch.tensor(0.0 if name == "label_smoothing" else value).double(), False)
    if name not in ("keepdim", "dropout", "isclose", "normal_", "new_tensor", "new_tensor of a list"):
        NO_GRADIENT[name](ours(randn(3)), constant)  # a constant is a number


# --- results without a gradient ---


def test_an_integer_result_that_would_drop_a_gradient_is_refused():
    with pytest.raises(MissingRule, match=r"select_scatter\(\): the result is of torch.int64"):
        torch.select_scatter(torch.zeros(2, 3, dtype=torch.long), ours(randn(3)), 0, 1)


# --- torch.autograd.Function ---


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g


class Reversed(torch.autograd.Function):
    """Touches its argument nowhere, in either pass."""

    @staticmethod
    def forward(ctx, x, scale):
        return x

    @staticmethod
    def backward(ctx, g):
        return -g, None


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x.round()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, g):
        return g


FUNCTIONS = {
    "Square": lambda x: Square.apply(x),
    "Reversed": lambda x: Reversed.apply(x, 1.0),
    "Rounded": lambda x: Rounded.apply(x),
    "a subclass": lambda x: type("Squared", (Square,), {}).apply(x),
    "CheckpointFunction": lambda x: torch.utils.checkpoint.checkpoint(torch.sin, x, use_reentrant=True),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_torch_autograds_refuses_a_tensor(name):
    x = ours(randn(3))
    words = r"use tapegrad\.checkpoint" if name == "CheckpointFunction" else r"tapegrad\.rule"
    with pytest.raises(MissingRule, match=rf"\.apply\(\): .*gradient of its argument of shape .*{words}.*\.detach\(\)"):
        FUNCTIONS[name](x)
    if name in ("Reversed", "Rounded"):
        with torch.no_grad():
            assert not FUNCTIONS[name](x * 2).requires_grad


def test_every_function_of_torchs_refuses_a_tensor():
    x = ours(randn(3))
    own = ("tests", "torch._library")  # torch._library generates those of custom ops, which come by the table
    functions = [f for f in descendants(torch.autograd.Function) if not f.__module__.startswith(own)]
    assert len(functions) > 1
    for function in functions:
        if function is not torch.distributions.dirichlet._Dirichlet:  # which has a rule
            with pytest.raises(MissingRule, match="would be lost"):
                function.apply(x)


def descendants(cls):
    for child in cls.__subclasses__():
        yield child
        yield from descendants(child)


def test_on_torchs_own_tensors_it_is_as_before():
    x = randn(3).requires_grad_()
    (Square.apply(x) + x).sum().backward()
    assert torch.allclose(x.grad, 2 * x.detach() + 1)
    assert Square.apply.__func__.__wrapped__  # put there once


def test_the_way_out_of_checkpoint_works():
    def program(x):
        return torch.utils.checkpoint.checkpoint(lambda x: x.sin() * x, x, use_reentrant=False)

    assert_program_agrees(program, randn(3))


def test_the_way_out_of_a_function_works():
    @tapegrad.rule(x=lambda g, x: 2 * x * g)
    def square(x):
        return x * x

    x = ours(randn(3))
    (square(x) + x).sum().backward()
    assert torch.allclose(x.grad, 2 * x.data + 1)
