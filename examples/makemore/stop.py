"""Ctrl-C, and requests to end, in the middle of work that is to be kept."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def noted() -> Iterator[Sequence[int]]:
    """Notes the first such signal, and leaves it to the work to end; a second one ends the program as usual.

    Yields:
        The signals so far: empty, until there is one.
    """
    seen: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
        ours = []

    def restore() -> None:
        for number in ours:
            signal.signal(number, before[number])

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        restore()

    try:
        for number in ours:
            signal.signal(number, note)
        yield seen
    finally:
        restore()
