"""Finding where a NaN or an infinity was made."""

from __future__ import annotations

import linecache
import os
import sys
from contextlib import ContextDecorator
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from tapegrad.engine.tape import Record, observers
from tapegrad.errors import Anomaly

# Folders whose files hold no line of the user's: this package's root, and torch's.
_OURS = tuple([str(Path(root)) + os.sep for root in (Path(__file__).parents[1], Path(torch.__file__).parent)])


class detect_anomaly(ContextDecorator):
    """Stop at the first recorded op whose output, or whose gradient, is NaN or infinite.

    A context manager and a decorator. Inside it each op is checked as it runs and each gradient as it is computed,
    which takes time; outside it, nothing is checked. As torch's anomaly mode, it holds for all threads.

    Args:
        infinite: whether infinities count as well as NaN; switch it off for code that masks with ``-inf``.

    Raises:
        Anomaly: with the op, the shapes, some of the values, and the line of the user's that ran the op.
    """

    def __init__(self, infinite: bool = True) -> None:
        self.infinite = infinite

    def __enter__(self) -> detect_anomaly:
        observers.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        observers.remove(self)

    def made(self, record: Record, out: torch.Tensor) -> None:
        """Check what an op has computed, and remember the line that ran it."""
        record.where = user_line()
        self._check(out, f"{record.op.name}(): the output", record)

    def passed(self, record: Record, argument: str, g: Any) -> None:
        """Check the gradient of an op's argument."""
        if isinstance(g, torch.Tensor):  # else the walk refuses it
            self._check(g, f"{record.op.name}(): the gradient of {argument}", record)

    def _check(self, value: torch.Tensor, what: str, record: Record) -> None:
        bad = ~value.isfinite() if self.infinite else value.isnan()
        if not bad.any():
            return
        place = tuple(bad.nonzero()[0].tolist())
        sample = ", ".join(f"{v:g}" for v in value[bad][:5].tolist())
        raise Anomaly(
            f"{what}, of shape {tuple(value.shape)}, has {int(bad.sum())} of {value.numel()} elements that are NaN"
            f"{' or infinite' if self.infinite else ''}, the first at {list(place)}: {sample}\n"
            f"the op ran at {getattr(record, 'where', None) or 'a line outside detect_anomaly()'}"
        )


def user_line() -> str:
    """Where the code that called tapegrad stands, and the code."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    name, line = frame.f_code.co_filename, frame.f_lineno
    return f"{name}:{line}: {linecache.getline(name, line).strip()}"
