"""Tensors that torch.autograd tracks are refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad import ForeignTensor
from tests.helpers import ours, randn, theirs

FOREIGN = {
    "ours + theirs": lambda x, t: x + t,
    "theirs + ours": lambda x, t: t + x,
    "ours - theirs": lambda x, t: x - t,
    "theirs - ours": lambda x, t: t - x,
    "ours * theirs": lambda x, t: x * t,
    "theirs * ours": lambda x, t: t * x,
    "theirs / ours": lambda x, t: t / x,
    "ours ** theirs": lambda x, t: x**t,
    "theirs ** ours": lambda x, t: t**x,
    "ours @ theirs": lambda x, t: x @ t,
    "theirs @ ours": lambda x, t: t @ x,
    "torch.add": lambda x, t: torch.add(t, x),
    "maximum": lambda x, t: torch.maximum(x, t),
    "where": lambda x, t: torch.where(x > 0, x, t),
    "where first": lambda x, t: torch.where(x > 0, t, x),
    "cat": lambda x, t: torch.cat([x, t]),
    "cat first": lambda x, t: torch.cat([t, x]),
    "stack": lambda x, t: torch.stack([t, x]),
    "linear": lambda x, t: F.linear(x, torch.ones(1, 3).double(), t[:1]),
    "linear weight": lambda x, t: F.linear(x, t[None]),
    "embedding": lambda x, t: torch.where(x > 0, F.embedding(torch.tensor([0, 1, 2]), t[:, None])[:, 0], x),
    "assigned": lambda x, t: (x * 1).__setitem__(0, t[0]),
    "in place": lambda x, t: (x * 1).add_(t),
    "masked_fill": lambda x, t: x.masked_fill(x.data > 0, t[0]),
    "cotangent": lambda x, t: (x * 1).backward(t),
    "grad_outputs": lambda x, t: tapegrad.grad(x * 1, x, t),
    "tensor": lambda x, t: tapegrad.tensor(t),
    "batch_norm": lambda x, t: F.batch_norm(x[:, None].expand(3, 3), None, None, t, None, True),
    "constant first": lambda x, t: x.detach() + t,
    "theirs + constant": lambda x, t: t + x.detach(),
    "a computed one": lambda x, t: x + t * 2,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_tensor_that_torch_tracks_is_refused(name):
    """Its gradient would be lost without a word, on whichever side it stands."""
    with pytest.raises(ForeignTensor, match=r"detach\(\)"):
        FOREIGN[name](ours(randn(3)), theirs(randn(3, seed=1)))


def test_the_refusal_names_op_argument_and_shape():
    with pytest.raises(ForeignTensor, match=r"^mul\(\): other, of shape \(3,\), requires grad under torch\.autograd"):
        ours(randn(3)) * theirs(randn(3))


def test_it_is_no_refusal_when_nothing_tracks():
    with torch.no_grad():
        y = ours(randn(3)) * theirs(randn(3))
    assert not y.requires_grad
    assert (ours(randn(3)) * theirs(randn(3)).detach()).requires_grad
