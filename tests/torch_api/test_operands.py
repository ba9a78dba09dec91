"""Operands of types that torch does not know, which answer to Python's operators by methods of their own."""

from __future__ import annotations

import operator
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction

import pytest
import torch

from tapegrad import Tensor
from tests.helpers import ours, raw, same_bits, theirs

A = torch.tensor([[0.5, 1.5], [2.0, 0.25]], dtype=torch.float64)


class Unit:
    """Answers to every operator from the right."""

    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rmod__ = __rpow__ = __rfloordiv__ = lambda self, x: x * 3 + 1
    __rmatmul__ = __rand__ = __ror__ = __rxor__ = __rlshift__ = __rrshift__ = lambda self, x: x * 3 + 1
    __lt__ = __gt__ = __le__ = __ge__ = lambda self, x: x * 3 + 1


NAMES = "add sub mul truediv mod pow floordiv matmul and_ or_ xor lshift rshift lt gt le ge".split()
IN_PLACE = "iadd isub imul itruediv imod ipow ifloordiv imatmul iand ior ixor ilshift irshift".split()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_asked_with_the_tensor_itself(name):
    x, y = ours(A), theirs(A)
    for leaf in (x, y):
        result = getattr(operator, name)(leaf * 1, Unit())
        assert isinstance(result, type(leaf))
        result.sum().backward()
    assert same_bits(x.grad, y.grad)


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_it_makes_another_tensor(name):
    for leaf in (ours(A), theirs(A)):
        before = now = leaf * 1
        now = getattr(operator, name)(now, Unit())
        assert now is not before
        assert torch.equal(raw(now), A * 3 + 1)
        assert torch.equal(raw(before), A)


@pytest.mark.parametrize("exponent", [Fraction(1, 2), Fraction(3), Fraction(-2, 3)])
def test_fractions_are_exponents(exponent):
    x, y = ours(A), theirs(A)
    mine, yours = x**exponent, y**exponent
    assert isinstance(mine, Tensor)
    assert same_bits(mine.data, yours.detach())
    mine.sum().backward()
    yours.sum().backward()
    assert same_bits(x.grad, y.grad)


@pytest.mark.parametrize(
    "other", [Decimal("1.5"), Fraction(1, 2), object(), None, "a", [1.0, 2.0]], ids=lambda other: type(other).__name__
)
def test_what_cannot_answer_is_a_type_error(other):
    for x in (ours(A), theirs(A)):
        with pytest.raises(TypeError):
            x * other
    with pytest.raises(TypeError, match=r"^mul\(\): argument 'other' .*given input: x \(2, 2\)"):
        ours(A) * other if (x := ours(A)) is None else x * other


def test_numbers_of_other_types_are_changed_in_place():
    two = IntEnum("Two", {"TWO": 2}).TWO
    x = ours(A)
    before = now = x * 1
    now *= two
    assert now is before
    assert torch.equal(now.data, A * 2)


def test_its_own_error_comes_through():
    class Broken:
        def __rmul__(self, x):
            raise KeyError("broken")

    for x in (ours(A), theirs(A)):
        with pytest.raises(KeyError, match="broken"):
            x * Broken()


def test_the_operands_of_a_method_in_place_have_no_wrong_names():
    y = ours(A) * 1
    with pytest.raises(RuntimeError, match=r"given y \(2, 2\)") as caught:
        y.mul_(1.5 + 0j)
    assert "args" not in str(caught.value)
