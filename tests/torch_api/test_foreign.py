"""Torch leaves that require grad are adopted; tensors that torch.autograd has computed are refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad import ForeignTensor
from tests.helpers import ours, randn, theirs


def assigned(x, t):
    x[:] = t
    return x


MEETING = {
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
    "linear": lambda x, t: F.linear(x, torch.ones(3, 3).double(), t),
    "linear weight": lambda x, t: F.linear(x, t),
    "assigned": lambda x, t: assigned(x * 1, t),
    "in place": lambda x, t: (x * 1).add_(t),
    "batch_norm": lambda x, t: F.batch_norm(x[:, None].expand(3, 3), None, None, t, None, True),
    "constant first": lambda x, t: x.detach() + t,
    "theirs + constant": lambda x, t: t + x.detach(),
}

REFUSED = {
    "cotangent": lambda x, t: (x * 1).backward(t),
    "grad_outputs": lambda x, t: tapegrad.grad(x * 1, x, t),
    "tensor": lambda x, t: tapegrad.tensor(t),
}


def totals(form, x, t):
    """What a form computes, and the gradients of both."""
    out = form(x, t)
    total = (out * torch.arange(1.0, 1 + out.numel(), dtype=torch.float64).view(out.shape)).sum()
    total.backward()
    return getattr(out, "data", out).detach(), getattr(x.grad, "data", x.grad), t.grad


@pytest.mark.parametrize("name", MEETING)
def test_a_leaf_of_torchs_is_adopted(name):
    """On whichever side it stands; its gradient is in its own ``grad``."""
    constant = "constant" in name
    values = totals(MEETING[name], ours(randn(3)), theirs(randn(3, seed=1)))
    expected = totals(MEETING[name], theirs(randn(3)), theirs(randn(3, seed=1)))
    for value, wanted in zip(values, expected, strict=True):
        assert (value is None and constant) if wanted is None else torch.allclose(value, wanted, equal_nan=True)


COMPUTED = {
    "masked_fill": lambda x, t: x.masked_fill(x.data > 0, t[0]),
    "embedding": lambda x, t: torch.where(x > 0, F.embedding(torch.tensor([0, 1, 2]), t[:, None])[:, 0], x),
}


@pytest.mark.parametrize("name", [*MEETING, *COMPUTED])
def test_what_torch_computed_is_refused(name):
    """Its gradient would be lost without a word."""
    with pytest.raises(ForeignTensor, match=r"compute it inside tapegrad\.recording\(\), or pass x\.detach\(\)"):
        (MEETING | COMPUTED)[name](ours(randn(3)), theirs(randn(3, seed=1)) * 1)


@pytest.mark.parametrize("name", REFUSED)
def test_a_leaf_is_refused_where_nothing_is_recorded(name):
    with pytest.raises(ForeignTensor, match=r"detach\(\)"):
        REFUSED[name](ours(randn(3)), theirs(randn(3, seed=1)))


def test_the_refusal_names_op_argument_and_shape():
    with pytest.raises(ForeignTensor, match=r"^mul\(\): other, of shape \(3,\), requires grad under torch\.autograd"):
        ours(randn(3)) * (theirs(randn(3)) * 1)


def test_it_is_no_refusal_when_nothing_tracks():
    with torch.no_grad():
        y = ours(randn(3)) * theirs(randn(3))
    assert not y.requires_grad
    assert (ours(randn(3)) * theirs(randn(3)).detach()).requires_grad
