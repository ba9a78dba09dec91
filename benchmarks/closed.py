"""How long the lecture's backward pass in closed forms takes, next to the plain one: ``python -m benchmarks.closed``.

Both are the programs that ``source`` writes, on the same values; they take turns, on one thread.
"""

from __future__ import annotations

import statistics
import sys
import timeit
from collections.abc import Callable
from typing import Any

import torch

import tapegrad
from examples.makemore.model import forward, init_parameters

HIDDEN = (64, 200)
ROUNDS = 60
MOST = 0.72  # of the plain program's time
LINES = 40  # the most that the program in closed forms may have


def passes(hidden: int) -> tuple[Callable[[], Any], Callable[[], Any], int]:
    """The backward pass of the lecture, plain and in closed forms, and the lines of the second."""
    generator = torch.Generator().manual_seed(1)
    start = init_parameters(27, hidden, generator, torch.float32)
    parameters = [tapegrad.tensor(p, requires_grad=True) for p in start]
    X, Y = torch.randint(27, (32, 3), generator=generator), torch.randint(27, (32,), generator=generator)
    names = {name: value for name, value in vars(forward(parameters, X, Y)).items() if name != "parameters"}
    tape = tapegrad.tape(names["loss"], names=names)

    def program(style: str) -> Callable[[], Any]:
        space: dict[str, Any] = {}
        exec(tape.source(names=names, style=style), space)
        bindings = tape.bindings(names=names, style=style)
        return lambda: space["backward"](**bindings)

    return program("plain"), program("closed"), len(tape.source(names=names, style="closed").splitlines())


def main() -> int:
    """Measure both sizes; returns 1 if the closed forms are too long or not quick enough."""
    torch.set_num_threads(1)
    fine = True
    for hidden in HIDDEN:
        plain, closed, lines = passes(hidden)
        times = [[timeit.timeit(f, number=40) / 40 * 1e6 for f in (plain, closed)] for _ in range(ROUNDS)]
        ratio = statistics.median(second / first for first, second in times)
        before, after = map(statistics.median, zip(*times, strict=True))
        print(f"32x{hidden}: {lines} lines, {after:.0f} us where plain takes {before:.0f} us, ratio {ratio:.2f}")
        fine = fine and lines <= LINES and ratio <= MOST
    print("fine" if fine else f"more than {LINES} lines, or than {MOST} of the time")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
