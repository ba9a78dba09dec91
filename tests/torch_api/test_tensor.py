"""Making a Tensor; requires_grad, data and detach."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tapegrad
from tapegrad import ForeignTensor, Tensor
from tests.helpers import ours, randn, same_bits, theirs

# --- making one ---


def test_a_torch_tensor_is_shared():
    data = torch.zeros(3)
    t = tapegrad.tensor(data)
    assert t.data.data_ptr() == data.data_ptr()
    data[0] = 5
    assert t[0].item() == 5
    assert not t.requires_grad
    assert t.is_leaf
    assert t.grad is None


@pytest.mark.parametrize(
    "data",
    [
        2.0,
        3,
        True,
        1 + 2j,
        [1.0, 2.0],
        [[1, 2], [3, 4]],
        np.arange(3.0),
        np.float32(2),
        (1.0, 2.0),
        [],
        np.zeros((0, 3)),
    ],
)
def test_other_data_is_converted_as_by_torch(data):
    t, expected = tapegrad.tensor(data), torch.tensor(data)
    assert t.dtype is expected.dtype
    assert same_bits(t.data, expected)


def test_an_array_is_copied():
    array = np.zeros(3)
    t = tapegrad.tensor(array)
    array[0] = 5
    assert t[0].item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_types_that_take_gradients(dtype):
    assert tapegrad.tensor(torch.ones(2, dtype=dtype), requires_grad=True).requires_grad


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool])
def test_types_that_take_none(dtype):
    data = torch.ones(2, dtype=dtype)
    with pytest.raises(RuntimeError, match=r"only floating point.*\.float\(\)"):
        tapegrad.tensor(data, requires_grad=True)
    t = tapegrad.tensor(data)
    with pytest.raises(RuntimeError, match="only floating point"):
        t.requires_grad = True
    assert not t.requires_grad


def test_a_tensor_of_a_tensor_is_refused():
    with pytest.raises(TypeError, match="already"):
        tapegrad.tensor(tapegrad.tensor(1.0))


def test_data_that_makes_no_sense():
    with pytest.raises((TypeError, ValueError)):
        tapegrad.tensor("text")
    with pytest.raises((TypeError, ValueError)):
        tapegrad.tensor([[1.0], [1.0, 2.0]])


def test_it_is_not_a_torch_tensor():
    assert not isinstance(tapegrad.tensor(1.0), torch.Tensor)
    assert isinstance(tapegrad.tensor(1.0), Tensor)
    assert torch.is_tensor(tapegrad.tensor(1.0)) is isinstance(tapegrad.tensor(1.0), torch.Tensor)


# --- requires_grad, data, detach ---


def test_requires_grad_can_be_set_and_unset_on_leaves():
    t = tapegrad.tensor(randn(3))
    t.requires_grad = True
    assert (t * 2).requires_grad
    t.requires_grad = False
    assert not (t * 2).requires_grad
    assert t.requires_grad_() is t
    assert t.requires_grad
    assert not t.requires_grad_(False).requires_grad


def test_a_computed_tensor_requires_grad_for_good():
    y = ours(randn(3)) * 2
    assert y.requires_grad
    assert not y.is_leaf
    y.requires_grad = True
    with pytest.raises(RuntimeError, match=r"\.detach\(\)"):
        y.requires_grad = False


def test_results_of_constants_are_leaves():
    y = tapegrad.tensor(randn(3)) * 2
    assert isinstance(y, Tensor)
    assert y.is_leaf
    assert not y.requires_grad
    y.requires_grad = True
    (y * 3).sum().backward()
    assert y.grad.tolist() == [3.0, 3.0, 3.0]


def test_detach_shares_storage_and_has_no_past():
    x = ours(randn(3))
    y = x * 2
    d = y.detach()
    assert isinstance(d, Tensor)
    assert d.is_leaf
    assert not d.requires_grad
    assert d.data.data_ptr() == y.data.data_ptr()
    (y * d).sum().backward()
    assert torch.equal(x.grad, 2 * d.data)


def test_data_can_be_replaced_by_a_torch_tensor_alone():
    p = ours(randn(3))
    p.data = torch.ones(3)
    assert p.data.tolist() == [1.0, 1.0, 1.0]
    assert p.requires_grad
    with pytest.raises(TypeError, match=r"expected a torch\.Tensor, got Tensor|expected a torch\.Tensor, got list"):
        p.data = [1.0]
    with pytest.raises(ForeignTensor):
        p.data = theirs(randn(3))


def test_slots():
    with pytest.raises(AttributeError):
        tapegrad.tensor(1.0).nickname = "x"


def test_unknown_attributes():
    with pytest.raises(AttributeError, match="no attribute 'nickname'"):
        tapegrad.tensor(1.0).nickname  # noqa: B018


@pytest.mark.parametrize("kind", ["Parameter", "Buffer"])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_a_parameter_of_a_tensor_is_refused_with_the_way_out(kind, requires_grad):
    make, x = getattr(torch.nn, kind), tapegrad.tensor(torch.ones(3), requires_grad=requires_grad)
    with pytest.raises(AttributeError, match=rf"write torch\.nn\.{kind}\(t\.data\)"):
        make(x)
    assert make(x.data).data_ptr() == x.data.data_ptr()
    assert not isinstance(x, torch.nn.Parameter)


@pytest.mark.parametrize(
    ("name", "instead"), [("grad_fn", r"t\.record"), ("register_post_accumulate_grad_hook", "register_hook")]
)
def test_attributes_that_have_another_name_here(name, instead):
    for t in (ours(randn(3)), ours(randn(3)) * 2, tapegrad.tensor(1.0)):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'; .*{instead}"):
            getattr(t, name)
        assert not hasattr(t, name)
