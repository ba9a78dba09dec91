"""What was trained, on disk: a dict of plain tensors, numbers and strings, so that `weights_only=True` can load it."""

import io
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from examples.makemore import files
from examples.makemore.errors import UserError

FILE_NAME = "checkpoint.pt"
KEPT = "previous.pt"  # beside it: the last finished model that another run has replaced
UNFINISHED = "unfinished-{run}.pt"  # likewise: what a run has stored that is still on its way, or was stopped
LARGEST = 2**31  # bytes


def save(stored: dict[str, Any], path: Path) -> None:
    """Writes a checkpoint in place of the one that is there, in one step: see `files.replace`.

    What another run has stored is kept beside it, as `KEPT` if it is finished, or no checkpoint, and else under a name
    of the run's own, which goes when that run is finished. So two runs may share a folder, and either may be killed.

    Args:
        stored: what is to be loaded again. `run` names the run, and `finished` says whether there is more to come; the
            rest is the caller's.
        path: where to.

    Raises:
        UserError: it cannot be written; the old file is as it was.
    """
    content = io.BytesIO()
    torch.save(stored, content)
    try:
        there = load(path, torch.device("cpu"))
        other = there.get("run")
        on_its_way = there.get("finished") is False and type(other) is str and other.isalnum()
        kept = UNFINISHED.format(run=other) if on_its_way else KEPT
        keep = other != stored["run"]
    except UserError:
        kept, keep = KEPT, path.is_file()
    if keep:
        files.replace(path.with_name(kept), files.read(path, LARGEST))
    files.replace(path, content.getvalue())
    if stored["finished"] and stored["run"]:
        path.with_name(UNFINISHED.format(run=stored["run"])).unlink(missing_ok=True)


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """Reads a dict that `save` wrote. It runs no code, whatever the file says.

    Raises:
        UserError: there is no such file, or it is another.
    """
    try:
        content = io.BytesIO(files.read(path, LARGEST))
    except FileNotFoundError as error:
        raise UserError(f"no checkpoint in {path.parent}: run `python -m examples.makemore train` first") from error
    except UserError as error:
        raise refusal(path, str(error)) from error
    try:
        with warnings.catch_warnings(action="ignore"):  # about other formats, which are refused anyway
            stored = torch.load(content, map_location=device, weights_only=True)
    except Exception as error:  # what torch.load raises on other files is of many kinds
        raise refusal(path, "torch cannot load it") from error
    if type(stored) is not dict:
        raise refusal(path, "it holds no dict")
    return stored


def find(path: Path) -> dict[str, Any] | None:
    """What a training is to go on from; None if nothing has been stored yet. Raises as `load`."""
    if path.exists():
        return load(path, torch.device("cpu"))
    print(f"no checkpoint in {path.parent} yet: the training begins", file=sys.stderr)
    return None


def refusal(path: Path, why: str) -> UserError:
    """What to say of a file that is no checkpoint."""
    return UserError(f"{path} is not a checkpoint of this example ({why}): train again, or name another --out")
