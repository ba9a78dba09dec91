"""Training."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from examples.makemore import model, names, sample
from examples.makemore import train as training
from examples.makemore.errors import UserError
from tests.examples.small import CPU, PNG, config, parameters


def test_training_is_the_lectures_loop(data):
    steps, seed, batch, hidden = 5, 11, 6, 9
    g = torch.Generator().manual_seed(seed)
    expected = [p.requires_grad_() for p in model.init_parameters(data.vocab_size, hidden, g, torch.float32)]
    losses = []
    for i in range(steps):
        ix = torch.randint(0, len(data.train[1]), (batch,), generator=g)
        loss = model.training_forward(expected, data.train[0][ix], data.train[1][ix]).loss
        for p, grad in zip(expected, torch.autograd.grad(loss, expected), strict=True):
            p.data += -(0.1 if i in (0, 1, 2) else 0.01) * grad
        losses.append(loss.item())
    trained, lossi = training.train(data, config("torch", hidden, batch, steps, seed))
    assert lossi == losses
    assert all(torch.equal(a, b) for a, b in zip(trained, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("hidden", "batch", "steps"), [(64, 32, 200), (200, 32, 200), (7, 2, 50)])
def test_tapegrad_and_torch_end_bit_equal(data, dtype, hidden, batch, steps):
    ours, our_losses = training.train(data, config("tapegrad", hidden, batch, steps, dtype=dtype))
    theirs, their_losses = training.train(data, config("torch", hidden, batch, steps, dtype=dtype))
    assert our_losses == their_losses
    for name, a, b in zip(model.PARAMETERS, ours, theirs, strict=True):
        assert torch.equal(a, b), name
        assert a.dtype is dtype


def test_by_hand_ends_close_to_torch(data):
    ours, our_losses = training.train(data, config("manual", steps=200, dtype=torch.float64))
    theirs, their_losses = training.train(data, config("torch", steps=200, dtype=torch.float64))
    assert our_losses == pytest.approx(their_losses, rel=1e-9)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_training_learns(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("anna\n" * 20, encoding="utf-8")
    data = names.load_data(path, CPU)
    trained, losses = training.train(data, config(steps=300))
    calibrated = training.calibrate(data, trained, config())
    assert training.split_loss(calibrated, data.test) < 0.05 < 1.0 < losses[0]
    assert sample.sample(calibrated, 0).count("anna") > 15


@pytest.mark.parametrize("engine", ["tapegrad", "manual"])
def test_no_training_but_torchs_calls_torch_autograd(data, engine, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("torch.autograd was called")

    monkeypatch.setattr(torch.autograd, "backward", refuse)
    monkeypatch.setattr(torch.autograd, "grad", refuse)
    trained, _ = training.train(data, config(engine, steps=3))
    assert not any(p.requires_grad for p in trained)
    with pytest.raises(AssertionError, match=r"torch\.autograd was called"):
        training.train(data, config("torch", steps=3))


def test_training_gives_the_threads_back(data, monkeypatch):
    during = []
    monkeypatch.setattr(training, "training_forward", lambda *_: during.append(torch.get_num_threads()))
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(AttributeError):  # the stand-in returns no loss
            training.train(data, config())
        assert (during, torch.get_num_threads()) == ([1], 3)
    finally:
        torch.set_num_threads(threads)


def test_divergence_is_reported(data, monkeypatch):
    monkeypatch.setattr(training, "init_parameters", lambda *_: [p * 1e200 for p in parameters(data)[0]])
    with pytest.raises(UserError, match="diverged"):
        training.train(data, config())


def test_calibration_and_split_loss(data, monkeypatch):
    trained = parameters(data)[0]
    calibrated = training.calibrate(data, trained, config())
    X, Y = data.train
    whole = model.training_forward(trained, X, Y)  # the training set as one batch
    torch.testing.assert_close(calibrated.bnmean, whole.bnmean)
    torch.testing.assert_close(calibrated.bnvar, whole.bnvar)
    monkeypatch.setattr(training, "CHUNK", 7)
    assert training.split_loss(calibrated, data.train) == pytest.approx(whole.loss.item(), rel=1e-12)
    expected = F.cross_entropy(calibrated(data.val[0]), data.val[1]).item()
    assert training.split_loss(calibrated, data.val) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("steps", [1, 199, 450])
def test_loss_curve(tmp_path, steps):
    path = tmp_path / "loss.png"
    training.plot_losses([2.0 + 1 / (i + 1) for i in range(steps)], path)
    assert path.read_bytes().startswith(PNG)
