"""The trained network: what is stored of it, and what must be right before it is used again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from examples.makemore import checkpoint
from examples.makemore.model import N_EMBD, PARAMETERS, predict
from examples.makemore.names import BLOCK_SIZE, END, is_alphabet
from examples.makemore.sample import LONGEST

WIDEST = 2**16  # hidden neurons


@dataclass(frozen=True)
class Model:
    """The seven parameters, batch norm's calibration, the alphabet and the settings it was trained with."""

    parameters: list[torch.Tensor]
    bnmean: torch.Tensor  # (1, hidden)
    bnvar: torch.Tensor  # (1, hidden)
    chars: str
    config: dict[str, Any]
    longest: int = LONGEST

    def __call__(self, X: torch.Tensor) -> torch.Tensor:
        """Contexts (N, 3) to logits (N, vocab)."""
        return predict(self.parameters, self.bnmean, self.bnvar, X)

    def next_logits(self, name: list[int]) -> torch.Tensor:
        """What follows the characters so far: (1, vocab)."""
        context = [*[END] * BLOCK_SIZE, *name][-BLOCK_SIZE:]
        return self(torch.tensor([context], device=self.bnmean.device))


def save(
    model: Model,
    path: Path,
    run: str = "",
    step: int = 0,
    finished: bool = True,
    progress: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Writes the model, as it is after so many steps of a run, and what it takes to go on: see `checkpoint.save`."""
    tensors = {"bnmean": model.bnmean, "bnvar": model.bnvar, **dict(zip(PARAMETERS, model.parameters, strict=True))}
    stored = {
        "tensors": {name: tensor.detach().cpu() for name, tensor in tensors.items()},
        "chars": model.chars,
        "config": model.config,
        "run": run,
        "step": step,
        "finished": finished,
        **(progress or {}),
    }
    checkpoint.save(stored, path)


def load(path: Path, device: torch.device) -> Model:
    """Reads a model that `save` wrote.

    Raises:
        UserError: there is none, or it is no model of this example.
    """
    return model_of(checkpoint.load(path, device), path)


def model_of(stored: dict[str, Any], path: Path) -> Model:
    """The model in a dict that was loaded from a path; raises as `load`."""
    if why := fault(stored):
        raise checkpoint.refusal(path, why)
    tensors = {name: tensor.detach() for name, tensor in stored["tensors"].items()}
    parameters = [tensors[name] for name in PARAMETERS]
    return Model(parameters, tensors["bnmean"], tensors["bnvar"], stored["chars"], stored["config"])


def fault(stored: dict[str, Any]) -> str:
    """What is wrong with a stored model; "" if nothing is."""
    tensors, chars, config = stored.get("tensors"), stored.get("chars"), stored.get("config")
    if not is_alphabet(chars):
        return "its alphabet is not that of a list of names"
    if type(config) is not dict:
        return "it has no settings"
    if type(tensors) is not dict or set(tensors) != {*PARAMETERS, "bnmean", "bnvar"}:
        return f"its tensors are not {', '.join(PARAMETERS)}, bnmean and bnvar"
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided or tensor.is_meta:
            return f"{name} is no tensor with elements"
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.float64) or tensor.dtype is not tensors["C"].dtype:
            return f"{name} is of {tensor.dtype}"
    hidden, vocab = tensors["b1"].numel(), len(chars) + 1
    shapes = {
        "C": (vocab, N_EMBD), "W1": (N_EMBD * BLOCK_SIZE, hidden), "b1": (hidden,), "W2": (hidden, vocab),
        "b2": (vocab,), **dict.fromkeys(("bngain", "bnbias", "bnmean", "bnvar"), (1, hidden)),
    }  # fmt: skip
    for name, tensor in tensors.items():
        if tensor.shape != shapes[name] or not 0 < hidden <= WIDEST or not tensor.is_contiguous():
            return f"{name} has shape {tuple(tensor.shape)}, which does not fit"
        if not tensor.isfinite().all():
            return f"{name} has values that are not finite"
    return "bnvar has negative values" if (tensors["bnvar"] < 0).any() else ""
