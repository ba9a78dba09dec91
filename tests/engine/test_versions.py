"""Saved values that were changed in place before backward are noticed, by torch's version counter."""

from __future__ import annotations

import pytest
import torch

from tapegrad import StaleTensor
from tests.helpers import assert_same, ours, randn, theirs

pytestmark = pytest.mark.usefixtures("road")


STALE = {
    "mul": (lambda p, q: p * q, "p"),
    "exp": (lambda p, q: p.log() * 1.0, "p"),
    "matmul": (lambda p, q: p @ q, "p"),
    "pow": (lambda p, q: p**3, "p"),
    "div": (lambda p, q: p / q, "q"),
    "max": (lambda p, q: torch.maximum(p, q), "p"),
    "cross_entropy": (lambda p, q: torch.nn.functional.cross_entropy(p, torch.tensor([0, 1])), "p"),
    "linear": (lambda p, q: torch.nn.functional.linear(p, q), "q"),
}


@pytest.mark.parametrize("name", STALE)
def test_a_changed_buffer_is_an_error(name):
    program, changed = STALE[name]
    leaves = {"p": ours(randn(2, 2).abs() + 1), "q": ours(randn(2, 2, seed=1).abs() + 1)}
    out = program(**leaves)
    record = out.record
    leaves[changed].data.add_(1)
    with pytest.raises(StaleTensor, match="clone") as caught:
        out.sum().backward()
    assert any(op in str(caught.value) for op in (record.op.name, "log"))


def test_the_message_names_op_shape_and_versions():
    p = ours(randn(2, 3))
    loss = (p * p).sum()
    p.data.mul_(2)
    with pytest.raises(StaleTensor, match=r"mul.*\(2, 3\).*version 1, expected 0"):
        loss.backward()


def test_an_update_before_backward_is_found():
    """The order of two lines of a training loop, swapped."""
    p = ours(randn(3))
    (p**2).sum().backward()
    loss = (p**2).sum()
    p.data += -0.1 * p.grad
    with pytest.raises(StaleTensor, match="pow"):
        loss.backward()


def test_an_update_after_backward_is_fine():
    p = ours(randn(3))
    for _ in range(3):
        p.grad = None
        (p**2).sum().backward()
        p.data += -0.1 * p.grad


def test_ops_that_saved_nothing_do_not_complain():
    p = ours(randn(3))
    out = (p + 1).sum() - p.mean() * 2 + p.view(-1).clone().sum()
    p.data.add_(5)
    out.backward()
    assert p.grad is not None


def test_a_saved_output_that_is_changed_is_found():
    p = ours(randn(3))
    y = p.exp()
    y.data.add_(1)
    with pytest.raises(StaleTensor, match="exp needs its output"):
        y.sum().backward()


def test_a_changed_constant_is_found():
    p, c = ours(randn(3)), torch.ones(3).double()
    y = p * c
    c += 1
    with pytest.raises(StaleTensor, match="mul"):
        y.sum().backward()


def test_a_changed_view_of_a_buffer_is_found():
    p = ours(randn(3, 4))
    row = p.data[0]
    y = p * p
    row.zero_()
    with pytest.raises(StaleTensor, match="mul"):
        y.sum().backward()


def test_replacing_data_is_no_change_in_place():
    """``p.data = ...`` gives the leaf another tensor; the tape holds the one it saw (torch would take the new one)."""
    p = ours(randn(3))
    y = (p * p).sum()
    p.data = p.data * 0
    y.backward()
    assert_same(p.grad, 2 * randn(3), "gradient")


def test_nothing_that_was_saved_is_changed_by_an_in_place_form():
    x = ours(randn(3))
    y = x.tanh()
    z = y * y
    y += 1
    y[0] = 0
    z.sum().backward()
    expected = theirs(randn(3))
    (expected.tanh() ** 2).sum().backward()
    assert torch.allclose(x.grad, expected.grad)
