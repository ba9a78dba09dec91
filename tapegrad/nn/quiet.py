"""Keeping ``recording()`` out of our own work.

Torch asks a mode about every function and attribute of torch tensors, and ours works on torch tensors all the time. So
while some thread records, what a Tensor can do is done with the mode put aside.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any, TypeVar

import torch

from tapegrad.engine.tensor import Tensor

MODE: type = type(None)  # recording(), which sets it
_pop, _push = torch._C._pop_torch_function_stack, torch._C._push_on_torch_function_stack
_is_any = torch._C._is_torch_function_mode_enabled
_depth = torch._C._len_torch_function_stack
_get = torch._C._get_function_stack_at


def is_recording() -> bool:
    """Whether this thread is inside ``recording()``."""
    return any(type(_get(i)) is MODE for i in range(_depth()))


F = TypeVar("F", bound=Callable[..., Any])


def quiet(function: F) -> F:
    """A function that runs with ``recording()`` put aside, if that is the innermost mode."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not _is_any():
            return function(*args, **kwargs)
        mode = _pop()
        try:
            if type(mode) is MODE:
                return function(*args, **kwargs)
        finally:
            _push(mode)
        return function(*args, **kwargs)

    return run  # type: ignore[return-value]


_lock = Lock()
_recording = 0  # how many threads are
_usual: dict[str, Any] = {}  # what Tensor has while nobody records
_quieted: dict[str, tuple[Any, Any]] = {}  # each member with its quiet form, once it is made
_LOUD = {"__init_subclass__", "__torch_function__", "__hash__", "__class__", "__slots__", "__weakref__"}
# These look at who calls them, and there must be nobody in between.
_LOUD |= {"__setitem__", *[f"__i{name}__" for name in "add sub mul truediv floordiv mod pow".split()]}


def begin() -> None:
    """A thread begins to record: what Tensors do is done quietly."""
    global _recording
    with _lock:
        _recording += 1
        if _recording == 1:
            _hush()


def _hush() -> None:
    for name, member in list(vars(Tensor).items()):
        known = _quieted.get(name)
        if known is not None and member is known[1]:  # it is quiet already
            continue
        if known is None or known[0] is not member:
            if name in _LOUD or not (callable(member) or isinstance(member, property)):
                continue
            known = _quieted[name] = member, _quiet_member(member)
        _usual[name] = member
        setattr(Tensor, name, known[1])


def renew() -> None:
    """Some of what Tensor can do is done otherwise from now on."""
    with _lock:
        if _recording:
            _hush()


def end() -> None:
    """A thread has ended recording."""
    global _recording
    with _lock:
        _recording -= 1
        if _recording == 0:
            for name, member in _usual.items():
                setattr(Tensor, name, member)
            _usual.clear()


def _quiet_member(member: Any) -> Any:
    if isinstance(member, property):
        get, set_ = member.fget, member.fset
        return property(get and quiet(get), set_ and quiet(set_), doc=member.__doc__)
    return quiet(member)
