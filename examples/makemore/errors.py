"""The exceptions of the example."""

import signal
from pathlib import Path


class UserError(Exception):
    """Something the person at the command line can put right; the message says how, in one line."""


class Stopped(Exception):
    """A training was stopped by a signal, and what there was is kept; the message says where, in one line."""

    def __init__(self, number: int, steps: int, path: Path) -> None:
        name = signal.Signals(number).name
        super().__init__(f"stopped by {name} after {steps} steps; the network so far is in {path}")
        self.signal = number
