"""Several processes, which `torchrun` starts: each takes its part of every minibatch, and all have the same network."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def launched() -> bool:
    """Whether `torchrun` has started this process."""
    return dist.is_available() and dist.is_torchelastic_launched()


def own_device(device: str) -> str:
    """The device of this process: of several GPUs, each has the one of its number."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and launched() else device


@dataclass(frozen=True)
class Processes:
    """Those that train together, and which of them this is."""

    rank: int
    count: int
    device: torch.device

    def share(self, net: nn.Module) -> nn.Module:
        """The network whose backward pass leaves each process with the mean of all gradients."""
        if not launched():
            return net
        return DistributedDataParallel(net, [self.device] if self.device.type == "cuda" else None)

    def any(self, seen: Sequence[int]) -> int:
        """The largest of what any process has seen; 0 if none has anything. All have to ask."""
        here = max(seen, default=0)
        if self.count == 1:
            return here
        largest = torch.tensor(here, device=self.device)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return int(largest)


@contextmanager
def together(device: torch.device) -> Iterator[Processes]:
    """Joins the processes, by nccl if they compute on GPUs and else by gloo."""
    if not launched():
        yield Processes(0, 1, device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()
