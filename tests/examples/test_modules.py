"""Modules trained from the command line: they learn, end as torch's do, and go on from where they stopped."""

from __future__ import annotations

import pytest
import torch

from examples.makemore.checkpoint import FILE_NAME
from examples.makemore.modules import MODULES

EXACT = {"mlp", "wavenet", "bigram", "bow"}  # cells and attention are so within a bound


def train(run, small, out, *words, model="mlp", steps=20):
    words = ("--names", small, "--out", out, "--model", model, "--steps", steps, "--hidden", 8, "--batch", 8, *words)
    code, said, error = run("train", *words)
    assert code == 0, error
    return torch.load(out / FILE_NAME, weights_only=True), said


def tensors_in(tree):
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, dict):
        for key in sorted(tree, key=str):
            yield from tensors_in(tree[key])
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            yield from tensors_in(item)


@pytest.mark.parametrize("model", MODULES)
def test_it_ends_as_torchs_does(run, small, tmp_path, model):
    """Of what is not exact, the losses: AdamW steps by the noise in a gradient that is 0, as that of a key's bias."""
    ours, theirs = (train(run, small, tmp_path / e, "--engine", e, model=model)[0] for e in ("tapegrad", "torch"))
    if model in EXACT:
        assert all(torch.equal(a, b) for a, b in zip(tensors_in(ours), tensors_in(theirs), strict=True))
    else:
        torch.testing.assert_close(ours["losses"], theirs["losses"], rtol=1e-4, atol=1e-5)


def test_it_goes_on_to_the_same_bits(run, small, tmp_path):
    whole, _ = train(run, small, tmp_path / "whole", steps=30)
    train(run, small, tmp_path / "parts", steps=12)
    parts, _ = train(run, small, tmp_path / "parts", "--resume", steps=30)
    assert all(torch.equal(a, b) for a, b in zip(tensors_in(whole), tensors_in(parts), strict=True))


def test_it_learns_and_draws_names(run, small, tmp_path):
    stored, _ = train(run, small, tmp_path, "--optimizer", "sgd", steps=150)
    losses = stored["losses"]
    assert losses[-20:].mean() < losses[:20].mean()
    code, said, _ = run("sample", "--out", tmp_path)
    assert code == 0
    assert len(said.splitlines()) >= 20
