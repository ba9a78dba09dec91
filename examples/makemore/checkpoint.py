"""A trained model on disk: plain tensors, numbers and strings, so that `weights_only=True` can load it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from examples.makemore.errors import UserError
from examples.makemore.model import PARAMETERS, predict

FILE_NAME = "checkpoint.pt"


@dataclass(frozen=True)
class Model:
    """The seven parameters, batch norm's calibration, the alphabet and the settings it was trained with."""

    parameters: list[torch.Tensor]
    bnmean: torch.Tensor  # (1, hidden)
    bnvar: torch.Tensor  # (1, hidden)
    chars: str
    config: dict[str, Any]

    def __call__(self, X: torch.Tensor) -> torch.Tensor:
        """Contexts (N, 3) to logits (N, vocab)."""
        return predict(self.parameters, self.bnmean, self.bnvar, X)


def save(model: Model, path: Path) -> None:
    """Writes the model."""
    tensors = {"bnmean": model.bnmean, "bnvar": model.bnvar, **dict(zip(PARAMETERS, model.parameters, strict=True))}
    tensors = {name: tensor.cpu() for name, tensor in tensors.items()}
    torch.save({"tensors": tensors, "chars": model.chars, "config": model.config}, path)


def load(path: Path, device: torch.device) -> Model:
    """Reads a model that `save` wrote."""
    try:
        stored = torch.load(path, map_location=device, weights_only=True)
        tensors = stored["tensors"]
        parameters = [tensors[name] for name in PARAMETERS]
        return Model(parameters, tensors["bnmean"], tensors["bnvar"], stored["chars"], stored["config"])
    except FileNotFoundError as error:
        raise UserError(f"no checkpoint in {path.parent}: run `python -m examples.makemore train` first") from error
    except Exception as error:  # what torch.load raises on other files is of many kinds
        raise UserError(f"{path} is not a checkpoint of this example: train again, or name another --out") from error
