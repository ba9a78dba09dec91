"""Hooks see gradients as the walk passes, and may replace them, as torch's do."""

from __future__ import annotations

import pytest
import torch

import tapegrad
from tests.helpers import assert_same, ours, randn, raw, theirs

pytestmark = pytest.mark.usefixtures("road")


def both(program, *shapes):
    """What a program returns for leaves of each library; torch tensors inside."""
    data = [randn(*shape, seed=i) for i, shape in enumerate(shapes)]
    mine = program(tapegrad.grad, *[ours(d) for d in data])
    yours = program(torch.autograd.grad, *[theirs(d) for d in data])
    assert_same(raw(mine), raw(yours), "result")
    return mine


def test_a_hook_on_a_leaf_sees_the_whole_gradient_once():
    def program(grad, x):
        seen = []
        x.register_hook(lambda g: seen.append(g.clone()))
        (x * x + x.exp() - x).sum().backward()
        return seen, x.grad

    seen, _ = both(program, (3,))
    assert len(seen) == 1


def test_a_hook_on_a_computed_tensor_sees_the_whole_gradient_once():
    def program(grad, x):
        seen = []
        h = x * 2
        h.register_hook(lambda g: seen.append(g.clone()))
        (h * h + h.exp() - h).sum().backward()
        return seen, x.grad

    seen, _ = both(program, (3,))
    assert len(seen) == 1


@pytest.mark.parametrize("on_leaf", [True, False])
def test_a_hook_replaces_the_gradient(on_leaf):
    def program(grad, x):
        h = x * 2
        (x if on_leaf else h).register_hook(lambda g: g.clamp(-0.5, 0.5))
        (h**3).sum().backward()
        return x.grad

    assert both(program, (4,)).abs().max() <= 1


def test_clipping_by_the_norm_of_all_gradients():
    """The everyday use: watch each gradient's size, then scale."""

    def program(grad, w, b):
        sizes = []
        for p in (w, b):
            p.register_hook(lambda g: sizes.append(g.norm()))
        ((w * 3 + b) ** 2).sum().backward()
        total = torch.stack(sizes).norm()
        for p in (w, b):
            p.grad.mul_(1.0 / total)
        return w.grad, b.grad

    w, b = both(program, (3, 2), (2,))
    assert torch.allclose((w**2).sum() + (b**2).sum(), torch.tensor(1.0, dtype=torch.float64))


def test_hooks_run_in_the_order_they_were_registered_each_on_what_the_last_left():
    def program(grad, x):
        seen = []
        h = x * 1
        h.register_hook(lambda g: g + 1)
        h.register_hook(lambda g: seen.append(g.clone()))
        h.register_hook(lambda g: g * 10)
        h.sum().backward()
        return seen, x.grad

    _, g = both(program, (2,))
    assert g.tolist() == [20.0, 20.0]


def test_retain_grad_comes_after_all_hooks():
    def program(grad, x):
        h = x * 1
        h.register_hook(lambda g: g * 2)
        h.retain_grad()
        h.register_hook(lambda g: g * 5)
        h.sum().backward()
        return h.grad, x.grad

    h, _ = both(program, (2,))
    assert h.tolist() == [10.0, 10.0]


def test_a_handle_removes_its_hook_and_no_other():
    def program(grad, x):
        first, second = x.register_hook(lambda g: g * 2), x.register_hook(lambda g: g * 3)
        first.remove()
        first.remove()
        x.sum().backward()
        second.remove()
        x.sum().backward()
        return x.grad

    assert both(program, (2,)).tolist() == [4.0, 4.0]


def test_a_handle_is_a_context_manager():
    x = ours(randn(2))
    with x.register_hook(lambda g: g * 7):
        x.sum().backward()
    x.sum().backward()
    assert x.grad.tolist() == [8.0, 8.0]


def test_a_hook_that_removes_itself():
    def program(grad, x):
        calls = []

        def once(g):
            calls.append(1.0)
            handle.remove()

        handle = x.register_hook(once)
        x.sum().backward()
        x.sum().backward()
        return x.grad, calls

    assert both(program, (2,))[1] == [1.0]


def test_hooks_of_grad():
    """A target has passed its hooks, but not, in torch, if it lies on the way to another target."""

    def program(grad, x):
        h = x * 2
        h.register_hook(lambda g: g * 10)
        h.retain_grad()
        x.register_hook(lambda g: g * 100)
        loss = (h * 3).sum()
        alone = grad(loss, h, retain_graph=True)
        return *alone, *grad(loss, [h, x]), h.grad, x.grad

    alone, with_x, of_x, retained, left = both(program, (2,))
    assert (alone[0], with_x[0], of_x[0]) == (30, 3, 6000)
    assert retained.tolist() == [60, 60]
    assert left is None


def test_hooks_of_backward_with_inputs():
    def program(grad, x, y):
        seen = []
        x.register_hook(lambda g: seen.append("x"))
        y.register_hook(lambda g: seen.append("y"))
        h = x * y
        h.register_hook(lambda g: g * 2)
        h.exp().sum().backward(inputs=[x])
        return seen, x.grad, y.grad

    seen, _, left = both(program, (2,), (2,))
    assert seen == ["x"]
    assert left is None


