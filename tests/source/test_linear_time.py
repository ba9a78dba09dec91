"""Writing a tape out takes time in proportion to its length."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
import torch

import tapegrad
from tapegrad.source.variables import Variables
from tests.helpers import ours, randn


def chain(n: int) -> tuple[Any, dict[str, Any]]:
    x = y = ours(randn(3))
    for _ in range(n // 2):
        y = y * 1.0001 + x
    return y.sum(), {"x": x}


def named(n: int) -> tuple[Any, dict[str, Any]]:
    hs = [ours(randn(3))]
    for _ in range(n // 2):
        hs.append((hs[-1] * 0.99).tanh())
    return hs[-1].sum(), {f"h{i}": h for i, h in enumerate(hs)}


def used_by_all(n: int) -> tuple[Any, dict[str, Any]]:
    x, total = ours(randn(8)), 0
    for i in range(n // 3):
        total = total + x[i % 8] * x[1:4].sum()
    return total, {"x": x}


def leaves(n: int) -> tuple[Any, dict[str, Any]]:
    return torch.stack([(ours(randn(3)) + 0.123456789).exp() for _ in range(n // 2)]).sum(), {}


def constants(n: int) -> tuple[Any, dict[str, Any]]:
    x = ours(randn(3))
    return torch.cat([x * randn(3, seed=i) for i in range(n // 2)] + [randn(3)] * (n // 2)).sum(), {"x": x}


def parts(n: int) -> tuple[Any, dict[str, Any]]:
    x = ours(randn(n, 2))
    return sum(row.sum() for row in x.unbind(0)[: n // 2]), {"x": x}


def steps(run: Callable[[], Any]) -> int:
    """How many instructions of Python's a call takes."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


def growth(program: Callable[[int], Any]) -> float:
    """How many times the work a tape takes that is four times as long."""
    taken = []
    for n in (80, 80, 320):  # Python 3.12 and later do not report every instruction of a function's first run
        loss, names = program(n)
        tape = tapegrad.tape(loss, names=names)
        taken.append(steps(lambda tape=tape, names=names: tape.source(names=names, style="exact", forward=True)))
    return taken[2] / taken[1]


@pytest.mark.parametrize("program", [chain, named, used_by_all, leaves, constants, parts])
def test_four_times_the_tape_takes_four_times_the_work(program):
    assert growth(program) < 4.1


def test_a_planted_search_is_found(monkeypatch):
    """A name that looks for its number from 2 on, each time."""

    def fresh(self: Variables, name: str) -> str:
        made, i = name, 2
        while made in self._taken:
            made, i = f"{name}_{i}", i + 1
        self._taken.add(made)
        return made

    monkeypatch.setattr(Variables, "fresh", fresh)
    assert growth(constants) > 4.1
