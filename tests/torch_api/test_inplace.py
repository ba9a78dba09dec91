"""In-place forms: as on torch, or refused; never a different answer."""

from __future__ import annotations

import pytest
import torch

import tapegrad
from tapegrad import InPlaceError, MissingRule
from tests.helpers import assert_grads_agree, assert_program_agrees, assert_same, ours, randn, theirs

pytestmark = pytest.mark.usefixtures("road")

# --- augmented assignment and methods with an underscore, as on torch ---


def augmented(x, y):
    z = x * 1
    z += y
    z *= y
    z -= 0.5
    z /= y * y + 1
    z **= 2
    return z


def methods(x, y):
    z = x * 1
    z.add_(y, alpha=0.3).mul_(2).sub_(y).div_(3.0)
    z.square_().neg_()
    return z.tanh_()


def masked(x, y):
    z = x * y
    z.masked_fill_(y.detach() > 0, 0.25)
    z.abs_().add_(1.5).log_()
    return z.relu_()


def transposed(x, y):
    z = (x * y).T.clone()
    z.t_().unsqueeze_(0)
    return z.squeeze_(0)


@pytest.mark.parametrize("program", [augmented, methods, masked, transposed])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_in_place_forms(program, dtype):
    assert_program_agrees(program, randn(3, 4, dtype=dtype), randn(3, 4, dtype=dtype, seed=1) + 3)


def test_the_object_stays_and_its_aliases_see_the_change():
    x = ours(randn(3))
    y = x * 2
    alias = y
    y += 1
    assert alias is y
    assert torch.equal(alias.data, x.data * 2 + 1)
    kept = [y]
    y.mul_(3)
    assert kept[0] is y
    y.sum().backward()
    assert x.grad.tolist() == [6.0, 6.0, 6.0]


def test_a_use_before_the_change_keeps_its_own_value():
    """torch refuses this, for the value that exp saved is overwritten; here nothing that was saved ever is."""
    x = ours(torch.zeros(2, dtype=torch.float64))
    y = x.exp()
    before = y * 3
    y.mul_(10)
    (before + y).sum().backward()
    assert x.grad.tolist() == [13.0, 13.0]


def test_broadcast_operands():
    def program(x, y):
        z = x * 1
        z += y
        z *= y[0]
        return z

    assert_program_agrees(program, randn(3, 4), randn(4, seed=1))


def test_operands_of_another_type():
    mine = [ours(randn(3, dtype=torch.float32)), ours(randn(3, seed=1))]
    yours = [theirs(randn(3, dtype=torch.float32)), theirs(randn(3, seed=1))]
    for x, y in (mine, yours):
        z = x * 1
        z += y
        assert z.dtype is torch.float32
        z.sum().backward()
    assert_grads_agree(mine, yours)


def test_a_result_that_does_not_fit_is_refused():
    for wrap in (ours, theirs):
        z = wrap(randn(3)) * 1
        with pytest.raises(RuntimeError, match=r"shape"):
            z += randn(2, 3)


def test_a_constant_becomes_part_of_the_graph():
    mine, yours = ours(randn(3)), theirs(randn(3))
    for x, total in ((mine, tapegrad.tensor(torch.zeros(3).double())), (yours, torch.zeros(3).double())):
        total += x
        total += x * x
        assert total.requires_grad
        total.sum().backward()
    assert_same(mine.grad, yours.grad, "gradient")


def test_unrecorded_changes_happen_in_place():
    data = torch.ones(3)
    t = tapegrad.tensor(data)
    t += 1
    t[0] = 7
    t.mul_(2)
    assert data.tolist() == [14.0, 4.0, 4.0]
    assert not t.requires_grad


def test_retain_grad_goes_with_the_object():
    """As in torch: after an in-place change, ``grad`` is that of the new value."""
    mine, yours = ours(randn(3)), theirs(randn(3))
    grads = []
    for x in (mine, yours):
        y = x * 2
        y.retain_grad()
        y *= 3
        (y * y).sum().backward()
        grads.append(y.grad)
    assert_same(*grads, "retained gradient")


# --- leaves ---

