"""What training code calls besides torch.nn and torch.optim."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tapegrad
from tapegrad import Tensor
from tests.helpers import ours, randn


def loaded(value, **options):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, **options)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_inside(workers):
    data = TensorDataset(torch.arange(8.0).view(8, 1), torch.arange(8))
    with tapegrad.recording():
        batches = list(DataLoader(data, batch_size=4, num_workers=workers))
    assert [type(t) for t in batches[0]] == [torch.Tensor] * 2
    assert torch.equal(torch.cat([x for x, _ in batches]), data.tensors[0])


def test_a_data_loader_of_tensors():
    x = ours(randn(4, 3))
    (batch, labels), _ = DataLoader(TensorDataset(x.detach(), torch.arange(4)), batch_size=2)
    assert type(batch) is Tensor
    assert torch.equal(batch.data, x.data[:2])
    assert labels.tolist() == [0, 1]
    for batch, _ in DataLoader([(x[i], i) for i in range(4)], batch_size=2):
        batch.sum().backward()
    assert x.grad.tolist() == [[1.0] * 3] * 4


@pytest.mark.parametrize("weights_only", [True, False])
def test_tensors_are_saved_and_loaded(weights_only):
    w = ours(randn(3))
    model = nn.Linear(2, 2)
    found = loaded({"w": w, "list": [w.detach()], "model": model.state_dict()}, weights_only=weights_only)
    assert torch.equal(found["w"].data, w.data)
    assert found["w"].requires_grad
    assert not found["list"][0].requires_grad
    (found["w"] * 2).sum().backward()
    assert found["w"].grad.tolist() == [2.0] * 3
    assert w.grad is None


def test_copies():
    w = ours(randn(3))
    (w * 2).sum().backward()
    twin, again = copy.deepcopy([w, w])
    assert twin is again
    assert torch.equal(twin.grad, w.grad)
    assert twin.grad is not w.grad
    assert twin.data.grad is twin.grad
    twin.data += 1
    assert not torch.equal(twin.data, w.data)
    with tapegrad.recording():
        model = nn.Linear(2, 2)
        model(torch.ones(1, 2)).sum().backward()
        assert torch.equal(copy.deepcopy(model).weight, model.weight)


def test_an_averaged_model():
    model = nn.Linear(2, 2)
    with tapegrad.recording():
        averaged = torch.optim.swa_utils.AveragedModel(model)
        averaged.update_parameters(model)
        averaged(torch.ones(1, 2)).sum().backward()
    assert torch.equal(averaged.module.weight, model.weight)


def test_numbers_for_metrics():
    x = nn.Parameter(torch.ones(3))
    with tapegrad.recording():
        loss = (x * 2).sum()
        assert torch.as_tensor(loss) is loss
        assert torch.as_tensor(loss, dtype=torch.float64).dtype == torch.float64
    assert (f"{loss:.1f}", float(loss), loss.item()) == ("6.0", 6.0, 6.0)


def test_the_profiler_sees_the_kernels():
    x = ours(randn(3, 3))
    with torch.profiler.profile() as profile, torch.profiler.record_function("step"):
        (x @ x).sum().backward()
    assert {"step", "aten::mm", "aten::sum"} <= {event.key for event in profile.key_averages()}


def test_pictures_of_tracked_tensors_say_what_to_do():
    plt = pytest.importorskip("matplotlib.pyplot", reason="the examples' matplotlib is not there")
    x = ours(randn(3, 3))
    figure, axes = plt.subplots()
    for draw in (lambda: axes.plot(x.sum(1)), lambda: axes.imshow(x), lambda: axes.plot([x.sum(), x.sum()])):
        with pytest.raises(RuntimeError, match=r"t\.detach\(\)"):
            draw()
    axes.plot(x.detach().sum(1))
    axes.imshow(x.detach())
    plt.close(figure)


@pytest.mark.filterwarnings("ignore")  # of torch's compiler
def test_compiled_functions_are_recorded():
    w, x = ours(randn(3)), ours(randn(3, seed=1))
    function = torch.compile(lambda t: (t * w).tanh().sum(), backend="eager")
    for scale in (1.0, 2.0):
        with torch.no_grad():
            w.data.mul_(scale)
        w.grad = x.grad = None
        out = function(x)
        assert type(out) is Tensor
        out.backward()
        a, b = w.data.clone().requires_grad_(), x.data.clone().requires_grad_()
        (a * b).tanh().sum().backward()
        assert torch.equal(w.grad, a.grad)
        assert torch.equal(x.grad, b.grad)
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore")
def test_compiled_modules_are_recorded_inside():
    model, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(model.state_dict())
    compiled = torch.compile(model, backend="eager")
    for scale in (1.0, 2.0):
        x = torch.ones(2, 3) * scale
        with tapegrad.recording():
            compiled(x).square().sum().backward()
        theirs(x).square().sum().backward()
    assert torch.equal(model.weight.grad, theirs.weight.grad)
    torch.compiler.reset()


def test_einops():
    einops = pytest.importorskip("einops", reason="einops is not installed")
    x = ours(randn(4, 3))
    y = einops.rearrange(x, "(a b) c -> a (b c)", a=2)
    y = einops.einsum(einops.reduce(y, "a b -> b", "mean"), einops.repeat(x, "a b -> (a b)")[:6], "i, i ->")
    y.backward()
    t = x.data.clone().requires_grad_()
    (t.view(2, 6).mean(0) * t.reshape(-1)[:6]).sum().backward()
    assert torch.allclose(x.grad, t.grad)


def test_torchmetrics():
    metrics = pytest.importorskip("torchmetrics", reason="torchmetrics is not installed")
    accuracy, mean = metrics.Accuracy(task="multiclass", num_classes=3), metrics.MeanMetric()
    model, y = nn.Linear(4, 3), torch.tensor([0, 1, 2])
    with tapegrad.recording():
        out = model(torch.randn(3, 4))
        assert float(accuracy(out.softmax(-1), y)) == (out.data.argmax(1) == y).float().mean()
        mean.update(out.sum())
    assert float(mean.compute()) == pytest.approx(out.data.sum().item())


def test_pandas():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    x = ours(randn(3, 2))
    with pytest.raises(RuntimeError, match=r"t\.detach\(\)\.numpy\(\)"):
        pandas.DataFrame(x)
    assert pandas.DataFrame(x.detach()).shape == (3, 2)
