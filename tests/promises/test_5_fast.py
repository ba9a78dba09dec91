"""Promise 5: it is fast. Tests have no clock: they hold what speed is made of, and the figures that are stored.

`python -m benchmarks` measures, and compares with the stored figures.
"""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.helpers import FAST, ROOT, ours, randn

needs_fast = pytest.mark.skipif(not FAST, reason="TAPEGRAD_FAST=0 leaves the fast roads out")
SMALL = ["makemore-32x64", "makemore-32x200", "training-32x200", "chain"]
LARGE = ["makemore-256x512", "makemore-2048x1024"]


def calls(run: Callable[..., Any], *args: Any) -> list[str]:
    """The Python functions that a function calls."""
    called: list[str] = []
    sys.setprofile(lambda frame, event, _: called.append(frame.f_code.co_name) if event == "call" else None)
    try:
        run(*args)
    finally:
        sys.setprofile(None)
    return called[1:]


@needs_fast
@pytest.mark.parametrize(
    ("run", "most"),
    [
        (lambda x, y: x * y, 2),
        (lambda x, y: x.tanh(), 2),
        (lambda x, y: x @ y, 3),
        (lambda x, y: x + 1.5, 3),
        (lambda x, y: x.sum(), 3),
        (lambda x, y: torch.tanh(x), 4),
        (lambda x, y: x[0], 5),
    ],
    ids=["mul", "tanh", "matmul", "add a number", "sum", "torch.tanh", "getitem"],
)
def test_an_op_goes_through_few_functions(run, most):
    x, y = ours(randn(3, 3)), ours(randn(3, 3))
    for _ in range(3):
        run(x, y)  # a number is kept when it is seen again
    called = [name for name in calls(run, x, y) if name != "cast_first"]  # once another test has used torch.autocast
    assert len(called) <= most, called


@needs_fast
def test_a_tape_that_comes_again_takes_fewer_calls_to_walk():
    x, w = ours(randn(3, 3)), ours(randn(3, 3))

    def loss():
        h = (x @ w).tanh()
        for _ in range(5):
            h = h * w + x
        return h.sum()

    first = calls(loss().backward)
    for _ in range(100):
        loss().backward()
    assert len(calls(loss().backward)) < 0.7 * len(first)


def test_an_op_takes_few_bytes():
    """Of Python's: the tensor, its record and what that saves. torch's own come on top, and are torch's."""
    y = ours(randn(3))
    for _ in range(100):
        y = y * 1.5
    tracemalloc.start()
    try:
        for _ in range(1000):
            y = y * 1.5
        each = tracemalloc.get_traced_memory()[0] / 1000
    finally:
        tracemalloc.stop()
    print("EACH", each)
    assert each <= 700


@pytest.mark.parametrize("threads", ["1", "all"])
def test_the_stored_figures_keep_the_promise(threads):
    """Time of tapegrad over torch's: below 1 on small work, level on large, and nowhere far above."""
    stored = json.loads((ROOT / "benchmarks" / "baseline.json").read_text())
    ratios = {name.split()[0]: ratio for name, ratio in stored.items() if name.endswith(f" tapegrad threads={threads}")}
    assert all(ratios[work] < 1 for work in SMALL), ratios
    assert all(ratios[work] <= 1.05 for work in LARGE), ratios
    assert all(ratio <= 1.15 for ratio in ratios.values()), ratios
