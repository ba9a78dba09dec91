"""``tapegrad.checkpoint``: the same bits, computed again; and torch's, where it serves."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
import torch.utils.checkpoint
from torch import nn

import tapegrad
from tapegrad import MissingRule, StaleTensor
from tests.helpers import ours, randn


def block(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(0.3), nn.Linear(16, 4))


def gradients(checkpoint, nested=False):
    blocks = [block(0), block(1)]
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(2)).requires_grad_()
    torch.manual_seed(3)
    with tapegrad.recording():
        if nested:
            h = checkpoint(lambda t: checkpoint(blocks[1], checkpoint(blocks[0], t) * 2), x)
        else:
            h = checkpoint(blocks[1], checkpoint(blocks[0], x) * 2)
        (h * torch.rand(4)).square().sum().backward()
    return [x.grad, *[p.grad for b in blocks for p in b.parameters()]]


def plain(function, *args):
    return function(*args)


@pytest.mark.parametrize("nested", [False, True])
def test_the_same_bits_dropout_and_all(nested):
    found = gradients(tapegrad.checkpoint, nested)
    assert all(map(torch.equal, found, gradients(plain, nested)))


def torchs(f, *args):
    return torch.utils.checkpoint.checkpoint(f, *args, use_reentrant=False)


BY_FUNCTION = hasattr(torch.utils.checkpoint, "_NoopSaveInputs")  # early torch: a Function is given the arguments


@pytest.mark.skipif(BY_FUNCTION, reason="this torch gives the arguments to a Function: refused, see below")
@pytest.mark.parametrize("nested", [False, True])
def test_torchs_gives_the_same_bits(nested):
    assert all(map(torch.equal, gradients(tapegrad.checkpoint, nested), gradients(torchs, nested)))


@pytest.mark.skipif(not BY_FUNCTION, reason="in this torch it works, see above")
def test_torchs_is_refused_where_it_gives_arguments_to_a_function():
    with pytest.raises(MissingRule, match=r"use tapegrad\.checkpoint"):
        gradients(torchs)


def test_it_runs_again_once_in_the_backward_pass():
    runs = []

    def f(x, scale=1.0):
        runs.append(scale)
        return x.exp().tanh() * scale

    x = ours(randn(3))
    y = tapegrad.checkpoint(f, x, scale=2.0, use_reentrant=False).sum()
    assert runs == [2.0]
    y.backward(retain_graph=True)
    assert runs == [2.0] * 2
    y.backward()
    assert runs == [2.0] * 3
    t = randn(3).requires_grad_()
    (2 * (t.exp().tanh() * 2)).sum().backward()
    assert torch.equal(x.grad, t.grad)
    with torch.no_grad():
        tapegrad.checkpoint(f, x)
    assert len(runs) == 4


def test_what_was_saved_is_not_kept():
    seen = []

    def f(x):
        h = x.exp()
        seen.append(weakref.ref(h.data))
        return h.sin()

    x = ours(randn(3))
    kept = f(x)
    assert seen.pop()() is not None
    y = tapegrad.checkpoint(f, x)
    assert seen[0]() is None
    y.sum().backward()
    gc.collect()
    assert seen[1]() is None  # what was computed again is forgotten again, though y lives
    del kept


def test_second_order():
    def second(checkpoint):
        x = ours(randn(3))
        (g,) = tapegrad.grad(checkpoint(lambda t: t.exp() * t.sin(), x).sum(), x, create_graph=True)
        g.square().sum().backward()
        return x.grad

    assert torch.allclose(second(tapegrad.checkpoint), second(plain), rtol=1e-12)


def test_several_results_and_closures():
    w, x = ours(randn(3)), ours(randn(3, seed=1))
    outside = w.exp()

    def f(pair):
        return {"a": pair[0] * outside, "b": pair[1] + w}, 3

    found, three = tapegrad.checkpoint(f, (x, x * 2))
    assert three == 3
    (found["a"] * found["b"]).sum().backward()
    grads = w.grad, x.grad
    w.grad = x.grad = None
    (x * w.exp() * (x * 2 + w)).sum().backward()
    assert all(map(torch.equal, grads, (w.grad, x.grad)))


def test_arguments_that_come_to_stand_for_something_else():
    x = ours(randn(3))
    h = x * 2
    y = tapegrad.checkpoint(torch.exp, h)
    h += 1
    (y.sum() + h.sum()).backward()
    assert torch.equal(x.grad, (x.data * 2).exp() * 2 + 2)


def test_changes_since_are_refused():
    x, w = ours(randn(3)), ours(randn(3))
    for change in (x.data, w.data):
        y = tapegrad.checkpoint(lambda t: t * w.exp(), x * 1).sum() if change is w.data else None
        y = y if y is not None else tapegrad.checkpoint(torch.exp, x).sum()
        change.add_(1)
        with pytest.raises(StaleTensor, match=r"checkpoint: .* changed in place"):
            y.backward()


def test_other_ops_are_refused():
    turns = []

    def f(x):
        turns.append(1)
        return x.exp() if len(turns) == 1 else x.exp().sin()

    y = tapegrad.checkpoint(f, ours(randn(3))).sum()
    with pytest.raises(RuntimeError, match="must compute the same"):
        y.backward()


def test_autocast_is_as_it_was():
    x, w = ours(randn(3, 3).float()), ours(randn(3, 3).float())
    found = []
    for checkpoint in (plain, tapegrad.checkpoint):
        x.grad = w.grad = None
        with torch.autocast("cpu", torch.bfloat16):
            y = checkpoint(lambda a, b: (a @ b).tanh() @ b, x, w)
        y.float().sum().backward()
        found.append((x.grad, w.grad))
    assert all(map(torch.equal, *found))


def test_many_times_over():
    """Walks that come again are written out: with a checkpoint in them they are not."""
    x = ours(randn(3))
    for _ in range(60):
        x.grad = None
        tapegrad.checkpoint(lambda t: t.exp().sin(), x).sum().backward()
    assert torch.equal(x.grad, x.data.exp().cos() * x.data.exp())


def test_what_was_not_kept_cannot_be_looked_at():
    y = tapegrad.checkpoint(torch.exp, ours(randn(3))).sum()
    assert "exp" in str(tapegrad.tape(y))
    with pytest.raises(RuntimeError, match="without checkpoint"):
        tapegrad.compare(y)


def test_torchs_reentrant_kind_names_ours():
    with tapegrad.recording():
        h = block()(torch.randn(2, 4))
        with pytest.raises(MissingRule, match=r"use tapegrad\.checkpoint"):
            torch.utils.checkpoint.checkpoint(block(), h, use_reentrant=True)