CHANGES = {
    "+=": lambda t: t.__iadd__(1.0),
    "-=": lambda t: t.__isub__(1.0),
    "*=": lambda t: t.__imul__(2.0),
    "/=": lambda t: t.__itruediv__(2.0),
    "[]=": lambda t: t.__setitem__(0, 1.0),
    "add_": lambda t: t.add_(1.0),
    "zero_": lambda t: t.zero_(),
    "copy_": lambda t: t.copy_(torch.zeros(3)),
    "normal_": lambda t: t.normal_(),
    "fill_": lambda t: t.fill_(1.0),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_leaf_that_requires_grad_is_refused(name):
    p = ours(randn(3))
    before = p.data.clone()
    with pytest.raises(InPlaceError, match="leaf"):
        CHANGES[name](p)
    assert torch.equal(p.data, before)
    with pytest.raises(RuntimeError, match="leaf"):  # as torch refuses it
        CHANGES[name](theirs(randn(3)))


@pytest.mark.parametrize("name", CHANGES)
def test_a_leaf_can_be_changed_under_no_grad(name):
    p, q = ours(randn(3)), theirs(randn(3))
    storage = p.data
    with torch.no_grad():
        for t in (p, q):
            torch.manual_seed(3)
            CHANGES[name](t)
    assert torch.equal(p.data, q.detach())
    assert p.data is storage
    assert p.requires_grad
    assert p.is_leaf


@pytest.mark.parametrize("name", CHANGES)
def test_data_can_be_changed_at_any_time(name):
    p = ours(randn(3))
    CHANGES[name](p.data)
    assert p.requires_grad


def test_initializers_write_into_leaves():
    for init in (torch.nn.init.kaiming_normal_, torch.nn.init.xavier_uniform_, torch.nn.init.zeros_):
        p, q = ours(randn(3, 4)), theirs(randn(3, 4))
        torch.manual_seed(1)
        assert init(p) is p
        torch.manual_seed(1)
        init(q)
        assert torch.equal(p.data, q.detach())


# --- views ---


VIEWS = {
    "view": lambda x: x.view(-1),
    "row": lambda x: x[0],
    "slice": lambda x: x[:, 1:],
    "transpose": lambda x: x.T,
    "unsqueeze": lambda x: x.unsqueeze(0),
    "expand": lambda x: x[:1].expand(3, 4),
    "detach": lambda x: x.detach(),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_refused_and_nothing_changes(name):
    x = ours(randn(3, 4)) * 1
    view = VIEWS[name](x)
    before = x.data.clone()
    if view.requires_grad:
        with pytest.raises(InPlaceError, match=r"view.*clone"):
            view += 1
    with pytest.raises(InPlaceError, match=r"view.*clone"):
        x += 1
    with pytest.raises(InPlaceError, match=r"view.*clone"):
        x[0] = 1
    assert torch.equal(x.data, before)
    assert torch.equal(view.data, VIEWS[name](x.data))


def test_a_clone_of_a_view_can_be_changed():
    def program(x):
        z = (x * 2)[0].clone()
        z *= 3
        return z + x[1]

    assert_program_agrees(program, randn(3, 4))


# --- the target is a plain torch tensor ---


def test_writing_a_gradient_into_a_plain_tensor_is_refused():
    x = ours(randn(3))
    target = torch.zeros(3).double()
    for change in (lambda: target.__setitem__(0, x[0]), lambda: target.add_(x), lambda: target.copy_(x)):
        with pytest.raises(InPlaceError, match="plain torch"):
            change()
    assert not target.any()
    with torch.no_grad():
        target[0] = x[0]
        target.add_(x)
    assert target[1] == x.data[1]
    assert type(target) is torch.Tensor


def test_a_constant_can_be_written_into_a_plain_tensor():
    target = torch.zeros(3).double()
    target[1:] = tapegrad.tensor(torch.ones(2).double())
    target += tapegrad.tensor(torch.ones(3).double())
    assert target.tolist() == [1.0, 2.0, 2.0]
    assert type(target) is torch.Tensor


# --- without a rule ---


def test_a_method_without_a_rule():
    x = ours(randn(3, 3)) * 1
    with pytest.raises(MissingRule, match=r"^igamma_\(\): torch has no derivative"):
        x.igamma_(torch.ones(3, 3))
