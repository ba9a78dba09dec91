"""Attributes, numbers, comparisons: what carries no gradient is torch's."""

from __future__ import annotations

import math
import operator

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad import Tensor
from tests.helpers import ours, randn, raw, same_bits

DATA = torch.tensor([[1.5, -2.0, 0.0], [3.0, float("nan"), float("inf")]])


ATTRIBUTES = [
    "shape",
    "dtype",
    "device",
    "ndim",
    "layout",
    "is_cuda",
    "is_meta",
    "is_sparse",
    "itemsize",
    "nbytes",
    "is_cpu",
]


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes(name):
    for data in (DATA, torch.zeros(()), torch.zeros(2, 0, dtype=torch.int64)):
        assert getattr(tapegrad.tensor(data), name) == getattr(data, name)
        assert type(getattr(tapegrad.tensor(data), name)) is type(getattr(data, name))


PLAIN_CALLS = {
    "numel": lambda t: t.numel(),
    "nelement": lambda t: t.nelement(),
    "size": lambda t: t.size(),
    "size of a dim": lambda t: t.size(1),
    "size by name": lambda t: t.size(dim=-1),
    "dim": lambda t: t.dim(),
    "stride": lambda t: t.stride(),
    "storage_offset": lambda t: t.storage_offset(),
    "is_contiguous": lambda t: t.is_contiguous(),
    "element_size": lambda t: t.element_size(),
    "is_floating_point": lambda t: t.is_floating_point(),
    "is_complex": lambda t: t.is_complex(),
    "data_ptr": lambda t: t.data_ptr() == raw(t).data_ptr(),
    "tolist": lambda t: str(t.tolist()),
    "len": len,
    "torch.numel": torch.numel,
    "torch.is_floating_point": torch.is_floating_point,
    "argmax": lambda t: t.argmax(),
    "argmax of a dim": lambda t: t.argmax(1, keepdim=True),
    "argmin": lambda t: torch.argmin(t, 0),
    "argsort": lambda t: t.argsort(1),
    "max indices": lambda t: t.max(1).indices,
    "max by position": lambda t: t.max(1)[1],
    "min indices": lambda t: torch.min(t, 0).indices,
    "isnan": lambda t: t.isnan(),
    "torch.isnan": torch.isnan,
    "isinf": torch.isinf,
    "isfinite": lambda t: torch.isfinite(t),
    "any": lambda t: (t > 0).any(),
    "all": lambda t: torch.all(t == t),
    "any itself": lambda t: t.any(1),
    "count_nonzero": lambda t: t.count_nonzero(),
    "nonzero": lambda t: t.nonzero(),
    "unique": lambda t: t.isnan().unique(),
    "eq": lambda t: t == t,
    "ne": lambda t: t != 1.5,
    "lt": lambda t: t < 1.0,
    "le": lambda t: t <= torch.tensor(1.5),
    "gt": lambda t: t > t[0],
    "ge": lambda t: t >= 1.5,
    "torch.eq": lambda t: torch.eq(t, 1.5),
    "eq method": lambda t: t.eq(t),
    "torch.gt": lambda t: torch.gt(t, t),
    "logical_not": lambda t: torch.logical_not(t),
    "isclose": lambda t: torch.isclose(t, t + 0.0),
    "allclose": lambda t: torch.allclose(t, t, equal_nan=True),
    "torch.equal": lambda t: torch.equal(t[:1], t[:1]),
    "equal": lambda t: t[:1].equal(t[:1]),
    "empty_like": lambda t: torch.empty_like(t).shape,
    "zeros_like of a type": lambda t: torch.zeros_like(t, dtype=torch.int64),
    "long": lambda t: t[:1].long(),
    "int": lambda t: t[:1].int(),
    "bool": lambda t: t.bool(),
    "to int": lambda t: t[:1].to(torch.int64),
    "to bool": lambda t: t.to(dtype=torch.bool),
    "type": lambda t: t[:1].type(torch.int32),
    "one_hot": lambda t: F.one_hot(t.max(1).indices, num_classes=t.shape[1]),
    "one_hot of longs": lambda t: F.one_hot(t[:1].abs().long(), 5),
    "searchsorted": lambda t: torch.searchsorted(torch.tensor([0.0, 1.0, 2.0]), t[0]),
    "contains": lambda t: 1.5 in t,
}


@pytest.mark.parametrize("name", PLAIN_CALLS)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_what_carries_no_gradient_is_torchs(name, requires_grad):
    """The same plain value as torch's, whether or not the tensor requires grad."""
    call = PLAIN_CALLS[name]
    mine, yours = call(tapegrad.tensor(DATA.clone(), requires_grad)), call(DATA.clone())
    assert type(mine) is type(yours)
    if isinstance(yours, torch.Tensor):
        assert same_bits(mine, yours)
        assert not mine.requires_grad
    else:
        assert mine == yours


