"""The methods of Tensor: all there, documented, and right for every type."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import tapegrad
from tapegrad import Tensor
from tests.helpers import ours, randn, raw, same_bits, theirs


def test_methods_are_in_dir_with_docstrings():
    for name in ("exp", "sum", "view", "add_", "argmax", "max", "__add__", "backward", "retain_grad", "softmax", "T"):
        assert name in dir(Tensor)
    for name in ("exp", "sum", "view", "add_", "argmax"):
        assert len(getattr(Tensor, name).__doc__) > 20
        assert getattr(Tensor, name).__name__ == name


def test_transposes():
    x = ours(randn(2, 3))
    assert torch.equal(x.T.data, x.data.T)
    assert torch.equal(x.mT.data, x.data.mT)
    assert x.T.requires_grad


def test_deep_copies_of_leaves():
    """As a module is copied: values and requires_grad, no shared memory."""
    p = ours(randn(3))
    q = copy.deepcopy(p)
    q.data.zero_()
    assert p.data.any()
    assert q.requires_grad
    assert q.is_leaf


def test_what_a_copy_keeps_of_the_gradient():
    """As in torch, a deep copy has one of its own, and a pickle or a shallow copy has none."""
    for p in (ours(randn(3)), theirs(randn(3))):
        (p * 2).sum().backward()
        assert copy.copy(p).grad is None
        p.register_hook(lambda g: g * 100)
        first, second, grad = copy.deepcopy([p, p, p.grad])
        assert first is second
        assert first.grad is grad
        assert grad.tolist() == [2.0, 2.0, 2.0]
        first.grad.zero_()
        assert p.grad.tolist() == [2.0, 2.0, 2.0]
        first.grad = None
        (first * 2).sum().backward()
        assert first.grad.tolist() == [2.0, 2.0, 2.0]  # the hook stays behind
    for p in (ours(randn(3)), theirs(randn(3))):
        p.grad = torch.ones(3).double()
        q = pickle.loads(pickle.dumps(p))
        assert q.grad is None
        assert q.requires_grad
        assert same_bits(raw(q), raw(p))


def test_functions_without_a_rule_run_where_no_gradient_is_asked_for():
    t = tapegrad.tensor(randn(3, 3))
    with_grad = ours(randn(3, 3))
    result = torch.linalg.det(t)
    assert isinstance(result, Tensor)
    assert same_bits(result.data, torch.linalg.det(t.data))
    with torch.no_grad():
        assert same_bits(torch.linalg.det(with_grad).data, result.data)
    sign, logdet = torch.linalg.slogdet(t)
    assert isinstance(sign, Tensor)
    assert isinstance(logdet, Tensor)


def test_types_are_changed_by_methods():
    x = ours(randn(3, dtype=torch.float32))
    y = x.double() * 2
    assert y.dtype is torch.float64
    y.sum().backward()
    assert x.grad.dtype is torch.float32
    assert x.to(torch.float32) is x
    assert x.float() is x
    assert x.contiguous() is x


def test_a_conversion_to_integers_carries_no_gradient():
    x = ours(randn(3))
    for y in (x.to(torch.int64), x.to(dtype=torch.bool), x.long(), x.type(torch.int32), x.to(torch.zeros(1).int())):
        assert type(y) is torch.Tensor
        assert not y.requires_grad


@pytest.mark.parametrize("method", ["sum", "prod"])
def test_a_reduction_to_integers_takes_no_gradient(method):
    x = tapegrad.tensor([1.0, 2.0], requires_grad=True)
    result = getattr(x, method)(dtype=torch.int64)
    assert type(result) is torch.Tensor
    assert result.dtype == torch.int64


@pytest.mark.parametrize("other", [3, [[1.0]], None])
def test_a_product_with_what_is_no_tensor_is_a_type_error(other):
    x = tapegrad.tensor(torch.ones(2, 2), requires_grad=True)
    with pytest.raises(TypeError):
        x @ other


def test_a_layer_without_a_rule_is_refused_by_its_functions_name():
    class Layer(torch.nn.Module):
        def forward(self, x):
            return torch.igammac(x, x)

    with pytest.raises(tapegrad.MissingRule, match="igammac"):
        Layer()(tapegrad.tensor(torch.ones(3, 4), requires_grad=True))
