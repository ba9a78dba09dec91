"""``as_torch``: a recorded forward pass is one function of torch's graph."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import tapegrad
from tapegrad import MissingRule, Tensor
from tests.helpers import randn


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 2))


def grads(module: nn.Module) -> list[torch.Tensor]:
    return [p.grad for p in module.parameters()]


def same(a, b) -> bool:
    return len(a) == len(b) and all(map(torch.equal, a, b))


def batch(requires_grad=False):
    return randn(5, 3).float().requires_grad_(requires_grad)


def test_a_module_is_a_module():
    ours, theirs = tapegrad.as_torch(mlp()), mlp()
    x, y = batch(True), batch(True)
    torch.manual_seed(1)
    theirs(y).square().sum().backward()
    torch.manual_seed(1)
    out = ours(x)
    assert type(out) is torch.Tensor
    assert out.grad_fn is not None
    out.square().sum().backward()
    assert same(grads(ours), grads(theirs))
    assert torch.equal(x.grad, y.grad)
    assert same(list(ours.module.state_dict().values()), list(theirs.state_dict().values()))
    with torch.no_grad():
        assert ours(x).grad_fn is None


def test_a_function_of_structures():
    @tapegrad.as_torch
    def f(pair, scale=1.0):
        """What it says."""
        return {"sum": pair["a"] + pair["b"] * scale, "constant": torch.ones(2), "same": pair["a"]}, 3

    a, b = randn(3).requires_grad_(), randn(3).requires_grad_()
    found, three = f({"a": a, "b": b}, scale=2.0)
    assert f.__doc__ == "What it says."
    assert three == 3
    assert found["same"] is a
    assert not found["constant"].requires_grad
    found["sum"].sum().backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([1.0] * 3, [2.0] * 3)


def test_outputs_that_are_not_used():
    f = tapegrad.as_torch(lambda x: (x * 2, x.exp()))
    x = randn(3).requires_grad_()
    f(x)[0].sum().backward()
    assert x.grad.tolist() == [2.0] * 3


def test_gradients_stop_where_they_are_not_wanted():
    model = tapegrad.as_torch(mlp())
    model.module[0].requires_grad_(False)
    model(batch()).sum().backward()
    assert model.module[0].weight.grad is None
    assert model.module[3].weight.grad is not None
    (g,) = torch.autograd.grad(model(batch()).sum(), model.module[3].bias)
    assert g.tolist() == [5.0, 5.0]


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_torchs_checkpoint_computes_again(use_reentrant):
    runs = []
    ours, theirs, inner = mlp(), mlp(), mlp()
    inner.register_forward_hook(lambda *_: runs.append(torch.is_grad_enabled()))
    block = tapegrad.as_torch(inner)
    losses = []
    for module in (block, theirs):
        torch.manual_seed(1)
        x = batch(True)
        loss = checkpoint(module, x, use_reentrant=use_reentrant).square().sum()
        loss.backward()
        losses.append((loss, x.grad))
    assert runs == [not use_reentrant, True]
    assert same(losses[0], losses[1])
    assert same(grads(block), grads(theirs))
    assert ours is not block


def test_non_reentrant_checkpoint_frees_what_was_saved():
    kept = []
    block = tapegrad.as_torch(lambda x: x.exp().tanh().sin())
    x = randn(3).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape), lambda t: t):
        block(x)
    assert len(kept) >= 3  # torch is asked to save them, and nobody else has them


def test_a_grad_scaler():
    ours, theirs = tapegrad.as_torch(mlp()).eval(), mlp().eval()
    for model in (ours, theirs):
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            scaler.scale(model(batch()).square().mean()).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
    assert same(list(ours.parameters()), list(theirs.parameters()))


def test_hooks_of_modules_are_run():
    seen = []
    model = tapegrad.as_torch(nn.Linear(3, 2))
    model.register_full_backward_hook(lambda m, into, out: seen.append((into[0].shape, out[0].shape)))
    model.register_forward_hook(lambda m, args, out: out * 2)
    model(batch(True)).sum().backward()
    assert seen == [((5, 3), (5, 2))]
    assert model.module.bias.grad.tolist() == [10.0, 10.0]


def test_second_order_is_refused():
    x = randn(3).requires_grad_()
    with pytest.raises(RuntimeError, match=r"cannot be differentiated again.*tapegrad\.grad"):
        torch.autograd.grad(tapegrad.as_torch(torch.exp)(x).sum(), x, create_graph=True)


def test_it_can_be_walked_twice_if_retained():
    x = randn(3).requires_grad_()
    y = tapegrad.as_torch(lambda t: t.exp() * t)(x).sum()
    y.backward(retain_graph=True)
    first = x.grad.clone()
    y.backward()
    assert torch.equal(x.grad, 2 * first)
    with pytest.raises(RuntimeError, match="a second time"):
        y.backward()


def test_a_change_of_what_was_saved_is_noticed():
    p = nn.Parameter(randn(3))
    y = tapegrad.as_torch(lambda t: t * p.exp() * p)(randn(3)).sum()
    with torch.no_grad():
        p.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_leaves_of_ours_and_functions_without_a_rule_are_refused():
    w = tapegrad.tensor(randn(3), requires_grad=True)
    with pytest.raises(MissingRule, match=r"torch\.nn\.Parameter\(t\.data\)"):
        tapegrad.as_torch(lambda x: x * w)(randn(3).requires_grad_())
    with pytest.raises(MissingRule, match="igammac"):
        tapegrad.as_torch(lambda x: torch.igammac(x, x))(randn(3).requires_grad_())


def test_inside_recording_it_does_nothing():
    model = tapegrad.as_torch(mlp().eval())
    theirs = mlp().eval()
    theirs(batch()).sum().backward()
    with tapegrad.recording():
        out = model(batch())
        assert type(out) is Tensor
        out.sum().backward()
    assert same(grads(model), grads(theirs))


def test_batch_normalization_copies_and_state():
    ours = tapegrad.as_torch(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
    twin = copy.deepcopy(ours)
    F.mse_loss(ours(batch()), torch.zeros(5, 4)).backward()
    twin.load_state_dict(ours.state_dict())
    assert int(twin.module[1].num_batches_tracked) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        twin(batch()).sum().backward()
