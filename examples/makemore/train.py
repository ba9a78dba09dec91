"""Exercise 4: train the network on any of three engines, which differ in `wrap` and `backward` alone."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F

from examples.makemore import files, manual
from examples.makemore.errors import UserError
from examples.makemore.model import Tensor, before_batch_norm, draw_batch, init_parameters, training_forward
from examples.makemore.names import Data, Examples
from examples.makemore.trained import Model

ENGINES = ("tapegrad", "torch", "manual")
CHUNK = 16_384  # how many examples the evaluation takes at once


@dataclass(frozen=True)
class Config:
    """What decides how a training ends, besides the names."""

    hidden: int
    batch: int
    steps: int
    seed: int
    engine: str
    dtype: torch.dtype


def wrap(parameters: Sequence[torch.Tensor], engine: str) -> list[Tensor]:
    """Hands the parameters to the engine that is to follow them."""
    if engine == "tapegrad":
        import tapegrad

        return [tapegrad.tensor(p, requires_grad=True) for p in parameters]
    return [p.requires_grad_(engine == "torch") for p in parameters]


def backward(parameters: Sequence[Tensor], v: SimpleNamespace, engine: str) -> None:
    """Puts the gradient of the loss in every parameter's `.grad`."""
    if engine == "manual":
        for p, grad in zip(parameters, manual.gradients(v), strict=True):
            p.grad = grad
    else:
        v.loss.backward()


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps torch to one thread: a step is too small to share, and on a busy machine the sharing can cost the most."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def train(
    data: Data,
    config: Config,
    save: Callable[[list[torch.Tensor], int], Any] | None = None,
    save_every: int = 0,
    stop: Sequence[int] = (),
) -> tuple[list[torch.Tensor], list[float]]:
    """Trains from scratch.

    Args:
        data: what on.
        config: how.
        save: called with the parameters and the number of steps, after every `save_every` steps but the last.
        save_every: see there.
        stop: if there is something in it after a step, that was the last.

    Returns:
        The parameters, and the loss of every step.
    """
    from tqdm import tqdm

    device = data.train[0].device
    g = torch.Generator().manual_seed(config.seed)  # on the CPU, so that every device starts from the same numbers
    start = init_parameters(data.vocab_size, config.hidden, g, config.dtype)
    parameters = wrap([p.to(device) for p in start], config.engine)
    losses = []
    with tqdm(range(config.steps), desc=f"train ({config.engine})", unit=" steps", mininterval=0.5) as progress:
        for i in progress:
            Xb, Yb = draw_batch(data.train, config.batch, g)
            v = training_forward(parameters, Xb, Yb)
            for p in parameters:
                p.grad = None
            backward(parameters, v, config.engine)
            lr = 0.1 if i < config.steps / 2 else 0.01  # step learning rate decay
            for p in parameters:
                p.data += -lr * p.grad
            losses.append(v.loss.item())
            if i % 1000 == 0:
                progress.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
            if stop:
                break
            if save is not None and (i + 1) % save_every == 0 and i + 1 < config.steps:
                save(finite([p.data for p in parameters]), i + 1)
    return finite([p.data for p in parameters]), losses


def finite(trained: list[torch.Tensor]) -> list[torch.Tensor]:
    """The parameters, if they are of any use."""
    if not all(p.isfinite().all() for p in trained):
        raise UserError("the training diverged: try a larger --batch, more names or another --seed")
    return trained


def calibrate(data: Data, parameters: list[torch.Tensor], config: Config) -> Model:
    """Fixes batch norm's mean and variance to those of the whole training set."""
    hprebn = before_batch_norm(parameters, data.train[0])
    bnmean = hprebn.mean(0, keepdim=True)
    bnvar = hprebn.var(0, keepdim=True, unbiased=True)
    return Model(parameters, bnmean, bnvar, data.chars, {**asdict(config), "dtype": str(config.dtype)})


def split_loss(model: Model, examples: Examples) -> float:
    """The mean cross entropy over one split."""
    chunks = zip(examples[0].split(CHUNK), examples[1].split(CHUNK), strict=True)
    total = sum(F.cross_entropy(model(X), Y, reduction="sum").item() for X, Y in chunks)
    return total / examples[1].shape[0]


def plot_losses(losses: Sequence[float], path: Path) -> None:
    """Draws log10 of the loss, as means over stretches of steps so that the trend shows."""
    from matplotlib.figure import Figure

    stretch = max(1, len(losses) // 200)
    means = torch.tensor(losses[: len(losses) // stretch * stretch]).log10().view(-1, stretch).mean(1)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([(i + 1) * stretch for i in range(len(means))], means.tolist())
    axes.set(xlabel="step", ylabel=f"log10 of the loss, means of {stretch} steps")
    axes.grid(alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150)
    files.replace(path, picture.getvalue())
