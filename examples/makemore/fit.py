"""Trains a module as people do: an optimizer, a DataLoader, perhaps bfloat16, perhaps several processes.

The loop is torch's own, and nothing in it knows of tapegrad: `recording()` around it is all.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from examples.makemore.batches import NOTHING, Batches, Names, load, side_by_side
from examples.makemore.modules import build
from examples.makemore.names import Split
from examples.makemore.processes import Processes
from examples.makemore.train import one_thread

RATES = {"adamw": 3e-3, "sgd": 0.3}  # the optimizers, and the learning rate where none is given
CHUNK = 1024  # how many names the evaluation takes at once


@dataclass(frozen=True)
class Settings:
    """What decides how a training ends."""

    model: str
    hidden: int
    batch: int
    steps: int
    seed: int
    engine: str
    dtype: torch.dtype  # of the parameters; bfloat16 is that of the computation, and they are float32 then
    optimizer: str
    lr: float
    processes: int
    names: str  # a digest of the list


@dataclass
class Training:
    """A network on its way."""

    settings: Settings
    net: nn.Module
    optimizer: torch.optim.Optimizer
    losses: list[float] = field(default_factory=list)  # of every step so far


def begin(settings: Settings, vocab: int, device: torch.device) -> Training:
    """A training before its first step."""
    dtype = torch.float32 if settings.dtype is torch.bfloat16 else settings.dtype
    net = build(settings.model, vocab, settings.hidden, settings.seed, dtype).to(device)
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    return Training(settings, net, kinds[settings.optimizer](net.parameters(), lr=settings.lr))


def recorder(engine: str) -> AbstractContextManager[Any]:
    """What is put around the loop, so that the engine follows it."""
    if engine == "torch":
        return nullcontext()
    import tapegrad

    return tapegrad.recording()


def next_character_loss(net: nn.Module, X: torch.Tensor, Y: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """The cross entropy of what follows each place of the names X; Y says what does."""
    return F.cross_entropy(net(X).flatten(0, 1), Y.flatten(), ignore_index=NOTHING, reduction=reduction)


@one_thread()
def fit(
    training: Training,
    names: Split,
    processes: Processes,
    save: Callable[[], None],
    save_every: int,
    workers: int = 0,
    stop: Sequence[int] = (),
) -> int:
    """Goes on with a training, from the step where it is to its last.

    Args:
        training: is changed in place.
        names: what on.
        processes: who with.
        save: called after every `save_every` steps, but for the last.
        save_every: see there.
        workers: how many make the minibatches; with none, this process does.
        stop: if there is something in it after a step, in any process, that was the last.

    Returns:
        What there was in `stop`; 0 if nothing.
    """
    from tqdm import tqdm

    settings, optimizer, device = training.settings, training.optimizer, processes.device
    net = processes.share(training.net)
    done, part = len(training.losses), (processes.rank, processes.count)
    batches = Batches(len(names.train), settings.batch, settings.seed, done, settings.steps, part)
    loader = load(Names(names.train, names.chars), batches, workers)
    cast = torch.autocast(device.type, torch.bfloat16, enabled=settings.dtype is torch.bfloat16)
    title = f"train {settings.model} ({settings.engine})"
    with (
        tqdm(
            loader, title, settings.steps, initial=done, unit=" steps", mininterval=0.5, disable=processes.rank > 0
        ) as progress,
        recorder(settings.engine),
    ):
        for i, (X, Y) in enumerate(progress, start=done):
            with cast:
                loss = next_character_loss(net, X.to(device), Y.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            training.losses.append(loss.item())
            if i % 1000 == 0:
                progress.set_postfix(loss=f"{training.losses[-1]:.4f}", refresh=False)
            if number := processes.any(stop):
                return number
            if (i + 1) % save_every == 0 and i + 1 < settings.steps:
                save()
    return 0


@torch.no_grad()
def split_loss(net: nn.Module, names: Sequence[str], chars: str, device: torch.device) -> float:
    """The mean cross entropy over one split, for each character and each end."""
    total, places = 0.0, 0
    for X, Y in DataLoader(Names(names, chars), CHUNK, collate_fn=side_by_side):
        total += next_character_loss(net, X.to(device), Y.to(device), "sum").item()
        places += int((Y != NOTHING).sum())
    return total / places
