"""What goes wrong says what, where, and what to do."""

from __future__ import annotations

import operator

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad import FreedTape, InPlaceError, MissingRule, StaleTensor
from tests.helpers import ours, randn


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (MissingRule, NotImplementedError),
        (FreedTape, RuntimeError),
        (StaleTensor, RuntimeError),
        (InPlaceError, RuntimeError),
        (tapegrad.ForeignTensor, TypeError),
        (tapegrad.GradcheckError, AssertionError),
    ],
)
def test_the_errors_are_pythons_own_kinds(error, base):
    """Code that catches torch's errors catches these."""
    assert issubclass(error, base)
    assert error.__doc__


# --- no rule ---


def test_a_missing_rule_names_the_function_and_the_way_out():
    with pytest.raises(MissingRule, match=r"^native_norm\(\): .*torch\.linalg\.vector_norm"):
        torch.native_norm(ours(randn(3, 3)))
    with pytest.raises(MissingRule, match=r"^aten\._pdist_forward\(\): .*tapegrad\.rule.*detach\(\)"):
        torch.ops.aten._pdist_forward(ours(randn(3, 3)))


def test_a_missing_rule_names_the_nearest():
    with pytest.raises(MissingRule, match=r"nearest it has:.*\bdropout\b"):
        torch._fused_dropout(ours(randn(3)), 0.5)
    with pytest.raises(MissingRule, match=r"^aten\.sin\.default\(\): .*; use torch\.sin$"):
        torch.ops.aten.sin.default(ours(randn(3)))


def test_methods_without_a_rule():
    with pytest.raises(MissingRule, match=r"^geqrf\(\)"):
        ours(randn(3, 3)).geqrf()


def test_a_missing_rule_of_one_argument():
    @tapegrad.rule(x=lambda g: g)
    def half_known(x, y):
        return x + y

    x, y = ours(randn(3)), ours(randn(3))
    assert half_known(x, y.detach()).requires_grad
    with pytest.raises(MissingRule, match=r"half_known\(\): no rule for the gradient of y.*detach"):
        half_known(x, y)


def test_out_is_not_supported():
    x = ours(randn(3))
    with pytest.raises(MissingRule, match="out="):
        torch.add(x, x, out=torch.zeros(3).double())
    assert torch.add(x, 1, out=None).requires_grad


@pytest.mark.parametrize(
    "call",
    [
        lambda x, y: F.cross_entropy(x, y, weight=torch.ones(3).double()),
        lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1),
        lambda x, y: F.cross_entropy(x, F.one_hot(y, 3).double()),
    ],
)
def test_cross_entropys_other_forms_are_right_or_refused(call):
    x, y = ours(randn(4, 3)), torch.tensor([0, 1, 2, 0])
    try:
        call(x, y).backward()
    except MissingRule as error:
        assert "cross_entropy" in str(error)  # noqa: PT017
    else:
        other = randn(4, 3).requires_grad_()
        call(other, y).backward()
        assert torch.allclose(x.grad, other.grad)


# --- calls that torch refuses ---

BAD = {
    "no such argument": (lambda x: torch.exp(x, dim=3), TypeError, "exp"),
    "too few": (lambda x: torch.add(x), TypeError, None),
    "too many": (lambda x: x.exp(1), TypeError, None),
    "shapes": (lambda x: x + torch.ones(2).double(), RuntimeError, "must match"),
    "matmul": (lambda x: x @ torch.ones(2, 2).double(), RuntimeError, None),
    "view": (lambda x: x.view(2, 2), RuntimeError, "invalid for input of size"),
    "dim": (lambda x: x.sum(3), IndexError, "Dimension out of range"),
    "cat": (lambda x: torch.cat([x, torch.ones(2, 2).double()]), RuntimeError, None),
    "dropout": (lambda x: F.dropout(x, 1.5), ValueError, "between 0 and 1"),
    "split": (lambda x: x.split([1, 1]), RuntimeError, "add up|sum exactly"),
    "batch_norm": (lambda x: F.batch_norm(x[None], None, None, training=True), ValueError, "more than 1 value"),
    "types": (lambda x: x @ torch.ones(3, 3), RuntimeError, "dtype"),
    "gaussian_nll_loss": (lambda x: F.gaussian_nll_loss(x, x, 1), TypeError, "a tensor or a float"),
    "operand": (lambda x: x + "text", TypeError, None),
    "operand None": (lambda x: x * None, TypeError, None),
    "operand list": (lambda x: operator.add(x, [1.0, 2.0, 3.0]), TypeError, None),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_calls_raise_as_in_torch(name):
    call, error, words = BAD[name]
    with pytest.raises((TypeError, RuntimeError, IndexError, ValueError)):
        call(randn(3))
    with pytest.raises(error, match=words):
        call(ours(randn(3)))


# --- the tape ---


def test_a_tape_of_a_constant():
    with pytest.raises(ValueError, match=r"\(3,\), does not require grad"):
        tapegrad.tape(tapegrad.tensor(randn(3)))


def test_a_tape_that_was_freed():
    loss = (ours(randn(3)) * 2).sum()
    loss.backward()
    with pytest.raises(FreedTape, match="retain_graph=True"):
        tapegrad.tape(loss)
    with pytest.raises(FreedTape, match="retain_graph=True"):
        tapegrad.compare(loss)
