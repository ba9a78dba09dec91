"""Does communication run beside the backward pass? A trace by torch's profiler, of two processes over gloo.

    python -m tests.provers.overlap              tapegrad, then torch's own backward pass
    python -m tests.provers.overlap trace.json   and the first process's trace, for chrome://tracing

Printed for each: how long the backward pass took, and from when to when each bucket was reduced, in milliseconds after
the backward pass began. Communication overlaps with the walk if the first is reduced before the last is complete.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.autograd.profiler import record_function
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile

import tapegrad

LAYERS, WIDTH, ROWS = 6, 768, 2048
Spans = list[tuple[float, float]]


def traced(rank: int, recorded: bool, path: str) -> tuple[float, Spans]:
    """Milliseconds of a backward pass, and those between which each bucket was reduced."""
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)])
    ddp = DistributedDataParallel(model, bucket_cap_mb=2.5)
    x = torch.randn(ROWS, WIDTH)
    with tapegrad.recording() if recorded else contextlib.nullcontext():
        for _ in range(3):
            ddp(x).square().mean().backward()
        loss = ddp(x).square().mean()
        with profile(activities=[ProfilerActivity.CPU]) as trace, record_function("backward pass"):
            loss.backward()
    if path and rank == 0:
        trace.export_chrome_trace(path)
    whole = next(e for e in trace.events() if e.name == "backward pass").time_range
    reduced = [e.time_range for e in trace.events() if e.name == "gloo:all_reduce"]
    spans = sorted(((t.start - whole.start) / 1e3, (t.end - whole.start) / 1e3) for t in reduced)
    return (whole.end - whole.start) / 1e3, spans


def _start(rank: int, folder: str, path: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        found = {name: traced(rank, name == "tapegrad", path * (name == "tapegrad")) for name in ("tapegrad", "torch")}
        torch.save(found, f"{folder}/{rank}")
    finally:
        dist.destroy_process_group()


def run(path: str = "") -> list[dict[str, tuple[float, Spans]]]:
    """What each process found, for each engine."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_start, (folder, path), nprocs=2)
        return [torch.load(Path(folder) / str(rank), weights_only=True) for rank in range(2)]


def main() -> int:
    """The command line."""
    found: Any = run(sys.argv[1] if len(sys.argv) > 1 else "")
    for name, (took, spans) in found[0].items():
        early = sum(end < spans[-1][0] for _, end in spans)
        print(
            f"{name}: the backward pass took {took:.1f} ms; {early} of {len(spans)} buckets were done before the last:"
        )
        print("   ", ", ".join(f"{begin:.1f} to {end:.1f}" for begin, end in spans))
    return 0


if __name__ == "__main__":
    sys.exit(main())
