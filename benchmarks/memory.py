"""How much memory a tape takes, beside torch's, and whether time grows in proportion: ``python -m benchmarks.memory``.

Each figure comes from a process of its own, whose peak the operating system keeps. What a process needs that imports
the same and computes nothing is taken off.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LIBRARIES = ("tapegrad", "torch")
CHAIN = 1_000_000
SLOWER = 12.0  # ten times the ops take at most so many times the time
LARGER = 1.05  # the most that the MLP's peak may be of torch's


@dataclass(frozen=True)
class Figures:
    """What one process measured.

    Attributes:
        forward, backward: seconds.
        peak: bytes, the most that were in use at once.
    """

    forward: float
    backward: float
    peak: int


def leaf(library: str, data: Any) -> Any:
    """A leaf that requires grad."""
    import tapegrad

    return tapegrad.tensor(data, requires_grad=True) if library == "tapegrad" else data.requires_grad_()


def chain(library: str, ops: int) -> Callable[[], Any]:
    """A number, multiplied so many times."""
    import torch

    x = leaf(library, torch.ones(()))

    def forward() -> Any:
        y = x
        for _ in range(ops):
            y = y * 1.0
        return y

    return forward


def fan_out(library: str, ops: int) -> Callable[[], Any]:
    """A tensor with so many uses."""
    import torch

    x = leaf(library, torch.ones(3))

    def forward() -> Any:
        h = x * 2.0
        total = h.sum()
        for _ in range(ops // 3):
            total = total + (h * 3.0).sum()
        return total

    return forward


def mlp(library: str, width: int) -> Callable[[], Any]:
    """Ten layers as wide as the batch is long, three steps; the last is left to the caller to walk."""
    import torch
    import torch.nn.functional as F

    generator = torch.Generator().manual_seed(0)
    scale = 1 / max(width, 1) ** 0.5
    weights = [leaf(library, torch.randn(width, width, generator=generator) * scale) for _ in range(10)]
    biases = [leaf(library, torch.zeros(width)) for _ in range(10)]
    inputs = torch.randn(width, width, generator=generator)

    def step() -> Any:
        h: Any = inputs
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            h = F.linear(h, w, b).relu() if i % 2 else (h @ w + b).tanh()
        return (h * h).mean()

    def forward() -> Any:
        for _ in range(2):
            step().backward()
            for p in (*weights, *biases):
                with torch.no_grad():
                    p -= p.grad * 0.01
                p.grad = None
        return step()

    return forward


WORKS: dict[str, Callable[[str, int], Callable[[], Any]]] = {"chain": chain, "fan-out": fan_out, "mlp": mlp}


def measure(work: str, library: str, size: int) -> Figures:
    """Do a piece of work in this process."""
    import torch

    import tapegrad  # noqa: F401 - so that both libraries' processes have imported the same

    torch.set_num_threads(1)
    forward = WORKS[work](library, size)
    started = time.perf_counter()
    loss = forward()
    walked = time.perf_counter()
    if loss.requires_grad:
        loss.backward()
    del loss
    ended = time.perf_counter()
    return Figures(walked - started, ended - walked, peak())


def peak() -> int:
    """The most bytes that this process has had in memory."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss begins at what the parent had
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_a_process(work: str, library: str, size: int) -> Figures:
    """Do a piece of work in a process of its own; its peak is what it takes above one of no size."""
    command = [sys.executable, "-m", "benchmarks.memory", "--measure", work, library, str(size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Figures(**json.loads(done.stdout))


def above(work: str, library: str, size: int, nothing: int) -> Figures:
    """Figures of a piece of work, less the peak of a process that does nothing."""
    figures = in_a_process(work, library, size)
    return Figures(figures.forward, figures.backward, figures.peak - nothing)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; returns 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--ops", type=int, default=CHAIN, help="length of the longer chain")
    parser.add_argument("--width", type=int, default=1024, help="of the MLP's layers, and the size of the batch")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.measure:
        work, library, size = args.measure
        print(json.dumps(asdict(measure(work, library, int(size)))))
        return 0
    nothing = {library: in_a_process("chain", library, 0).peak for library in LIBRARIES}
    fine = True
    print(f"{'':22}{'forward':>9}{'backward':>10}{'time for 10x':>14}{'bytes per op':>14}")
    for work in ("chain", "fan-out"):
        for library in LIBRARIES:
            small = above(work, library, args.ops // 10, nothing[library])
            large = above(work, library, args.ops, nothing[library])
            ratio = (large.forward + large.backward) / (small.forward + small.backward)
            fine = fine and (library == "torch" or ratio <= SLOWER)
            print(
                f"{work:10}{library:12}{large.forward:8.2f}s{large.backward:9.2f}s{ratio:13.1f}x"
                f"{large.peak / args.ops:14.0f}"
            )
    ours, theirs = [above("mlp", library, args.width, nothing[library]) for library in LIBRARIES]
    ratio = ours.peak / theirs.peak
    whole = (ours.peak + nothing["tapegrad"]) / (theirs.peak + nothing["torch"])
    print(f"\nTen layers of {args.width}, peak above the imports: tapegrad {ours.peak / 2**20:.1f} MiB, ", end="")
    print(f"torch {theirs.peak / 2**20:.1f} MiB, ratio {ratio:.3f} (of the whole processes {whole:.3f})")
    fine = fine and ratio <= LARGER
    print("" if fine else f"A bound does not hold: {SLOWER:.0f}x the time for 10x the ops, {LARGER} of torch's peak.")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
