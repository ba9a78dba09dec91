"""``torch.autocast``: losses to the bit, dtypes as torch's, gradients within the rounding of the lower precision."""

from __future__ import annotations

import contextlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tapegrad
from tapegrad import Tensor
from tests.helpers import randn

BF16 = torch.bfloat16


def floats(*shape, seed=0):
    return randn(*shape, seed=seed).float()


def nested(x, w):
    h = x @ w
    with torch.autocast("cpu", enabled=False):
        h = (h.float() @ w).exp()
    return h @ w


def block(x, w):
    h = F.layer_norm(F.linear(x, w), (4,))
    return F.cross_entropy(torch.relu(h) @ w, torch.arange(3) % 4)


FORMS = {
    "linear": lambda x, w: F.linear(x, w, w[0]),
    "linear, batches": lambda x, w: F.linear(x.expand(2, 3, 4), w),
    "matmul": lambda x, w: x @ w,
    "matmul, vector": lambda x, w: torch.matmul(x[0], w),
    "mm": torch.mm,
    "bmm": lambda x, w: torch.bmm(x.expand(2, 3, 4), w.expand(2, 4, 4)),
    "addmm": lambda x, w: torch.addmm(w[0], x, w),
    "baddbmm": lambda x, w: torch.baddbmm(w[0], x.expand(2, 3, 4), w.expand(2, 4, 4)),
    "einsum": lambda x, w: torch.einsum("ij,jk->ik", x, w),
    "conv1d": lambda x, w: F.conv1d(x.view(1, 3, 4), w[:, :3].reshape(4, 3, 1)),
    "conv2d": lambda x, w: F.conv2d(x.view(1, 1, 3, 4), w.view(4, 1, 2, 2)),
    "conv_transpose2d": lambda x, w: F.conv_transpose2d(x.view(1, 1, 3, 4), w.view(1, 4, 2, 2)),
    "attention": lambda x, w: F.scaled_dot_product_attention(x[None, None], w[None, None], w[None, None]),
    "cross_entropy": lambda x, w: F.cross_entropy(x @ w, torch.arange(3)),
    "mse_loss": lambda x, w: F.mse_loss(x @ w, x),
    "bce_with_logits": lambda x, w: F.binary_cross_entropy_with_logits(x @ w, torch.ones(3, 4)),
    "layer_norm": lambda x, w: F.layer_norm(x @ w, (4,), w[0], w[1]),
    "batch_norm": lambda x, w: F.batch_norm(x @ w, None, None, w[0], w[1], training=True),
    "group_norm": lambda x, w: F.group_norm(x @ w, 2, w[0], w[1]),
    "softmax": lambda x, w: F.softmax(x @ w, -1),
    "cat": lambda x, w: torch.cat([x @ w, x]),
    "stack": lambda x, w: torch.stack([x @ w, x]),
    "prod": lambda x, w: (x @ w).prod(),
    "tied": lambda x, w: (x @ w) @ w,
    "nested": nested,
    "block": block,
}  # fmt: skip


def evaluate(form, mode, requires):
    x, w = floats(3, 4), floats(4, 4, seed=1)
    leaves = [t.requires_grad_() for t in (x, w)] if requires == "torch" else [tapegrad.tensor(t, True) for t in (x, w)]
    with mode():
        with torch.autocast("cpu", BF16):
            out = FORMS[form](*leaves)
        out.float().square().sum().backward()
    return out, [t.grad for t in leaves]


@pytest.mark.parametrize("way", ["recording", "tensors"])
@pytest.mark.parametrize("form", FORMS)
def test_values_to_the_bit_and_gradients_within_rounding(form, way):
    theirs, their_grads = evaluate(form, contextlib.nullcontext, "torch")
    if way == "recording":
        ours, our_grads = evaluate(form, tapegrad.recording, "torch")
    else:
        ours, our_grads = evaluate(form, contextlib.nullcontext, "ours")
    assert type(ours) is Tensor
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours.data, theirs.detach())
    for a, b in zip(our_grads, their_grads, strict=True):
        assert a.dtype == b.dtype == torch.float32
        assert (a - b).abs().max() <= 2**-6 * b.abs().max()


def train(model):
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    losses = []
    for _ in range(5):
        x, y = torch.randn(8, 4, generator=generator), torch.randint(0, 3, (8,), generator=generator)
        optimizer.zero_grad()
        with torch.autocast("cpu", BF16):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return losses, scaler.get_scale()


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))


def test_a_loop_with_a_grad_scaler():
    theirs, scale = train(mlp())
    with tapegrad.recording():
        ours, our_scale = train(mlp())
    assert ours[0] == theirs[0]
    assert our_scale == scale
    assert ours == pytest.approx(theirs, rel=0.02)


def test_backward_inside_autocast_works_in_the_dtypes_of_the_forward_pass():
    x = tapegrad.tensor(floats(3, 4), requires_grad=True)
    w = tapegrad.tensor(floats(4, 4, seed=1), requires_grad=True)
    with torch.autocast("cpu", BF16):
        with torch.autocast("cpu", enabled=False):
            out = (x @ w).square().sum()
        out.backward()
        assert torch.is_autocast_enabled("cpu")
        found = x.grad
        (again,) = tapegrad.grad(((x @ w).float() ** 2).sum(), x)
    a, b = floats(3, 4).requires_grad_(), floats(4, 4, seed=1)
    (a @ b).square().sum().backward()
    assert torch.equal(found, a.grad)
    assert again.dtype == torch.float32


def test_float64_and_no_grad_and_what_is_not_concerned():
    x = tapegrad.tensor(randn(3, 3), requires_grad=True)
    y = tapegrad.tensor(floats(3, 3), requires_grad=True)
    with torch.autocast("cpu", BF16):
        assert (x @ x).dtype == torch.float64
        assert (y + y).dtype == torch.float32
        with torch.no_grad():
            assert (y @ y).dtype == BF16
        assert (y.detach().data @ y).dtype == BF16
    assert (y @ y).dtype == torch.float32


def test_a_rule_that_comes_later_runs_as_it_is_given():
    @tapegrad.rule(a=lambda g, b: g @ b.t(), b=lambda g, a: a.t() @ g)
    def product(a, b):
        return a @ b

    y = tapegrad.tensor(floats(3, 3), requires_grad=True)
    with torch.autocast("cpu", BF16):
        out = product(y, y)
    out.float().sum().backward()
    assert y.grad.shape == (3, 3)
