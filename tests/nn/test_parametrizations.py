"""Modules whose weights are computed, or changed: parametrizations, given inside or before, and short embeddings."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

import tapegrad


class Symmetric(torch.nn.Module):
    def forward(self, X):
        return X.triu() + X.triu(1).transpose(-1, -2)


class Positive(torch.nn.Module):
    def forward(self, X):
        return X.exp()

    def right_inverse(self, A):
        return A.clamp(min=0.1).log()


def symmetric(layer):
    torch.nn.utils.parametrize.register_parametrization(layer, "weight", Symmetric())


def twice(layer):
    symmetric(layer)
    torch.nn.utils.parametrize.register_parametrization(layer, "weight", Positive())


def assigned(layer):
    torch.nn.utils.parametrize.register_parametrization(layer, "weight", Positive())
    layer.weight = torch.rand(4, 4).to(layer.weight.dtype) + 0.5


def removed(layer):
    symmetric(layer)
    torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")


PARAMETRIZED = [
    torch.nn.utils.parametrizations.spectral_norm,
    torch.nn.utils.parametrizations.orthogonal,
    torch.nn.utils.parametrizations.weight_norm,
    symmetric,
    twice,
    assigned,
    removed,
]


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("change", PARAMETRIZED, ids=lambda f: f.__name__)
def test_a_parametrization_may_be_registered_inside(change, inside):
    def trained(recorded):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
        mode = tapegrad.recording() if recorded else nullcontext()
        if not inside:
            change(model[0])
        with mode:
            if inside:
                change(model[0])
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(5):
                loss = (model(torch.randn(8, 4, dtype=torch.float64)) ** 2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return [p.detach() for p in model.parameters()]

    for a, b in zip(trained(True), trained(False), strict=True):
        assert type(a) is torch.Tensor
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_an_embedding_with_a_largest_norm():
    def trained(recorded):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Embedding(5, 4, max_norm=1.0, padding_idx=0), torch.nn.Linear(4, 2))
        with tapegrad.recording() if recorded else nullcontext():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
            for _ in range(5):
                loss = (model(torch.randint(5, (8,))) ** 2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return [p.detach() for p in model.parameters()]

    assert all(map(torch.equal, trained(True), trained(False)))
