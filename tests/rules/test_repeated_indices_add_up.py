"""An element that is read more than once gets the sum of its gradients."""

from __future__ import annotations

import torch

import tapegrad
from tests.helpers import assert_program_agrees, ours, randn


def test_an_embedding_adds_up_its_repeats():
    Xb = torch.randint(0, 27, (32, 3), generator=torch.Generator().manual_seed(1))
    assert_program_agrees(lambda C: C[Xb].view(32, -1).tanh(), randn(27, 10, dtype=torch.float32))


def test_the_same_element_many_times():
    x = ours(torch.arange(3.0))
    x[[1] * 1000].sum().backward()
    assert x.grad.tolist() == [0.0, 1000.0, 0.0]


def test_repeated_reads_add_up():
    x = ours(torch.zeros(3))
    (x[[0, 0, 2]] + x.gather(0, torch.tensor([0, 2, 2])) + x.take(torch.tensor([0, 0, 0]))).sum().backward()
    assert x.grad.tolist() == [6.0, 0.0, 3.0]


def test_parts_add_up():
    """Overlapping parts, parts beside other uses, and parts alone, of a leaf and of a computed tensor."""

    def program(x):
        y = x * 2
        total = (y[:, 1:] * y[:, :-1]).sum() + y[0].exp().sum() + y[..., None, 2].sum() + y.sum()
        for part in x.unbind(1):
            total = total + (part * part[0]).sum()
        a, b = x.split([1, 2])
        return total + (a * b).sum() + x[1, 1]

    assert_program_agrees(program, randn(3, 4))
    assert tapegrad.gradcheck(program, ours(randn(3, 4)), order=2)