MADE = {
    "zeros_like": torch.zeros_like,
    "zeros_like of a type": lambda t: torch.zeros_like(t, dtype=torch.float16),
    "ones_like": torch.ones_like,
    "full_like": lambda t: torch.full_like(t, 2.5),
    "new_zeros": lambda t: t.new_zeros(2),
    "new_ones": lambda t: t.new_ones((2, 1)),
    "new_full": lambda t: t.new_full((2,), 3.0),
    "new_tensor": lambda t: t.new_tensor([1.0]),
    "bernoulli": lambda t: torch.bernoulli(torch.zeros_like(t)),
}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_what_is_made_like_a_tensor_is_one(name, requires_grad):
    """Torch's value, as a Tensor: what requires grad may be written into it."""
    call = MADE[name]
    mine, yours = call(tapegrad.tensor(DATA.clone(), requires_grad)), call(DATA.clone())
    assert type(mine) is tapegrad.Tensor
    assert same_bits(mine.data, yours)
    assert not mine.requires_grad
    value = tapegrad.tensor(torch.ones(()), requires_grad=True)
    mine[0] += value
    assert mine.requires_grad


def test_multinomial_draws_the_same():
    draws = []
    for wrap in (tapegrad.tensor, lambda t: t):
        probs = F.softmax(wrap(randn(2, 5, dtype=torch.float32)), dim=1)
        g = torch.Generator().manual_seed(5)
        draws.append(torch.multinomial(probs, num_samples=3, replacement=True, generator=g))
        draws.append(probs.multinomial(1, generator=g))
    assert all(type(d) is torch.Tensor for d in draws)
    assert torch.equal(draws[0], draws[2])
    assert torch.equal(draws[1], draws[3])


@pytest.mark.parametrize("compare", [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge])
def test_comparisons_in_every_combination(compare):
    a, b = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 2.0, 2.0])
    expected = compare(a, b)
    for left in (tapegrad.tensor(a), a):
        for right in (tapegrad.tensor(b), b, 2.0):
            result = compare(left, right)
            assert type(result) is torch.Tensor
            assert torch.equal(result, expected)
    assert torch.equal(compare(2.0, tapegrad.tensor(a)), compare(2.0, a))


def test_comparing_with_something_else():
    t = tapegrad.tensor([1.0])
    assert (t == None) is False  # noqa: E711
    assert (t != "x") is True
    with pytest.raises(TypeError):
        t < "x"  # noqa: B015


def test_hash_is_identity():
    a, b = tapegrad.tensor(1.0), tapegrad.tensor(1.0)
    assert {a: 1}[a] == 1
    assert len({a, b}) == 2


def test_numbers():
    t = tapegrad.tensor(2.75, requires_grad=True)
    assert t.item() == 2.75
    assert float(t) == 2.75
    assert int(t) == 2
    assert complex(t) == 2.75
    assert bool(t) is True
    assert bool(tapegrad.tensor([0.0])) is False
    assert math.sqrt(tapegrad.tensor(4.0)) == 2.0
    assert [10, 20, 30][tapegrad.tensor(2)] == 30
    assert f"{t:.1f}" == "2.8"
    assert f"{tapegrad.tensor([2.5]).item():.2f}" == "2.50"
    assert round(float(t)) == 3


@pytest.mark.parametrize("convert", [bool, float, int, lambda t: t.item(), operator.index])
def test_many_elements_are_no_number(convert):
    for t in (tapegrad.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0])):
        with pytest.raises((RuntimeError, TypeError, ValueError)):
            convert(t)


def test_len_and_iteration_of_a_number():
    for t in (tapegrad.tensor(1.0), torch.tensor(1.0)):
        with pytest.raises(TypeError, match="0-d"):
            len(t)
        with pytest.raises(TypeError, match="0-d"):
            iter(t)


def test_iteration():
    x = ours(randn(3, 2))
    rows = list(x)
    assert len(rows) == len(x) == 3
    assert all(isinstance(row, Tensor) and row.shape == (2,) for row in rows)
    assert list(tapegrad.tensor(torch.arange(3)))[2].item() == 2


def test_repr():
    x = tapegrad.tensor([1.0, 2.0], requires_grad=True)
    assert repr(x) == "tensor([1., 2.], requires_grad=True)"
    assert repr(tapegrad.tensor([1.0, 2.0])) == "tensor([1., 2.])"
    assert repr(x * 2) == "tensor([2., 4.], op=<mul>)"
    assert repr((x * 2).sum()) == "tensor(6., op=<sum>)"
    assert str(x) == repr(x)
    assert f"{x}" == repr(x)
    assert "dtype=torch.float64" in repr(tapegrad.tensor([1.0]).double())
