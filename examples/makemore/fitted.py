"""A module's training on disk: stored whole, with all it needs to go on, or to be asked for names."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from examples.makemore import checkpoint
from examples.makemore.errors import UserError
from examples.makemore.fit import Settings, Training
from examples.makemore.modules import LONGEST, MODULES, build
from examples.makemore.names import END, is_alphabet
from examples.makemore.resume import losses_of, same_settings
from examples.makemore.trained import WIDEST


@dataclass(frozen=True)
class Fitted:
    """A trained module and its alphabet, to be asked for names."""

    net: nn.Module
    chars: str
    device: torch.device
    longest: int = LONGEST  # characters of a name

    def next_logits(self, name: list[int]) -> torch.Tensor:
        """What follows the characters so far: (1, vocab)."""
        logits: torch.Tensor = self.net(torch.tensor([[END, *name]], device=self.device))[:, -1]
        return logits


def plain(settings: Settings) -> dict[str, Any]:
    """The settings as numbers and strings."""
    return {**asdict(settings), "dtype": str(settings.dtype)}


def save(training: Training, chars: str, path: Path, run: str) -> None:
    """Writes the training, as it is now: see `checkpoint.save`."""
    stored = {
        "model": training.net.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "losses": torch.tensor(training.losses, dtype=torch.float64),
        "chars": chars,
        "config": plain(training.settings),
        "run": run,
        "step": len(training.losses),
        "finished": len(training.losses) == training.settings.steps,
    }
    checkpoint.save(stored, path)


def load(stored: dict[str, Any], path: Path, device: torch.device) -> Fitted:
    """The trained module of a checkpoint.

    Args:
        stored: what was loaded.
        path: where from.
        device: where to.

    Raises:
        UserError: it is none of this example.
    """
    if why := fault(stored):
        raise checkpoint.refusal(path, why)
    net = skeleton(stored)
    net.load_state_dict(stored["model"], assign=True)
    return Fitted(net.to(device).eval(), stored["chars"], device)


def resume(training: Training, stored: dict[str, Any], path: Path) -> str:
    """Brings a training to where the stored one of the same settings was; returns the name of its run.

    Args:
        training: one that has just begun; it is changed in place.
        stored: what was loaded. It may have had fewer steps before it.
        path: where from.

    Raises:
        UserError: the checkpoint is none of this example, or of other settings.
    """
    same_settings(plain(training.settings), stored, path, free=("steps",))
    if why := fault(stored):
        raise checkpoint.refusal(path, why)
    losses = losses_of(stored, path)
    if len(losses) > training.settings.steps:
        raise UserError(f"argument --steps: the training in {path} has come to {len(losses)} steps already")
    moments = stored.get("optimizer")
    if not isinstance(moments, dict) or not fits(moments.get("state"), training):
        raise checkpoint.refusal(path, "its optimizer's state does not fit")
    training.net.load_state_dict(stored["model"])
    training.optimizer.load_state_dict({**training.optimizer.state_dict(), "state": moments["state"]})
    training.losses[:] = losses
    return str(stored["run"])


MOMENTS = {"adamw": {"step", "exp_avg", "exp_avg_sq"}, "sgd": set()}  # what an optimizer keeps for each parameter


def fits(state: Any, training: Training) -> bool:
    """Whether this can be what the optimizer of a training keeps."""
    if not isinstance(state, dict):
        return False
    for i, p in enumerate(training.net.parameters()):
        kept = state.get(i, {})
        if not isinstance(kept, dict):
            return False
        kept = {name: t for name, t in kept.items() if t is not None}
        if set(kept) != MOMENTS[training.settings.optimizer]:
            return False
        for name, t in kept.items():
            if not holds_numbers(t, () if name == "step" else p.shape):
                return False
    return True


def skeleton(stored: dict[str, Any]) -> nn.Module:
    """The module that a checkpoint is of, without numbers."""
    with torch.device("meta"):
        return build(stored["config"]["model"], len(stored["chars"]) + 1, stored["config"]["hidden"], 0, torch.float32)


def fault(stored: dict[str, Any]) -> str:
    """What is wrong with a stored module; "" if nothing is."""
    state, config = stored.get("model"), stored["config"]
    if not is_alphabet(stored.get("chars")):
        return "its alphabet is not that of a list of names"
    hidden = config.get("hidden")
    if type(config["model"]) is not str or config["model"] not in MODULES:
        return "its model is none of these"
    if type(hidden) is not int or not 0 < hidden <= WIDEST:
        return "it has no number of hidden neurons"
    if not isinstance(state, dict):
        return "it has no parameters"
    expected = skeleton(stored).state_dict()
    if set(state) != set(expected):
        return f"its parameters are not those of {config['model']}"
    dtypes = {getattr(t, "dtype", None) for t in state.values()}
    if len(dtypes) != 1 or not dtypes <= {torch.float32, torch.float64}:
        return "its parameters are not all float32 or all float64"
    for name, t in state.items():
        if not holds_numbers(t, expected[name].shape):
            return f"{name} has values that are not finite, or not that many"
    return ""


def holds_numbers(t: Any, shape: Sequence[int]) -> bool:
    """Whether this is a tensor of a shape, of finite numbers."""
    if not isinstance(t, torch.Tensor) or t.layout is not torch.strided or t.is_meta or t.shape != tuple(shape):
        return False
    return bool(t.isfinite().all())
