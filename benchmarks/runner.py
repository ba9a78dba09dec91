"""Timing contestants in turn, and checking first that they compute the same."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import torch

from benchmarks.contestants import CONTESTANTS, REFERENCE, Unable, as_torch
from benchmarks.works import Step, Work

EXACT = ("tapegrad", "kernels")  # equal bit for bit, where a work promises it
SAMPLE = 0.01  # seconds that a timing sample should take at least, in whole steps


@dataclass(frozen=True)
class Result:
    """What came out for one contestant: times in seconds and ratios to torch eager, or the reason why nothing did.

    Attributes:
        seconds: the median time of a step.
        ratio: the median, over the rounds, of its time to torch's in the same round.
        low, high: the quartiles of that ratio.
        skipped: why the contestant did not take part.
        wrong: how it disagrees with torch; it is not timed then.
    """

    contestant: str
    seconds: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    skipped: str = ""
    wrong: str = ""


def measure(make: Callable[[], Work], contestants: Sequence[str], rounds: int | None = None) -> list[Result]:
    """Let contestants do a work in turn.

    Args:
        make: gives a fresh copy of the work; each contestant gets its own.
        contestants: names; torch eager takes part in any case.
        rounds: how many turns each gets; by default what the work says.

    Returns:
        A result for each contestant, in the order of the names.
    """
    names = list(dict.fromkeys([*contestants, REFERENCE]))
    results: dict[str, Result] = {}
    steps: dict[str, Step] = {}
    truth = None
    work = make()
    for name in sorted(names, key=lambda name: name != REFERENCE):  # torch first, to compare with
        try:
            step = CONTESTANTS[name](make())
            answer = _answer(step)
        except Unable as reason:
            results[name] = Result(name, skipped=str(reason))
        except Exception as error:  # somebody else's program failed; the others go on
            results[name] = Result(name, skipped=f"failed: {type(error).__name__}: {_first_line(error)}")
        else:
            truth = truth or answer
            # With several threads a large product of torch's is not the same from one call to the next.
            exact = name in EXACT and work.exact and torch.get_num_threads() == 1
            wrong = disagreement(answer, truth, 0.0 if exact else work.tolerance)
            if wrong:
                results[name] = Result(name, wrong=wrong)
            else:
                steps[name] = step
    steps = {name: steps[name] for name in names if name in steps}
    times = take_turns(list(steps.values()), rounds or work.rounds)
    samples = dict(zip(steps, times, strict=True))
    for name, own in samples.items():
        ratios = [t / reference for t, reference in zip(own, samples[REFERENCE], strict=True)]
        low, middle, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        results[name] = Result(name, median(own), middle, low, high)
    return [results[name] for name in names]


def _answer(step: Step) -> list[torch.Tensor]:
    """Loss and gradients of a first step, copied before a second one can change them."""
    loss, grads = step()
    return [as_torch(loss), *map(as_torch, grads)]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:100]


def disagreement(answer: Sequence[torch.Tensor], truth: Sequence[torch.Tensor], tolerance: float) -> str:
    """How an answer differs from the true one; "" if by no more than ``tolerance`` of the largest element anywhere.

    Anywhere, and not in the same tensor: a bias before a batch norm has a gradient of rounding errors alone.
    """
    largest = max(float(b.abs().max()) for b in truth)
    if len(answer) != len(truth):
        return f"{len(answer) - 1} gradients instead of {len(truth) - 1}"
    for i, (a, b) in enumerate(zip(answer, truth, strict=True)):
        what = f"gradient {i}" if i else "loss"
        if a.shape != b.shape:
            return f"{what} has shape {tuple(a.shape)} instead of {tuple(b.shape)}"
        off = float((a - b).abs().max()) / largest
        if not off <= tolerance:  # NaN is not
            return f"{what} is off by {off:.1e} of the largest element, more than {tolerance:g}"
    return ""


def take_turns(steps: Sequence[Step], rounds: int) -> list[list[float]]:
    """Time steps in turn: A B C, C B A, A B C, ...

    A sample is as many steps as take a hundredth of a second. The turn begins with a step that is not timed, since the
    one before has filled the caches with its own. Garbage is collected before, so that nobody pays for another's; it is
    collected as usual while the clock runs, since that is a part of what an engine costs.

    Returns:
        For each step, the seconds that it took in each round.
    """
    counts = [max(1, round(SAMPLE / _seconds(step, 1))) for step in steps]
    samples: list[list[float]] = [[] for _ in steps]
    with _little_garbage():
        for turn in range(rounds):
            order = range(len(steps))
            for i in order if turn % 2 == 0 else reversed(order):
                gc.collect()
                steps[i]()
                samples[i].append(_seconds(steps[i], counts[i]))
    return samples


def _seconds(step: Callable[[], Any], count: int) -> float:
    start = perf_counter()
    for _ in range(count):
        step()
    return (perf_counter() - start) / count


@contextmanager
def _little_garbage() -> Iterator[None]:
    """Leave what is there already, such as the modules of all contestants, out of garbage collection."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
