"""Programs for several processes: functions of (rank, processes), whose results each process hands back.

``python -m tests.nn.processes NAME PROCESSES`` runs one and prints what it finds.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

import tapegrad

SHARDS_ON_CPU = hasattr(torch.cpu.Stream, "record_event")  # which fully_shard calls; torch 2.6 has it for GPUs alone


def _start(rank: int, name: str, processes: int, folder: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=processes)
    try:
        torch.save(globals()[name](rank, processes), f"{folder}/{rank}")
    finally:
        dist.destroy_process_group()


def run(program: Callable[[int, int], Any], processes: int) -> list[Any]:
    """What a program returns in each process."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_start, (program.__name__, processes, folder), nprocs=processes)
        return [torch.load(Path(folder) / str(rank), weights_only=True) for rank in range(processes)]


class Net(nn.Module):
    """Embedding, layers, and a head with the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 16)
        self.layers = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.embedding(x)).relu())


def net() -> nn.Module:
    torch.manual_seed(0)
    return Net()


def train(model: nn.Module, rank: int, accumulate: int = 1, steps: int = 6) -> list[torch.Tensor]:
    """The parameters after some steps, each of several backward passes of which the last is reduced."""
    generator = torch.Generator().manual_seed(10 + rank)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        for i in range(accumulate):
            x, y = torch.randint(0, 11, (2, 8), generator=generator)
            last = i == accumulate - 1
            with contextlib.nullcontext() if last else model.no_sync():
                F.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


def reduced(rank: int, processes: int) -> dict[str, Any]:
    """Parameters after training with DistributedDataParallel: torch's, ours, and ours by ``as_torch``."""
    found = {}
    for accumulate in (1, 3):
        for view in (False, True):
            options = {"bucket_cap_mb": 0.001, "gradient_as_bucket_view": view}
            ddp = lambda module: DistributedDataParallel(module, **options)  # noqa: B023  # called here
            case = f"{accumulate} {view}"
            found[f"torch {case}"] = train(ddp(net()), rank, accumulate)
            ours = ddp(net())
            with tapegrad.recording():
                found[f"recording {case}"] = train(ours, rank, accumulate)
            found[f"buckets {case}"] = ours._get_ddp_logging_data()["rebuilt_bucket_sizes"].count(",") + 1
            found[f"as_torch {case}"] = train(ddp(tapegrad.as_torch(net())), rank, accumulate)
    for options in ({"find_unused_parameters": True}, {"static_graph": True}):
        name = next(iter(options))
        found[f"torch {name}"] = train(DistributedDataParallel(net(), **options), rank)
        module = tapegrad.as_torch(net())
        found[f"as_torch {name}"] = train(DistributedDataParallel(module, **options), rank)
    return found


def refusals(rank: int, processes: int) -> dict[str, str]:
    """What is said of uses that would let processes drift apart."""
    found = {}
    x = torch.randint(0, 11, (8,))
    for option in ("static_graph", "find_unused_parameters"):
        model = DistributedDataParallel(net(), **{option: True})
        try:
            with tapegrad.recording():
                model(x)
        except tapegrad.MissingRule as error:
            found[option] = str(error)
    model = fully_shard(net())
    try:
        with tapegrad.recording():
            model(x)
    except tapegrad.MissingRule as error:
        found["fully_shard"] = str(error)
    model = DistributedDataParallel(net())
    try:
        with tapegrad.recording():
            loss = model(x).sum()
            for p, g in zip(model.parameters(), tapegrad.grad(loss, list(model.parameters())), strict=True):
                p.grad = g
    except tapegrad.MissingRule as error:
        found["grad"] = str(error)
    return found


def overlap(rank: int, processes: int) -> list[str]:
    """In which order buckets set off and the gradients of activations are computed."""
    events: list[str] = []

    def hook(state, bucket):  # DistributedDataParallel refuses annotations that are text
        events.append(f"bucket {bucket.index()}")
        work = dist.all_reduce(bucket.buffer().div_(processes), async_op=True)
        return work.get_future().then(lambda future: future.value()[0])

    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(64, 64) for _ in range(4)])
    for i, layer in enumerate(model):
        layer.register_forward_hook(
            lambda m, args, out, i=i: out.register_hook(lambda g: events.append(f"layer {i}")) and None
        )
    ddp = DistributedDataParallel(model, bucket_cap_mb=0.01)
    ddp.register_comm_hook(None, hook)
    with tapegrad.recording():
        for _ in range(3):
            events.clear()
            ddp(torch.randn(8, 64)).square().sum().backward()
    return list(events)


def shards(rank: int, processes: int) -> dict[str, list[torch.Tensor]]:
    """Parameters after training with ``fully_shard``: torch's blocks, and ours."""
    found = {}
    for name, wrap in (("torch", lambda block: block), ("as_torch", tapegrad.as_torch)):
        for reshard in (True, False):
            torch.manual_seed(0)
            blocks = [wrap(nn.Sequential(nn.Linear(16, 16), nn.Tanh())) for _ in range(3)]
            for block in blocks:
                fully_shard(block, reshard_after_forward=reshard)
            model = fully_shard(nn.Sequential(*blocks, nn.Linear(16, 4)))
            optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
            generator = torch.Generator().manual_seed(10 + rank)
            for _ in range(5):
                x, y = torch.randn(8, 16, generator=generator), torch.randint(0, 4, (8,), generator=generator)
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            found[f"{name} {reshard}"] = [p.full_tensor().detach() for p in model.parameters()]
    return found


def distributed_tensors(rank: int, processes: int) -> list[torch.Tensor]:
    """The gradient of a Tensor that holds a tensor in pieces, as a whole; and torch's."""
    mesh = init_device_mesh("cpu", (processes,))
    torch.manual_seed(0)
    w, x = torch.randn(8, 4), torch.randn(6, 8)
    found = []
    for make in (lambda t: tapegrad.tensor(t, requires_grad=True), lambda t: t.requires_grad_()):
        leaf = make(distribute_tensor(w, mesh, [Shard(0)]))
        (distribute_tensor(x, mesh, [Replicate()]) @ leaf).tanh().sum().backward()
        found.append(leaf.grad.full_tensor())
    return found


def all_of_them(rank: int, processes: int) -> dict[str, Any]:
    """Each program, by its name: processes take seconds to start."""
    programs = [reduced, refusals, overlap, distributed_tensors]
    if SHARDS_ON_CPU:
        programs.append(shards)
    return {program.__name__: program(rank, processes) for program in programs}


if __name__ == "__main__":
    for rank, found in enumerate(run(globals()[sys.argv[1]], int(sys.argv[2]))):
        print(rank, found)
