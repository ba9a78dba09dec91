"""Tensor as an object: its values, its attributes, and everything that carries no gradient, as on torch."""

from __future__ import annotations

import copy
import math
import operator
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import ours, randn, raw, same_bits, theirs

import tapegrad
from tapegrad import ForeignTensor, Tensor

DATA = torch.tensor([[1.5, -2.0, 0.0], [3.0, float("nan"), float("inf")]])

# --- making one ---


def test_a_torch_tensor_is_shared():
    data = torch.zeros(3)
    t = tapegrad.tensor(data)
    assert t.data is data
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


@pytest.mark.parametrize(
    ("name", "instead"), [("grad_fn", r"t\.record"), ("register_post_accumulate_grad_hook", "register_hook")]
)
def test_attributes_that_have_another_name_here(name, instead):
    for t in (ours(randn(3)), ours(randn(3)) * 2, tapegrad.tensor(1.0)):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'; .*{instead}"):
            getattr(t, name)
        assert not hasattr(t, name)


# --- attributes and numbers ---

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
    "zeros_like": torch.zeros_like,
    "ones_like": torch.ones_like,
    "full_like": lambda t: torch.full_like(t, 2.5),
    "empty_like": lambda t: torch.empty_like(t).shape,
    "zeros_like of a type": lambda t: torch.zeros_like(t, dtype=torch.int64),
    "new_zeros": lambda t: t.new_zeros(2),
    "new_tensor": lambda t: t.new_tensor([1.0]),
    "long": lambda t: t[:1].long(),
    "int": lambda t: t[:1].int(),
    "bool": lambda t: t.bool(),
    "to int": lambda t: t[:1].to(torch.int64),
    "to bool": lambda t: t.to(dtype=torch.bool),
    "type": lambda t: t[:1].type(torch.int32),
    "one_hot": lambda t: F.one_hot(t.max(1).indices, num_classes=t.shape[1]),
    "one_hot of longs": lambda t: F.one_hot(t[:1].abs().long(), 5),
    "bernoulli": lambda t: torch.bernoulli(torch.zeros_like(t)),
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


# --- numpy ---


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


# --- tensors of torch.autograd ---

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


# --- the vocabulary ---


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


def test_a_tape_shows_itself_at_the_prompt():
    x = ours(randn(2, 3))
    loss = (x * 2).sum()
    tape = tapegrad.tape(loss, names={"x": x, "loss": loss})
    assert repr(tape).splitlines() == [
        "# | name  | op   | inputs | shape",
        "--+-------+------+--------+-------",
        "  | x     | leaf |        | (2, 3)",
        "0 | mul_0 | mul  | x      | (2, 3)",
        "1 | loss  | sum  | mul_0  | ()",
    ]
    assert str(tape) == repr(tape)


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
    layer = torch.nn.MultiheadAttention(4, 2).requires_grad_(False)
    x = tapegrad.tensor(torch.ones(3, 4), requires_grad=True)
    with pytest.raises(tapegrad.MissingRule, match="multi_head_attention_forward"):
        layer(x, x, x)
