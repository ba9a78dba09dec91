"""A leaf whose data was replaced by data of another shape or dtype between the forward and the backward pass."""

from __future__ import annotations

import pytest
import torch

import tapegrad
from tests.helpers import ours, randn

pytestmark = pytest.mark.usefixtures("road")

PROGRAMS = [lambda p: (p * 2).sum(), lambda p: p.sum(), lambda p: (p.exp() + p).sum(), lambda p: p[:1].sum()]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    "data", [torch.zeros(1), torch.zeros(5), torch.zeros(2, 3), torch.zeros(3, dtype=torch.float32), torch.zeros(())]
)
def test_it_is_refused(program, data):
    p = ours(randn(3))
    for _ in range(3):
        loss = program(p)
        kept, p.data = p.data, data if data.dtype == torch.float32 and data.shape == (3,) else data.double()
        with pytest.raises(
            (tapegrad.StaleTensor, IndexError), match=r"another shape or dtype|cannot be applied to a 0-dim"
        ):
            loss.backward()
        assert p.grad is None
        p.data = kept


def test_a_loss_that_is_computed_anew_is_right():
    p = ours(randn(3))
    p.data = randn(5)
    for _ in range(3):
        p.grad = None
        (p * 2).sum().backward()
        assert p.grad.tolist() == [2.0] * 5


def test_integers_are_refused():
    p = ours(randn(3))
    with pytest.raises(RuntimeError, match=r"torch.int64 takes no gradient; set requires_grad = False first"):
        p.data = torch.ones(3, dtype=torch.int64)
    p.requires_grad = False
    p.data = torch.ones(3, dtype=torch.int64)
