"""What one op costs beyond its kernels: forward over a bare no-grad torch call, backward over its rule's bare calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from time import perf_counter
from typing import Any

import torch

import tapegrad
from tapegrad.engine.walk import walk

CALLS = 50  # in a timing sample
N, M = 32, 64  # small, so that the overhead shows


@dataclass(frozen=True)
class Cost:
    """Microseconds a call.

    Attributes:
        op: the call.
        bare: the torch call, nothing recorded.
        forward: the same on a Tensor, recorded.
        recording: the same on torch leaves, inside ``recording()``.
        torch_forward: the same recorded by torch.autograd.
        rule: the calls of the op's rule, nothing around them.
        backward: the walk past the record.
        torch_backward: torch.autograd's backward past its own.
    """

    op: str
    bare: float
    forward: float
    recording: float
    torch_forward: float
    rule: float
    backward: float
    torch_backward: float

    @property
    def ratios(self) -> dict[str, float]:
        """What the baseline keeps."""
        return {f"{self.op} forward": self.forward / self.bare, f"{self.op} backward": self.backward / self.rule}


def _randn(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) + 0.5


_INDEX = torch.arange(N) % 5
OPS: dict[str, tuple[Callable[..., Any], Sequence[torch.Tensor]]] = {
    "x * y": (lambda x, y: x * y, [_randn(N, M), _randn(N, M)]),
    "x * 2.5": (lambda x: x * 2.5, [_randn(N, M)]),
    "x + y": (lambda x, y: x + y, [_randn(N, M), _randn(N, M)]),
    "x - row": (lambda x, y: x - y, [_randn(N, M), _randn(1, M)]),
    "x ** 2": (lambda x: x**2, [_randn(N, M)]),
    "x ** -0.5": (lambda x: x**-0.5, [_randn(N, M)]),
    "x.exp()": (lambda x: x.exp(), [_randn(N, M)]),
    "torch.tanh(x)": (lambda x: torch.tanh(x), [_randn(N, M)]),
    "x.sum(0, keepdim=True)": (lambda x: x.sum(0, keepdim=True), [_randn(N, M)]),
    "x.max(1).values": (lambda x: x.max(1).values, [_randn(N, M)]),
    "x @ y": (lambda x, y: x @ y, [_randn(N, M), _randn(M, N)]),
    "x.view(-1)": (lambda x: x.view(-1), [_randn(N, M)]),
    "x[index]": (lambda x: x[_INDEX], [_randn(N, M)]),
}


def cost(name: str, rounds: int = 100) -> Cost:
    """Measure an op, as the least of many samples that are taken in turn."""
    function, data = OPS[name]
    mine = [[tapegrad.tensor(d, requires_grad=True) for d in data] for _ in range(CALLS)]
    theirs = [[d.clone().requires_grad_() for d in data] for _ in range(CALLS)]
    with torch.no_grad():
        gradient = torch.ones_like(function(*data))

    def forward(args: Sequence[Any]) -> float:
        start = perf_counter()
        for _ in repeat(None, CALLS):
            function(*args)
        return perf_counter() - start

    def bare() -> float:
        with torch.no_grad():
            return forward(data)

    def recording() -> float:
        with tapegrad.recording():
            return forward(theirs[0])

    def rule() -> float:
        records = [function(*leaves).record for leaves in mine]
        with torch.no_grad():
            start = perf_counter()
            for record in records:
                for pullback, parent in zip(record.op.pullbacks, record.parents, strict=True):
                    if parent is not None:
                        pullback(gradient, record.saved, parent)
            return perf_counter() - start

    def backward() -> float:
        starts = [(function(*leaves).record, gradient) for leaves in mine]
        with torch.no_grad():
            start = perf_counter()
            walk(starts)
            return perf_counter() - start

    def torch_backward() -> float:
        outputs = [function(*leaves) for leaves in theirs]
        for leaves in theirs:
            for leaf in leaves:
                leaf.grad = None
        gradients = [gradient] * CALLS
        start = perf_counter()
        torch.autograd.backward(outputs, gradients)
        return perf_counter() - start

    samples = [bare, lambda: forward(mine[0]), recording, lambda: forward(theirs[0]), rule, backward, torch_backward]
    times = [[sample() for sample in samples] for _ in range(rounds)]
    return Cost(name, *[min(column) / CALLS * 1e6 for column in zip(*times, strict=True)])


def costs(rounds: int = 100) -> list[Cost]:
    """Measure every op, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [cost(name, rounds) for name in OPS]
    finally:
        torch.set_num_threads(threads)
