"""What a training that goes on must find as it was: the settings, and the losses so far."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from examples.makemore import checkpoint
from examples.makemore.errors import UserError

LECTURE = "lecture"  # the model whose parameters are tensors of no module, and which the settings do not name


def model_of(stored: dict[str, Any]) -> Any:
    """The name of the model that a checkpoint says it is of."""
    config = stored.get("config")
    return config.get("model", LECTURE) if type(config) is dict else LECTURE


def same_settings(now: dict[str, Any], stored: dict[str, Any], path: Path, free: Collection[str] = ()) -> None:
    """Checks that a stored training was given the same settings, without which it would not go on to the same bits.

    Args:
        now: what the command line says; with no model it is the lecture's.
        stored: the checkpoint.
        path: where.
        free: settings that may have changed.

    Raises:
        UserError: one is another, and the message says which, and what it was; or there are none.
    """
    if type(stored.get("config")) is not dict:
        raise checkpoint.refusal(path, "it has no settings")
    then = {**stored["config"], "model": model_of(stored)}
    for name, value in {"model": LECTURE, **now}.items():
        was = then.get(name)
        if name in free or was == value:
            continue
        was = "another list" if name == "names" else str(was).removeprefix("torch.")
        option = "the number of processes" if name == "processes" else f"argument --{name}"
        raise UserError(f"{option}: it was {was} in the training that {path} holds: give that, or another --out")


def losses_of(stored: dict[str, Any], path: Path) -> list[float]:
    """The losses of the steps so far.

    Raises:
        UserError: they are not there.
    """
    losses, step = stored.get("losses"), stored.get("step")
    if not isinstance(losses, torch.Tensor) or losses.dtype is not torch.float64 or losses.shape != (step,):
        raise checkpoint.refusal(path, "it does not say how far the training had come")
    if type(stored.get("run")) is not str:
        raise checkpoint.refusal(path, "its run has no name")
    return list(losses.tolist())
