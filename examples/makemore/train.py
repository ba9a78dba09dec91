"""Exercise 4: train the network on any of three engines, which differ in `wrap` and `backward` alone."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F

from examples.makemore import checkpoint, files, manual, trained
from examples.makemore.errors import UserError
from examples.makemore.model import Tensor, before_batch_norm, draw_batch, init_parameters, training_forward
from examples.makemore.names import Data, Examples
from examples.makemore.resume import losses_of, same_settings
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


@dataclass
class Progress:
    """How far a training has come: all that it needs to go on."""

    parameters: list[torch.Tensor]
    generator: torch.Generator  # of the minibatches; on the CPU, so that every device starts from the same numbers
    losses: list[float] = field(default_factory=list)  # of every step so far

    def state(self) -> dict[str, torch.Tensor]:
        """What is stored of it besides the parameters."""
        losses = torch.tensor(self.losses, dtype=torch.float64)
        return {"generator": self.generator.get_state(), "losses": losses}


def begin(data: Data, config: Config) -> Progress:
    """A training before its first step."""
    g = torch.Generator().manual_seed(config.seed)
    return Progress(init_parameters(data.vocab_size, config.hidden, g, config.dtype), g)


def resume(data: Data, config: Config, stored: dict[str, Any], path: Path) -> tuple[Progress, str]:
    """A training where the stored one of the same settings was, and the name of its run.

    Raises:
        UserError: what was loaded from the path is no training of this example, or of other settings.
    """
    same_settings(settings(data, config), stored, path)
    model = trained.model_of(stored, path)
    losses, g = losses_of(stored, path), torch.Generator()
    try:
        g.set_state(stored["generator"])
    except Exception as error:  # torch says in several ways that a state is none
        raise checkpoint.refusal(path, "it does not say where its random draws are") from error
    return Progress(model.parameters, g, losses), stored["run"]


def settings(data: Data, config: Config) -> dict[str, Any]:
    """What decides how a training ends, as numbers and strings."""
    return {**asdict(config), "dtype": str(config.dtype), "names": data.digest}


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
    save: Callable[[Progress], Any] | None = None,
    save_every: int = 0,
    stop: Sequence[int] = (),
    progress: Progress | None = None,
) -> tuple[list[torch.Tensor], list[float]]:
    """Trains from scratch, or from where a training was.

    Args:
        data: what on.
        config: how.
        save: called after every `save_every` steps but the last.
        save_every: see there.
        stop: if there is something in it after a step, that was the last.
        progress: where the training is; it moves with it. If there is none, the training begins.

    Returns:
        The parameters, and the loss of every step.
    """
    from tqdm import tqdm

    progress = begin(data, config) if progress is None else progress
    g, losses, device = progress.generator, progress.losses, data.train[0].device
    parameters = wrap([p.to(device) for p in progress.parameters], config.engine)
    progress.parameters = [p.data for p in parameters]
    title, steps = f"train ({config.engine})", range(len(losses), config.steps)
    with tqdm(steps, title, config.steps, initial=steps.start, unit=" steps", mininterval=0.5) as bar:
        for i in bar:
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
                bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
            if stop:
                break
            if save is not None and (i + 1) % save_every == 0 and i + 1 < config.steps:
                save(progress)
    return finite(progress.parameters), losses


def finite(parameters: list[torch.Tensor], try_: str = "more names") -> list[torch.Tensor]:
    """The parameters, if they are of any use."""
    if not all(p.isfinite().all() for p in parameters):
        raise UserError(f"the training diverged: try a larger --batch, {try_} or another --seed")
    return parameters


def calibrate(data: Data, parameters: list[torch.Tensor], config: Config) -> Model:
    """Fixes batch norm's mean and variance to those of the whole training set."""
    hprebn = before_batch_norm(parameters, data.train[0])
    bnmean = hprebn.mean(0, keepdim=True)
    bnvar = hprebn.var(0, keepdim=True, unbiased=True)
    return Model(parameters, bnmean, bnvar, data.chars, settings(data, config))


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
