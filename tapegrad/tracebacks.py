"""Tracebacks that end at the user's line: our frames, and torch's below them, are left out.

What raises an error is most often our code or torch's, deep below the line that is wrong. So where an error leaves
tapegrad, its traceback is given anew: it keeps the frames of the user's (a hook, a formula, a function that is
differentiated), and where there are none it ends at the line that called us. To see all frames, for work on tapegrad
itself, set ``TAPEGRAD_TRACEBACK=full`` in the environment, at any time. ``__cause__`` and notes stay.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from types import FrameType, FunctionType, TracebackType
from typing import Any, TypeVar

# Whose code is not the user's: ours, what we call, and Python's own.
_OTHERS = {"tapegrad", "torch", "numpy", "graphviz", "IPython"} | sys.stdlib_module_names

F = TypeVar("F", bound=Callable[..., Any])


def trim(error: BaseException, depth: int = 1) -> None:
    """Leave the user's frames only in the traceback of an error that is about to leave us, and at least one of them.

    It is raised again as it is, for then Python adds no frame; and to be ready for it costs nothing until it fails::

        try:
            return apply(op, args)
        except Exception as error:
            trim(error)
            raise

    Args:
        error: what was caught.
        depth: how many calls up it was caught.
    """
    if os.environ.get("TAPEGRAD_TRACEBACK") == "full":
        return
    caller = sys._getframe(depth).f_back
    kept: list[TracebackType] = []
    traceback = error.__traceback__
    while traceback is not None:
        if is_users(traceback.tb_frame) and traceback.tb_frame is not caller:  # Python will add our caller itself
            if kept and kept[-1].tb_frame is traceback.tb_frame:  # once as it passed, and once as it was added below
                kept.pop()
            kept.append(traceback)
        traceback = traceback.tb_next
    for entry in reversed(kept):
        traceback = TracebackType(traceback, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    if not kept and caller is not None and not is_users(caller) and (frame := users_frame()) is not None:
        traceback = TracebackType(None, frame, frame.f_lasti, frame.f_lineno)  # behind those of ours that still come
    error.__traceback__ = traceback


def is_users(frame: FrameType) -> bool:
    """Whether a frame runs the user's code, or that of a library which the user has called."""
    module = dict.get(frame.f_globals, "__name__")
    written = "__tapegrad__" in frame.f_globals  # source of ours that is of no module, and must not seem to be
    return not (written or (isinstance(module, str) and str.partition(module, ".")[0] in _OTHERS))


def users_frame() -> FrameType | None:
    """The innermost frame of the user's, if there is one."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_users(frame):
        frame = frame.f_back
    return frame


def trimmed(function: F) -> F:
    """A public function whose errors end at the user's line; for what is not called so often that a frame counts."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            trim(error)
            raise

    return run  # type: ignore[return-value]  # of F's own signature


def trimmed_members(cls: type, names: Iterable[str] = ()) -> None:
    """Trim the errors of a class's methods, all if none are named, and of setting properties, not of reading them."""
    for name in names or [name for name, member in vars(cls).items() if isinstance(member, FunctionType)]:
        member = vars(cls)[name]
        if isinstance(member, property):
            setattr(cls, name, member.setter(trimmed(member.fset)) if member.fset else member)
        else:
            setattr(cls, name, trimmed(member))
