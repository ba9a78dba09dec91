"""Devices and types: meta tensors record without memory; half precision, and other devices where there are any."""

from __future__ import annotations

import ast

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tests.helpers import ROOT, assert_same, ours, randn, raw, theirs

DEVICES = ["cpu", "meta", *(["cuda"] if torch.cuda.is_available() else [])]


def network(x, w, b, y):
    """Ops of every family."""
    h = torch.tanh(x @ w + b)
    h = (h - h.mean(0, keepdim=True)) / (h.var(0, keepdim=True) + 1e-5).sqrt()
    h = torch.cat([h, h.max(1, keepdim=True).values], 1)[:, [0, 1, 1, 2]]
    h[:, 0] = h[:, 1] * 2
    return F.cross_entropy(h.view(-1, 4), y) + (h[y == 1].sum() if h.device.type != "meta" else h[y].sum())


def leaves(wrap, device, dtype=torch.float32):
    return [wrap(randn(*s, seed=k).to(dtype).to(device)) for k, s in enumerate([(5, 3), (3, 2), (2,)])]


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_stay_on_their_device(device):
    y = torch.tensor([0, 1, 2, 3, 1], device=device)
    mine = leaves(lambda t: tapegrad.tensor(t, requires_grad=True), device)
    loss = network(*mine, y)
    loss.backward()
    for p in mine:
        assert p.grad.device.type == p.device.type == device
        assert p.grad.shape == p.shape
        assert p.grad.dtype is p.dtype
    yours = leaves(lambda t: t.requires_grad_(), device)
    network(*yours, y).backward()
    if device != "meta":
        for p, q in zip(mine, yours, strict=True):
            assert torch.allclose(p.grad, q.grad, rtol=1e-4, atol=1e-6)


def test_meta_tensors_take_no_memory():
    """A matrix of a terabyte, there and back."""
    w = tapegrad.tensor(torch.empty(1_000_000, 1_000_000, device="meta"), requires_grad=True)
    x = torch.empty(1_000_000, device="meta")
    loss = ((w @ x).tanh() ** 2).mean()
    tape = tapegrad.tape(loss)
    assert "matmul" in str(tape)
    assert "(1000000, 1000000)" in str(tape)
    loss.backward()
    assert w.grad.is_meta
    assert w.grad.shape == (1_000_000, 1_000_000)


def test_gradients_cross_devices():
    """``to(device)`` takes the gradient back."""
    x = ours(randn(3))
    y = x.to("meta")
    assert y.device.type == "meta"
    (y * 2).sum().backward(torch.ones((), dtype=torch.float64, device="meta"), inputs=[y])
    assert y.grad.device.type == "meta"
    with pytest.raises((RuntimeError, NotImplementedError)):  # a meta tensor has no values to take back
        x.to("meta").sum().backward()


@pytest.mark.parametrize("device", [d for d in DEVICES if d != "cpu"])
def test_a_number_may_come_from_another_device(device):
    """As in torch: a cotangent of no dimension goes where its tensor is, and so do gradients of numbers."""
    x = tapegrad.tensor(torch.ones(3, device=device), requires_grad=True)
    (x * 2).sum().backward(torch.ones(()))
    assert x.grad.device.type == device
    s = ours(torch.tensor(2.0))
    if device != "meta":  # from which nothing can be taken back
        for _ in range(30):  # on the written road as well
            s.grad = None
            (x * s).sum().backward()
        assert torch.equal(s.grad, torch.tensor(3.0))
        assert tapegrad.grad((x * s).sum(), s)[0].device.type == "cpu"


@pytest.mark.parametrize("device", [d for d in DEVICES if d != "cpu"])
def test_a_cotangent_on_another_device_is_refused(device):
    x = ours(randn(3))
    with pytest.raises(RuntimeError, match=f"on cpu, got .* on {device}"):
        (x * 2).backward(torch.ones(3, dtype=torch.float64, device=device))


