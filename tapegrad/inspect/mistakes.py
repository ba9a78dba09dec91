"""The names that errors have for their operands: those of the variables in the code that made the mistake."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from tapegrad import mistakes
from tapegrad.inspect.names import scope_of, tensors_in


def introduce() -> None:
    """Let errors know the variables of the user's code."""
    mistakes.variables = _variables


def _variables(frame: FrameType) -> Iterator[tuple[str, Any]]:
    """The tensors that a frame can see, with their names."""
    depth, current = 0, sys._getframe()
    while current is not frame and current.f_back is not None:
        depth, current = depth + 1, current.f_back
    return tensors_in(scope_of(None, depth))
