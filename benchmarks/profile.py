"""Where a tapegrad step spends its time.

Not by a sampling profiler, which would slow down what it looks at, but by differences between variants of the step that
are run in turn: the kernels alone, the forward pass recorded, the walk as it is written out for a tape that comes
again, and the walk with a clock around each rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch

import tapegrad
from benchmarks.works import Work
from tapegrad.engine import gradients
from tapegrad.engine.walk import walk
from tapegrad.fast import roads


@dataclass(frozen=True)
class Profile:
    """Microseconds of one step, by part, and of each rule: its name, its calls in a step, and their time."""

    parts: dict[str, float]
    rules: list[tuple[str, int, float]]


def profile(work: Work, rounds: int = 200) -> Profile:
    """Measure the parts of a step; each is the time that a fifth of its samples stay below."""
    raws = work.parameters
    leaves = [tapegrad.tensor(p.clone(), requires_grad=True) for p in raws]
    inputs = work.batch()
    times: dict[str, list[float]] = defaultdict(list)
    steps: list[dict[str, list[float]]] = []  # for each step: name -> the times of its calls

    def clock(name: str, function: Callable[[], Any]) -> Any:
        start = perf_counter()
        result = function()
        times[name].append(perf_counter() - start)
        return result

    record = lambda: work.torch(leaves, *inputs)
    ops = {r.op for r in tapegrad.tape(record())}
    for _ in range(roads.MEETINGS + 1):  # from then on the walk is written out, as in any program that trains
        record().backward()
    for _ in range(rounds):
        for p in leaves:
            p.grad = None
        with torch.no_grad():
            clock("kernels", lambda: work.torch(raws, *inputs))
        loss = clock("record", record)
        clock("walk", loss.backward)
        loss = record()
        loss.backward(retain_graph=True)
        start = perf_counter()
        del loss
        times["free"].append(perf_counter() - start)
        steps.append(defaultdict(list))
        loss = record()
        with torch.no_grad(), _clocks(ops, steps[-1]):
            walk([(loss.record, torch.ones_like(loss.data))])

    low = {name: _low(samples) for name, samples in times.items()}
    tick = _low([t for step in steps for t in step.pop("nothing")])
    count = {name: len(samples) for name, samples in steps[0].items()}
    total = {name: _low([sum(step[name]) for step in steps]) - n * tick for name, n in count.items()}
    unbroadcast = total.pop("unbroadcast", 0.0)
    rules = sum(total.values())
    parts = {
        "forward: kernels": low["kernels"],
        "forward: unwrap, wrap, record": low["record"] - low["kernels"],
        "backward: rules": rules,
        "backward: unbroadcast": unbroadcast,
        "backward: walk, accumulate": low["walk"] - rules - unbroadcast - low["free"],
        "freeing the tape": low["free"],
    }
    return Profile(parts, [(name, count[name], total[name]) for name in sorted(total, key=lambda n: -total[n])])


def _low(samples: list[float]) -> float:
    """A time, in microseconds, with little of what others did meanwhile."""
    return sorted(samples)[len(samples) // 5] * 1e6


@contextmanager
def _clocks(ops: set[Any], calls: dict[str, list[float]]) -> Iterator[None]:
    """Put a clock around every rule and around unbroadcast; ``calls["nothing"]`` is what a clock shows by itself."""

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            start = perf_counter()
            result = function(*args)
            calls[name].append(perf_counter() - start)
            return result

        return run

    pullbacks = {op: op.pullbacks for op in ops}
    unbroadcast = gradients.unbroadcast
    nothing = timed("nothing", lambda *args: None)
    try:
        for op in ops:
            names = [f"{op.name}.{parameter}" for parameter in op.parameters]
            op.pullbacks = tuple([f and timed(name, f) for name, f in zip(names, op.pullbacks, strict=True)])
        gradients.unbroadcast = timed("unbroadcast", unbroadcast)
        for _ in range(10):
            nothing(None, None, None)
        yield
    finally:
        gradients.unbroadcast = unbroadcast
        for op, original in pullbacks.items():
            op.pullbacks = original
