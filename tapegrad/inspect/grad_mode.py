"""Running something with the recording of gradients on or off, whatever interrupts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def in_grad_mode(mode: bool, function: Callable[[], Result]) -> Result:
    """What ``function()`` returns with grad mode set to ``mode``; afterwards it is as it was.

    ``with torch.no_grad():`` leaves the mode off where Ctrl-C falls between its first step and the block.
    """
    recording = torch.is_grad_enabled()
    try:
        torch._C._set_grad_enabled(mode)
        return function()
    finally:
        torch._C._set_grad_enabled(recording)
