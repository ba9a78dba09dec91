"""Ctrl-C at any moment: all leaves have got their gradient or none, and recording is on as before."""

from __future__ import annotations

import ast
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad.engine import backward as engine_backward

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers"),
    # One that falls into a callback of the garbage collector is dropped by Python, with this; the next comes soon.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def interrupted_backwards(runs: int, leaves: int = 12) -> list[str]:
    """What is wrong after each of many backward passes, interrupted at random moments; at best nothing."""
    moments = random.Random(0)
    loss_of = lambda: sum((p * 2.0).sum() for p in parameters)
    parameters = [tapegrad.tensor(torch.full((2, 2), float(i)), requires_grad=True) for i in range(leaves)]
    wrong = []
    hits = 0

    times = []
    for _ in range(40):
        loss = loss_of()
        start = perf_counter()
        loss.backward()
        times.append(perf_counter() - start)
    usual = sorted(times)[20]

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for k in range(runs):
            for i, p in enumerate(parameters):  # half of them have a gradient to add to, half have none
                p.grad = torch.ones(2, 2) if i % 2 else None
            loss = loss_of()
            try:
                signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-6, 1.3 * usual), 0.5)
                loss.backward()
                while True:  # the timer goes off here, if not before
                    pass
            except KeyboardInterrupt:
                pass
            got = [(p.grad.sum().item() if p.grad is not None else 0.0) for p in parameters]
            none, every = [4.0 * (i % 2) for i in range(leaves)], [8.0 + 4.0 * (i % 2) for i in range(leaves)]
            hits += got == none
            if got not in (none, every):
                wrong.append(f"run {k}: some leaves have a gradient, others not: {got}")
            if not torch.is_grad_enabled():
                wrong.append(f"run {k}: grad mode is off")
                torch.set_grad_enabled(True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert hits > runs // 20, "the interrupts came too late to tell"
    return wrong


def test_all_leaves_or_none_and_recording_as_before(monkeypatch):
    assert interrupted_backwards(3000) == []


def test_a_loop_over_leaves_would_be_found(monkeypatch):
    def one_by_one(gradients):
        for leaf, g in gradients.items():
            leaf.grad = g if leaf.grad is None else leaf.grad + g

    monkeypatch.setattr(engine_backward, "accumulate", one_by_one)
    assert any("others not" in what for what in interrupted_backwards(600, leaves=60))


def test_a_mode_that_is_set_before_the_try_would_be_found(monkeypatch):
    whole = tapegrad.Tensor.backward

    def careless(self):
        torch._C._set_grad_enabled(False)
        for _ in range(50):
            pass
        try:
            whole(self)
        finally:
            torch._C._set_grad_enabled(True)

    monkeypatch.setattr(tapegrad.Tensor, "backward", careless)
    assert any("grad mode" in what for what in interrupted_backwards(3000))


def test_grad_leaves_the_mode_as_it_was():
    x = tapegrad.tensor(torch.ones(3), requires_grad=True)
    for mode in (True, False):
        y = (x * x).sum()
        with torch.set_grad_enabled(mode):
            tapegrad.grad(y, x, create_graph=mode)
            assert torch.is_grad_enabled() is mode
            with pytest.raises(RuntimeError):
                tapegrad.grad(y, tapegrad.tensor(torch.ones(3)))
            assert torch.is_grad_enabled() is mode


def modes_set_by_with(source: str) -> Iterator[str]:
    """The with statements in which torch sets grad mode: an interrupt in their first step leaves it as they set it."""
    for node in ast.walk(ast.parse(source)):
        for item in node.items if isinstance(node, ast.With) else ():
            if ast.unparse(item).startswith(
                ("torch.no_grad", "torch.enable_grad", "torch.set_grad", "torch.inference")
            ):
                yield ast.unparse(item)


def test_no_with_statement_of_ours_sets_the_mode():
    found = {str(path): [*modes_set_by_with(path.read_text())] for path in Path(tapegrad.__file__).parent.rglob("*.py")}
    assert {path: items for path, items in found.items() if items} == {}


def test_a_planted_with_statement_is_found():
    assert [*modes_set_by_with("def f(x):\n    with torch.no_grad():\n        return x")] == ["torch.no_grad()"]


def test_functions_that_hide_a_step_from_torch_leave_the_mode_as_it_was():
    """A bound through which the gradient passes is put on in place, where torch.autograd must not see it."""
    moments, off = random.Random(0), 0
    x = tapegrad.tensor(torch.rand(3, 4), requires_grad=True)
    both = lambda: (F.gaussian_nll_loss(x, x, x), F.cosine_similarity(x, x))
    both()  # a first call asks torch what it would refuse

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(3000):
            try:
                signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-5, 4e-4), 0.5)
                while True:
                    both()
            except KeyboardInterrupt:
                off += not torch.is_grad_enabled()
                torch.set_grad_enabled(True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert off == 0