def test_a_hook_registered_before_a_change_in_place_belongs_to_the_old_value():
    def program(grad, x):
        h = x * 2
        h.register_hook(lambda g: g * 10)
        h += 1
        h.register_hook(lambda g: g * 3)
        (h * h).sum().backward()
        return x.grad

    both(program, (2,))


def test_a_hook_sees_recorded_gradients_under_create_graph():
    def program(grad, x):
        seen = []
        h = x * 1
        h.register_hook(lambda g: seen.append(g.requires_grad) or g * x.detach())
        (g,) = grad((h**3).sum(), x, create_graph=True)
        return (seen, *grad(g.sum(), x))

    assert both(program, (3,))[0] == [True, False]  # the second grad() walks through h once more


def test_what_a_hook_keeps_or_gives_is_not_the_leafs_gradient():
    """Zeroing ``grad`` must not reach into it."""

    def program(grad, x):
        given, kept = torch.ones(2, dtype=torch.float64), []
        handle = x.register_hook(lambda g: given)
        (x * 2).sum().backward()
        handle.remove()
        x.grad.zero_()
        x.register_hook(kept.append)
        (x * 2).sum().backward()
        x.grad = None
        (x * 2).sum().backward()
        x.grad.zero_()
        return given, kept

    given, kept = both(program, (2,))
    assert given.tolist() == [1, 1]
    assert kept[1].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda g: g.sum(), RuntimeError, r"\(2,\) torch.float64 on cpu, not \(\) torch.float64"),
        (lambda g: g.float(), RuntimeError, r"shape, dtype, device.*torch.float32"),
        (lambda g: g.to("meta"), RuntimeError, r"on meta"),
        (lambda g: 3, TypeError, r"a gradient or None, not int"),
    ],
)
def test_a_gradient_that_does_not_fit_is_refused(returned, error, message):
    for x, text in ((ours(randn(2)), message), (theirs(randn(2)), None)):
        x.register_hook(returned)
        with pytest.raises(error, match=text):
            (x * 2).sum().backward()


def test_a_hook_may_return_either_kind_of_tensor():
    x = ours(randn(2))
    x.register_hook(lambda g: tapegrad.tensor(g * 2))
    h = x * 1
    h.register_hook(lambda g: tapegrad.tensor(g * 3))
    h.sum().backward()
    assert type(x.grad) is torch.Tensor
    assert x.grad.tolist() == [6, 6]
    y = ours(randn(2))
    h = y * y
    h.register_hook(lambda g: torch.full((2,), 5.0, dtype=torch.float64))
    (g,) = tapegrad.grad(h.sum(), y, create_graph=True)
    assert tapegrad.grad(g.sum(), y)[0].tolist() == [10, 10]


def test_a_tensor_without_a_gradient_takes_no_hook():
    for c in (ours(randn(2), False), theirs(randn(2), False)):
        with pytest.raises(RuntimeError, match="gradient"):
            c.register_hook(print)


def test_an_error_in_a_hook_comes_out():
    x = ours(randn(2))
    x.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        (x * 2).sum().backward()
    assert x.grad is None


def test_a_backward_inside_a_hook():
    """Another graph, walked from within a walk, neither disturbs it nor is disturbed."""

    def program(grad, x, y):
        def inner(g):
            with torch.enable_grad():
                (y * y * g.sum()).sum().backward()
            assert not torch.is_grad_enabled()

        h = x.exp()
        h.register_hook(inner)
        (h * h).sum().backward()
        return x.grad, y.grad

    both(program, (3,), (2,))


def test_the_same_graph_walked_inside_a_hook():
    def program(grad, x):
        inner = []
        h = x.exp()
        loss = (h * h).sum()

        def again(g):
            handle.remove()
            inner.extend(grad(loss, x, retain_graph=True))

        handle = h.register_hook(again)
        loss.backward(retain_graph=True)
        return x.grad, inner

    both(program, (3,))


def test_comparing_with_torch_runs_no_hooks():
    x = ours(randn(3))
    h = x * 2
    h.retain_grad()
    for t in (x, h):
        t.register_hook(lambda g: g * 100)
    assert tapegrad.compare((h * h).sum(), {"x": x, "h": h}).exact
    assert h.grad is None


def test_hooks_cost_nothing_where_there_are_none():
    """A tensor without hooks holds no table of them."""
    x = ours(randn(3))
    y = (x * 2).sum()
    assert x.hooks is None
    assert y.record.hooks is None


def test_what_a_hook_returns_is_part_of_the_recorded_walk():
    """Also where the gradient that it sees is a constant, as that of a sum is."""
    for linear in (lambda x: x + 1, lambda x: x * x):
        mine, yours = (ours(randn(3)), ours(randn(3, seed=1))), (theirs(randn(3)), theirs(randn(3, seed=1)))
        found = []
        for grad, (x, w) in ((tapegrad.grad, mine), (torch.autograd.grad, yours)):
            h = linear(x)
            h.register_hook(lambda g, w=w: g * w)
            (gx,) = grad(h.sum(), x, create_graph=True)
            found.append(grad((gx * gx).sum(), w)[0])
        assert_same(*found, "gradient of the gradient")
