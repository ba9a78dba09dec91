"""Items changed in place, ``h[0] += y``, and values that are views of what they are assigned to: as on torch."""

from __future__ import annotations

import copy
import operator

import pytest
import torch

import tapegrad
from tapegrad import InPlaceError
from tests.helpers import assert_program_agrees, assert_same, ours, randn, theirs

pytestmark = pytest.mark.usefixtures("road")


def item(x, y):
    h = x * 1
    h[0] += y[1]
    return h


def items(x, y):
    h = x * 1
    for i in range(3):
        h[i] -= y[i]
        h[:, i] *= y[:, i]
        h[i, 1:] /= y[i, 1:] * y[i, 1:] + 1
    return h


def steps(x, y):
    h = x * 1
    h[:, ::2] *= y[:, ::2]
    h[..., None, 1:3] += 2
    h[-1] **= 2
    h[1:, 1:] %= 0.7
    return h


def of_itself(x, y):
    h = x * y
    h[0] += h[1]
    h[:1] *= h[-1:]
    h[1] -= h[1]
    return h


def assigned_of_itself(x, y):
    h = x * y
    h[:1] = h[-1:]
    h[0] = h[2]
    h[:, 0] = h[:, 1] * y[:, 0]
    h[:, 2] = h[:, 1] * h[:, 3] + h[:, 2].exp()
    return h


def whole_of_its_part(x, y):
    h = x * y
    h += h[0].exp()
    h *= y[0]
    return h


def many_indices(x, y):
    h = x * 1
    h[[0, 2]] += y[:2]
    h[torch.tensor([0, 0])] += y[1:]
    h[x.detach() > 0] *= 2
    return h


def zeros(x, y):
    h = torch.zeros_like(x)
    for i in (0, 1, 1, 2):
        h[i] += x[i] * y[i]
    h += y
    return h


def made(x, y):
    h, ones, full = x.new_zeros(3, 4), torch.ones_like(y), torch.full_like(x, 2.5)
    h[0] += x[0]
    ones[1:] *= y[1:]
    full[:, 1] = x[:, 1]
    return h * ones * full


def view_of_what_is_gone(x, y):
    h = (x * y)[:2]
    h += y[0]
    h[0] *= h[1]
    a = (h * y[:2])[1:]
    a *= 2
    return a * h


@pytest.mark.parametrize("program", [item, items, steps, whole_of_its_part, many_indices, zeros, made])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_items_in_place(program, dtype):
    assert_program_agrees(program, randn(3, 4, dtype=dtype), randn(3, 4, dtype=dtype, seed=1))


@pytest.mark.parametrize("program", [of_itself, assigned_of_itself, view_of_what_is_gone])
def test_items_that_torch_would_overwrite_in_its_graph(program):
    """torch refuses the backward pass, for values that a rule needs are overwritten; here nothing that was saved is."""
    x, y = randn(3, 4), randn(3, 4, seed=1)
    assert_same(program(ours(x), ours(y)).data, program(x, y), "value")
    assert tapegrad.gradcheck(program, (ours(x), ours(y)))


def lecture(C, demb, Xb):
    """The lecture's own loop: the gradient of an embedding, by hand."""
    dC = torch.zeros_like(C)
    for k in range(Xb.shape[0]):
        for j in range(Xb.shape[1]):
            ix = Xb[k, j]
            dC[ix] += demb[k, j]
    return dC


def test_the_lectures_loop():
    Xb = torch.randint(0, 5, (8, 3), generator=torch.Generator().manual_seed(1))
    C, demb = randn(5, 2), randn(8, 3, 2, seed=1)
    expected = lecture(C, demb, Xb)
    for a in (C, tapegrad.tensor(C), ours(C)):
        for b in (demb, tapegrad.tensor(demb)):
            dC = lecture(a, b, Xb)
            assert_same(getattr(dC, "data", dC), expected, "dC")
    for a in (tapegrad.tensor(C), ours(C)):
        mine, yours = ours(demb), theirs(demb)
        dC = lecture(a, mine, Xb)
        assert_same(dC.data, expected, "dC")
        (dC * C).sum().backward()
        (lecture(C, yours, Xb) * C).sum().backward()
        assert_same(mine.grad, yours.grad, "gradient")


