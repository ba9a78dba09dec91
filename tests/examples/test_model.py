"""The model, and the gradients by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from examples.makemore import manual, model
from tests.examples.small import parameters


def test_parameters_start_where_the_lectures_do():
    C, W1, b1, W2, b2, bngain, bnbias = model.init_parameters(27, 64, torch.Generator().manual_seed(7), torch.float32)
    g = torch.Generator().manual_seed(7)
    assert torch.equal(C, torch.randn((27, 10), generator=g))
    assert torch.equal(W1, torch.randn((30, 64), generator=g) * (5 / 3) / (30**0.5))
    assert torch.equal(b1, torch.randn(64, generator=g) * 0.1)
    assert torch.equal(W2, torch.randn((64, 27), generator=g) * 0.1)
    assert torch.equal(b2, torch.randn(27, generator=g) * 0.1)
    assert torch.equal(bngain, torch.randn((1, 64), generator=g) * 0.1 + 1.0)
    assert torch.equal(bnbias, torch.randn((1, 64), generator=g) * 0.1)


@pytest.mark.parametrize("batch", [2, 8])
def test_three_forward_passes_agree(data, batch):
    start, g = parameters(data)
    Xb, Yb = model.draw_batch(data.train, batch, g)
    long, short = model.forward(start, Xb, Yb), model.training_forward(start, Xb, Yb)
    torch.testing.assert_close(long.loss, short.loss)
    torch.testing.assert_close(long.hpreact, short.hpreact)
    torch.testing.assert_close(model.predict(start, short.bnmean, short.bnvar, Xb), short.logits)
    torch.testing.assert_close(F.cross_entropy(long.logits, Yb), long.loss)


@pytest.mark.parametrize("batch", [2, 5, 64])
@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_by_hand(data, batch, seed):
    start, g = parameters(data, seed=seed)
    Xb, Yb = model.draw_batch(data.train, batch, g)
    by_hand = manual.gradients(model.training_forward(start, Xb, Yb))
    leaves = [p.clone().requires_grad_() for p in start]
    expected = torch.autograd.grad(model.training_forward(leaves, Xb, Yb).loss, leaves)
    for name, ours, theirs in zip(model.PARAMETERS, by_hand, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12, msg=lambda m, name=name: f"{name}: {m}")
