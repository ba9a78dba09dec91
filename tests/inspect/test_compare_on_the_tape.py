"""compare speaks of what is on the tape, and refuses to call anything else exact."""

from __future__ import annotations

import re

import pytest
import torch

import tapegrad
from tapegrad import Row
from tests.helpers import ours, randn


class Pass:
    """A forward pass, and tensors that its loss does not depend on."""

    def __init__(self):
        self.x, self.w = ours(randn(3)), ours(randn(3, seed=1))
        self.y = self.x * self.w
        self.loss = self.y.tanh().sum()
        self.scaled = self.y * 999
        self.unused = ours(randn(2))
        self.constant = tapegrad.tensor(randn(3))
        self.detached = self.y.detach()
        with torch.no_grad():
            self.unrecorded = self.y * 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scaled", "y, of shape (3,), is not on the tape: the loss was not computed from it"),
        ("unused", "y, of shape (2,), is not on the tape"),
        ("constant", "y, of shape (3,), does not require grad"),
        ("detached", "y, of shape (3,), does not require grad"),
        ("unrecorded", "y, of shape (3,), does not require grad"),
    ],
)
def test_a_tensor_that_is_not_on_the_tape(name, message):
    p = Pass()
    with pytest.raises(ValueError, match=re.escape(message)):
        tapegrad.compare(p.loss, names={"x": p.x, "y": getattr(p, name)})


@pytest.mark.parametrize("value", [torch.ones(3), 1.0, None, [1.0], {}], ids=repr)
def test_what_is_no_tensor(value):
    p = Pass()
    with pytest.raises(TypeError, match="compare: y is no Tensor of tapegrad's but a "):
        tapegrad.compare(p.loss, names={"x": p.x, "y": value})


def test_a_sequence_of_tensors():
    p = Pass()
    with pytest.raises(TypeError, match=r"compare: layers is no Tensor of tapegrad's but a builtins\.list"):
        tapegrad.compare(p.loss, names={"layers": [p.x, p.w]})


def test_no_names():
    with pytest.raises(ValueError, match="names is empty"):
        tapegrad.compare(Pass().loss, names={})


def test_a_name_that_is_no_string():
    p = Pass()
    with pytest.raises(TypeError, match="a name must be a string"):
        tapegrad.compare(p.loss, names={0: p.x})


def test_a_loss_without_elements():
    with pytest.raises(ValueError, match=re.escape("the loss, of shape (0,), has no elements")):
        tapegrad.compare(Pass().y[:0])


def test_a_tensor_that_was_rebound():
    """``y += 1`` makes y stand for another tensor, which the loss does not see."""
    y = ours(randn(3)) * 2
    loss = y.tanh().sum()
    assert tapegrad.compare(loss, names={"y": y}).exact
    y += 1
    with pytest.raises(ValueError, match="y, of shape"):
        tapegrad.compare(loss, names={"y": y})


def test_a_leaf_that_requires_grad_no_more():
    p = Pass()
    p.w.requires_grad = False
    with pytest.raises(ValueError, match="w, of shape"):
        tapegrad.compare(p.loss, names={"w": p.w})


def test_everything_that_led_to_the_loss():
    p = Pass()
    rows = tapegrad.compare(p.loss, names={"x": p.x, "w": p.w, "y": p.y, "again": p.y, "loss": p.loss})
    assert rows.exact
    assert [row.name for row in rows] == ["x", "w", "y", "again", "loss"]


def test_gradients_of_two_shapes():
    """They would be equal by broadcasting."""
    with pytest.raises(ValueError, match=re.escape("the gradients of b have shapes (1,) and (3,)")):
        Row.of("b", torch.ones(1), torch.ones(3))


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float64), (torch.float64, torch.float16)], ids=str)
def test_gradients_of_two_dtypes(dtypes):
    with pytest.raises(ValueError, match="the gradients of b have dtypes"):
        Row.of("b", torch.ones(3, dtype=dtypes[0]), torch.ones(3, dtype=dtypes[1]))