def test_cuda_without_a_device_is_torchs_own_error():
    x = ours(randn(3))
    if torch.cuda.is_available():
        assert x.cuda().device.type == "cuda"
    else:
        with pytest.raises((AssertionError, RuntimeError), match=r"CUDA|NVIDIA"):
            x.cuda()


HALF = {
    "arithmetic": lambda x, y: (x + y) * x / (y * y + 1) - y,
    "tanh": lambda x, y: torch.tanh(x) * y,
    "matmul": lambda x, y: x @ y.T,
    "sums": lambda x, y: (x * y).sum(0) + x.mean(1, keepdim=True),
    "indexing": lambda x, y: x[[0, 2, 0]] * y[:, :1],
    "softplus by hand": lambda x, y: (x.exp() + 1).log() * y,
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", HALF)
def test_half_precision(name, dtype):
    """Values as torch's; gradients within a few roundings, for torch's kernels round less often."""
    results = []
    for wrap in (ours, theirs):
        x, y = (wrap(randn(3, 3, seed=k).to(dtype)) for k in (1, 2))
        out = HALF[name](x, y)
        out.backward(torch.ones(out.shape, dtype=dtype))
        results.append(([raw(out)], [x.grad, y.grad]))
    assert_same(results[0][0], results[1][0], "value")
    assert_same(
        results[0][1], results[1][1], "gradient", rtol=8 * torch.finfo(dtype).eps, atol=8 * torch.finfo(dtype).eps
    )


def test_log_sigmoid_need_not_hand_out_its_exponential(monkeypatch):
    """It does on the CPU alone."""
    monkeypatch.setattr(torch.ops.aten, "log_sigmoid_forward", lambda x: (F.logsigmoid(x), x.new_empty(0)))
    y = torch.tensor([0, 2, -100])
    for loss in (
        lambda x: F.logsigmoid(x).sum(),
        lambda x: F.cross_entropy(x, y),
        lambda x: F.cross_entropy(x, y.abs() % 3),
    ):
        mine, yours = ours(randn(3, 3)), theirs(randn(3, 3))
        loss(mine).backward()
        loss(yours).backward()
        assert torch.allclose(mine.grad, yours.grad, rtol=1e-12)


# --- what is made, is made where its tensors are ---

MAKERS = "arange empty eye full linspace ones rand randint randn tensor tril_indices triu_indices zeros".split()
# What torch takes on any device, or what is not put beside a tensor at all.
ANYWHERE = {
    "torch.arange(first * second)",  # an index, moved to where it is used
    "torch.arange(data.shape[0])",
    "torch.empty(0)",  # asked for its dtype
    "torch.empty(1)",  # asked how references are counted
    "torch.tensor(data)",  # a user's
    "torch.tensor(factor)",  # numbers
    "torch.tensor(number, dtype=torch.float32)",
    "torch.zeros(2)",  # asked how views are counted
}


def made_anywhere(text: str) -> list[str]:
    """The calls of a source that make a tensor of one dimension or more and do not say where."""
    calls = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
    made = [n for n in calls if ast.unparse(n.func) in {f"torch.{name}" for name in MAKERS}]
    bare = [n for n in made if "device" not in {k.arg for k in n.keywords} and ast.unparse(n.args[0]) != "()"]
    return [text for n in bare if (text := ast.unparse(n)) not in ANYWHERE]


@pytest.mark.parametrize("layer", ["engine", "rules", "kernels", "torch_api", "transforms", "nn"])
def test_nothing_is_made_on_the_default_device(layer):
    files = sorted((ROOT / "tapegrad" / layer).rglob("*.py"))
    assert files
    assert {p.name: found for p in files if (found := made_anywhere(p.read_text(encoding="utf-8")))} == {}


def test_what_is_made_on_the_default_device_is_found():
    assert made_anywhere("i = torch.arange(n) + torch.zeros(3, device=x.device)") == ["torch.arange(n)"]
