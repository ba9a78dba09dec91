"""numpy arrays in and out."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest
import torch

import tapegrad
from tapegrad import Tensor
from tests.helpers import ours, randn, same_bits, theirs


def test_to_numpy():
    t = tapegrad.tensor(torch.ones(3))
    array = t.numpy()
    array[0] = 5
    assert t[0].item() == 5
    assert np.asarray(t).tolist() == [5.0, 1.0, 1.0]
    assert np.array(t).dtype == np.float32
    assert np.allclose(np.sqrt(t), [math.sqrt(5), 1.0, 1.0])
    assert np.array(t, dtype=np.float64).dtype == np.float64


def test_to_numpy_with_grad_is_refused():
    for t in (ours(randn(3)), theirs(randn(3))):
        with pytest.raises(RuntimeError, match="detach"):
            t.numpy()
        with pytest.raises(RuntimeError, match="detach"):
            np.asarray(t)
    assert ours(randn(3)).detach().numpy().shape == (3,)


@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_arrays_as_operands(op):
    """numpy leaves the operation to the Tensor, on either side."""
    x, array = ours(randn(3)), np.array([1.0, 2.0, 4.0])
    for result in (op(x, torch.from_numpy(array)), op(torch.from_numpy(array), x)):
        assert isinstance(result, Tensor)
        assert result.requires_grad


@pytest.mark.parametrize("scalar", [np.float64(2.0), np.float32(2.0), np.int64(2)])
def test_numpy_scalars_as_operands(scalar):
    mine, yours = ours(randn(3)), theirs(randn(3))
    for op in (operator.add, operator.sub, operator.mul, operator.truediv):
        result = op(mine, scalar)
        assert isinstance(result, Tensor)
        assert same_bits(result.data, op(yours, scalar).detach())
        result = op(scalar, mine)
        assert isinstance(result, Tensor), op
        assert torch.equal(result.data, op(scalar, yours.detach()))
    assert (mine**scalar).requires_grad


def test_lists_of_tensors():
    rows = [ours(randn(3)), tapegrad.tensor(randn(3))]
    assert torch.stack([r.detach() for r in rows]).shape == (2, 3)
    assert torch.stack(rows).requires_grad


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("make", [torch.tensor, torch.as_tensor, tapegrad.tensor])
def test_new_tensors_of_tensors_are_refused(make, requires_grad):
    """torch.tensor cannot be taken over; its numbers would be cut off from the tape, of which torch only warns."""
    x = ours(randn(3), requires_grad)
    for data in ([x.sum()], [x], [1.0, x[0]]):
        with pytest.raises(TypeError, match=r"torch\.stack.*t\.item\(\) or t\.data"):
            make(data)
