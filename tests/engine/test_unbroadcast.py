"""Undoing a broadcast: the gradient of what was copied is the sum over the copies."""

from __future__ import annotations

import operator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tapegrad
from tapegrad.engine.unbroadcast import unbroadcast
from tests.helpers import assert_program_agrees, assert_same, ours, randn


@st.composite
def broadcastable(draw, operands: int = 2, most: int = 4) -> tuple[tuple[int, ...], ...]:
    """Shapes that broadcast with each other: dims of size 1, dims left out, dims of size 0."""
    full = draw(st.lists(st.sampled_from([0, 1, 2, 3, 5]), max_size=most))
    shapes = []
    for _ in range(operands):
        mine = [n if draw(st.booleans()) else 1 for n in full]
        shapes.append(tuple(mine[draw(st.integers(0, len(mine))) :]))
    return tuple(shapes)


@given(broadcastable(), st.sampled_from([operator.add, operator.sub, operator.mul, operator.truediv, torch.maximum]))
def test_two_operands(shapes, function):
    a, b = (randn(*shape, dtype=torch.float32, seed=k) + 3 for k, shape in enumerate(shapes))
    assert_program_agrees(function, a, b)


@given(broadcastable(operands=3))
def test_three_operands_of_where(shapes):
    condition = randn(*shapes[0]) > 0
    a, b = (randn(*shape, dtype=torch.float32, seed=k) for k, shape in enumerate(shapes[1:]))
    assert_program_agrees(lambda x, y: torch.where(condition, x, y) * 2, a, b)


@given(broadcastable())
def test_expand(shapes):
    full = torch.broadcast_shapes(*shapes)
    assert_program_agrees(lambda x: x.expand(full) * 2, randn(*shapes[0], dtype=torch.float32))


@given(broadcastable())
def test_second_derivatives(shapes):
    a, b = (ours(randn(*shape, seed=k)) for k, shape in enumerate(shapes))
    out = a * b
    if 0 < out.numel() <= 8:
        assert tapegrad.gradcheck(operator.mul, [a, b], order=2)
    else:
        first = tapegrad.grad(out.sum(), [a, b], create_graph=True)
        assert [g.shape for g in first] == [a.shape, b.shape]


@given(broadcastable())
def test_unbroadcast_is_the_sum_over_copies(shapes):
    """Against the definition: add every element of g to the place that it was copied from."""
    shape, full = torch.Size(shapes[0]), torch.broadcast_shapes(*shapes)
    g = randn(*full)
    places = torch.arange(shape.numel()).view(shape).expand(full)
    expected = torch.zeros(shape.numel(), dtype=torch.float64).index_add_(0, places.reshape(-1), g.reshape(-1))
    assert_same(unbroadcast(g, shape), expected.view(shape), "sum over copies", rtol=1e-12, atol=1e-12)


def test_nothing_to_undo_returns_the_gradient_itself():
    g = randn(2, 3)
    assert unbroadcast(g, g.shape) is g


@pytest.mark.parametrize("shape", [(2, 3), (1, 3), (3,), (2, 1), (1, 1), (1,), ()])
def test_every_way_to_broadcast_into_a_matrix(shape):
    for dtype in (torch.float32, torch.float64):
        assert_program_agrees(lambda x, y: x * y + y, randn(2, 3, dtype=dtype), randn(*shape, dtype=dtype))
        assert_program_agrees(lambda x, y: y / x - x, randn(2, 3, dtype=dtype), randn(*shape, dtype=dtype))


@pytest.mark.parametrize("shape", [(33, 1), (1, 65), (65,), (1, 1), ()])
def test_sums_over_many_copies_have_torchs_bits(shape):
    assert_program_agrees(
        lambda x, y: (x * y).tanh() * y, randn(33, 65, dtype=torch.float32), randn(*shape, dtype=torch.float32)
    )


def test_shapes_that_do_not_fit_are_refused_as_in_torch():
    with pytest.raises(RuntimeError, match="must match the size"):
        ours(randn(2, 3)) + ours(randn(2))


def test_a_bias_and_a_batch_statistic():
    """The two broadcasts of the lecture: a row for every example, and a column statistic taken back to the batch."""
    assert_program_agrees(
        lambda x, b: (x - x.mean(0, keepdim=True)) / x.std(0, keepdim=True) + b,
        randn(32, 20, dtype=torch.float32),
        randn(20, dtype=torch.float32),
    )