def test_the_lectures_loop_into_a_torch_tensor_is_refused_with_a_way_out():
    Xb, demb = torch.tensor([[0, 1], [1, 1]]), ours(randn(2, 2, 2))
    with pytest.raises(InPlaceError, match=r"add_\(\): .*; wrap the target with tapegrad.tensor\(...\), or write a"):
        lecture(torch.zeros(2, 2), demb, Xb)
    dC = lecture(tapegrad.tensor(torch.zeros(2, 2)), demb, Xb)  # wrapped
    dC.sum().backward()
    assert demb.grad.tolist() == torch.ones(2, 2, 2).tolist()
    assert torch.equal(lecture(torch.zeros(2, 2), demb.detach(), Xb), dC.data)  # detached


# --- what somebody else sees is refused: torch would change it too ---


def held_view(h, y):
    v = h[0]
    v += y


def held_views_base(h, y):
    v = h[0]
    h[1] += y
    return v


def held_value(h, y):
    v = h[-2:]
    h[:2] = v


def whole_by_its_part(h, y):
    h += h[:, :1]  # torch reads what it has just written


def in_a_list(h, y):
    rows = [h[0], h[1]]
    rows[0] += y


def in_a_loop(h, y):
    for row in h:
        row += y


def a_function(h, y):
    operator.iadd(h[0], y)


def a_method(h, y):
    h[0].add_(y)


def dunder(h, y):
    h[0].__iadd__(y)


def an_item_of_an_item(h, y):
    h[0][1] += y[1]


def transposed(h, y):
    h.T[0] += y[0]


def a_view_beside_the_value(h, y):
    v = h[1]
    h[0] = v * y


def an_attribute(h, y):
    class Holder:
        row = h[0]

    Holder.row += y


@pytest.mark.parametrize(
    "change",
    [
        held_view, held_views_base, held_value, whole_by_its_part, in_a_list, in_a_loop, a_function, a_method, dunder,
        an_item_of_an_item, transposed, a_view_beside_the_value, an_attribute,
    ],
)  # fmt: skip
def test_memory_that_others_see(change):
    h = ours(randn(3, 4)) * 1
    before = h.data.clone()
    with pytest.raises(InPlaceError, match="shares its memory with another") as refused:
        change(h, ours(randn(4, seed=1)))
    assert "x = x.clone()" in str(refused.value)
    assert torch.equal(h.data, before)


def test_the_ways_out_work():
    x, y = ours(randn(3, 4)), ours(randn(4, seed=1))
    h = x * 1
    v = h[0]
    v = v.clone()
    v += y
    h = h.clone()
    h[0] += y
    h[1] = h[1].add(y)
    (h + v).sum().backward()
    assert y.grad.tolist() == [5.0] * 4


def test_unrecorded_items_change_the_memory_itself():
    data = torch.zeros(3, 4)
    h = tapegrad.tensor(data)
    h[0] += 1
    p = ours(torch.zeros(3))
    with torch.no_grad():
        p[0] += 1
    assert data[0].tolist() == [1.0] * 4
    assert p.data.tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(InPlaceError, match="leaf"):
        p[0] += 1


# --- what else torch's tensors can do ---


def test_reversed():
    mine, yours = ours(randn(3, 2)), theirs(randn(3, 2))
    for x in (mine, yours):
        (reversed(x) * torch.arange(6.0, dtype=x.dtype).view(3, 2)).sum().backward()
    assert_same(mine.grad, yours.grad, "gradient")
    scalar = ours(torch.tensor(2.0))
    assert reversed(scalar) is scalar


def test_a_gradient_can_be_deleted():
    x = ours(randn(3))
    del x.grad
    x.sum().backward()
    del x.grad
    assert x.grad is None
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0] * 3


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_computed_tensor_is_refused_with_ways_out(copied):
    x = ours(randn(3))
    y = x * 2
    with pytest.raises(RuntimeError, match=r"was computed, would lose how; use t.clone\(\) .* or t.detach\(\)"):
        copied(y)
    assert y.clone().requires_grad
    twin = copied(y.detach())
    assert torch.equal(twin.data, y.data)
    assert not twin.requires_grad
    assert copied(x).requires_grad
