"""The exceptions of the example."""


class UserError(Exception):
    """Something the person at the command line can put right; the message says how, in one line."""


class Stopped(Exception):
    """The work was stopped by a signal, and what there was is kept; the message says where, in one line."""

    def __init__(self, signal: int, message: str) -> None:
        super().__init__(message)
        self.signal = signal
