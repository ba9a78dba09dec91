"""The invariants of DESIGN.md: first of all, that torch.autograd takes no part.

Everything works with each entry to it made to raise, and the source has none. The others have files
of their own in tests/engine: the walk is iterative and linear (test_depth.py), what it has passed is freed
(test_lifetime.py), threads do not meet (test_threads.py), and any device and type will do (test_devices.py).
"""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tests.helpers import ours, randn
from tests.provers.networks import each_program, gradients

PACKAGE = Path(tapegrad.__file__).parent


@pytest.fixture
def without_autograd(monkeypatch):
    """Every way into torch.autograd's backward pass raises."""

    def refuse(*args, **kwargs):
        raise AssertionError("torch.autograd was called")

    monkeypatch.setattr(torch.autograd, "backward", refuse)
    monkeypatch.setattr(torch.autograd, "grad", refuse)
    monkeypatch.setattr(torch.Tensor, "backward", refuse)
    monkeypatch.setattr(torch.autograd.graph, "_engine_run_backward", refuse)
    monkeypatch.setattr(torch.autograd, "_engine_run_backward", refuse)
    monkeypatch.setattr(torch.autograd.Variable, "_execution_engine", None)
    monkeypatch.setattr(torch.autograd.Function, "apply", refuse)
    return refuse


def test_the_entries_are_closed(without_autograd):
    """The test would notice: torch's own backward cannot run."""
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(AssertionError, match="was called"):
        x.sum().backward()
    with pytest.raises(AssertionError, match="was called"):
        torch.autograd.grad(x.sum(), x)


@pytest.mark.usefixtures("without_autograd", "road")
def test_a_network_trains():
    shapes = [(27, 10), (30, 64), (64,), (64, 27), (27,), (1, 64), (1, 64)]
    parameters = [tapegrad.tensor(randn(*s, dtype=torch.float32, seed=k) * 0.1) for k, s in enumerate(shapes)]
    for p in parameters:
        p.requires_grad = True
    C, W1, b1, W2, b2, gain, bias = parameters
    Xb = torch.randint(0, 27, (32, 3), generator=torch.Generator().manual_seed(1))
    Yb = Xb[:, 0]
    losses = []
    for _ in range(5):
        emb = C[Xb]
        hprebn = emb.view(emb.shape[0], -1) @ W1 + b1
        centred = hprebn - 1 / 32 * hprebn.sum(0, keepdim=True)
        var = 1 / 31 * (centred**2).sum(0, keepdim=True)
        h = torch.tanh((1 + gain) * centred * (var + 1e-5) ** -0.5 + bias)
        h.retain_grad()
        logits = h @ W2 + b2
        counts = (logits - logits.max(1, keepdim=True).values).exp()
        logprobs = (counts * counts.sum(1, keepdims=True) ** -1).log()
        loss = -logprobs[range(32), Yb].mean() + F.cross_entropy(logits, Yb)
        for p in parameters:
            p.grad = None
        loss.backward()
        assert h.grad is not None
        for p in parameters:
            p.data += -0.5 * p.grad
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)


@pytest.mark.usefixtures("without_autograd", "road")
def test_grad_higher_orders_and_gradcheck():
    x = tapegrad.tensor(randn(3), requires_grad=True)
    (g,) = tapegrad.grad((x**3).sum(), x, create_graph=True)
    (h,) = tapegrad.grad(g.sum(), x, retain_graph=True)
    assert torch.allclose(h, 6 * x.data)
    assert tapegrad.gradcheck(torch.tanh, x, order=2)
    assert len(tapegrad.tape(g)) > 0


def test_no_result_is_on_torchs_tape():
    x = tapegrad.tensor(randn(3), requires_grad=True)
    y = F.softmax(x * 2, 0).log().sum()
    y.backward()
    for t in (x.data, y.data, x.grad):
        assert not t.requires_grad
        assert t.grad_fn is None


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def relative(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_there_is_source_to_check():
    assert {"tensor.py", "backward.py", "elementwise.py", "compare.py"} <= {path.name for path in modules()}


NAME_IT = {"inspect/compare.py", "inspect/check.py", "torch_api/functions_refused.py", "nn/leaves.py", "nn/as_torch.py"}


@pytest.mark.parametrize("path", [p for p in modules() if relative(p) not in NAME_IT], ids=relative)
def test_the_source_does_not_use_it(path):
    """Code, that is: comments, docstrings and messages may say what is not used.

    compare.py is another matter: it replays a tape on torch, to compare with the gradients that torch gives; check.py
    takes passes that ran on torch. One file
    has torch.autograd.Function refuse Tensors, and nn/ is the bridge: it hands torch's own leaves their gradients, and
    makes a torch.autograd.Function of what was recorded.
    """
    tree = ast.parse(path.read_text())
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "autograd"]
    imported = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
        if "autograd" in alias.name or "autograd" in (getattr(node, "module", None) or "")
    ]
    assert not used
    assert not imported
    words = {
        t.string for t in tokenize.generate_tokens(io.StringIO(path.read_text()).readline) if t.type == tokenize.NAME
    }
    assert not words & {"autograd", "grad_fn", "_execution_engine", "set_detect_anomaly"}


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_no_rule_calls_a_derivative_of_torchs(path):
    """The derivatives are ours: no ``aten.*_backward``, convolution's excepted; decorators name what rules are for."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    known = {"convolution_backward", "save_for_backward"}  # the latter keeps tensors, and computes nothing
    assert {n for n in names if n.endswith("_backward") and not n.startswith("_")} <= known


@pytest.mark.usefixtures("road")
@each_program
def test_no_torch_autograd(parameters, loss_of, monkeypatch):
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("torch.autograd was called")

    monkeypatch.setattr(torch.autograd, "backward", refuse)
    monkeypatch.setattr(torch.autograd, "grad", refuse)
    _, grads = gradients(parameters, loss_of, ours, torch.float32)
    assert all(g is not None for g in grads.values())
