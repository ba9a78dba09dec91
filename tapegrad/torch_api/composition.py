"""Torch's functions said in terms of others, which refuse what torch's own refuse."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any

import numpy as np
import torch

from tapegrad.engine.signature import name_of
from tapegrad.engine.table import TABLE, enter, spellings
from tapegrad.engine.tensor import Tensor, adopted, wrap
from tapegrad.mistakes import explain, is_of_a_kernel
from tapegrad.numbers import has_foreign_numbers, pythons

_VALUES = {int, bool, str, type(None), torch.dtype, torch.Size}  # these decide what torch takes
_IN_OUR_WORDS = (TypeError, ValueError, RuntimeError)  # what bodies raise; others are accidents
_MOST = 4096  # forms of calls that are remembered, for each function

unseen: Callable[[], AbstractContextManager[Any]] = nullcontext  # plan/ sets it: what torch is asked it need not record


def composition(*functions: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Say a torch function in terms of other recorded ones: it needs no rule, its parts have theirs.

    Args:
        *functions: torch's functions that the body stands for, under each of the names that torch gives them.
    """

    def register(body: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            enter(function, asking(function, body))
            for spelling in spellings(function):
                TABLE[spelling] = asking(spelling, body)
        return body

    return register


def asking(function: Callable[..., Any], body: Callable[..., Any]) -> Callable[..., Any]:
    """``body`` in the place of a torch function that does not run itself, but is asked what it would refuse.

    It is asked at the first call of each form, of other numbers of dimensions, dtypes or options: with copies, so that
    it changes nothing. The meta device would do without, but to load its kernels takes seconds. ``body`` is then given
    Python's numbers in place of other objects that are numbers.
    """
    known: dict[tuple[Any, ...], bool] = {}  # form -> whether it has numbers that are not Python's

    @wraps(body)
    def entry(*args: Any, **kwargs: Any) -> Any:
        try:
            form = tuple([*map(_form, args), *kwargs, *map(_form, kwargs.values())] if kwargs else map(_form, args))
            foreign_numbers = known.get(form)
            if foreign_numbers is None:
                if True in map(_is_foreign, (*args, *kwargs.values())):
                    own = {name: adopted(value, function.__name__, name) for name, value in kwargs.items()}
                    return entry(*[adopted(arg, function.__name__, "an argument") for arg in args], **own)
                _ask(function, body, args, kwargs)
                if len(known) == _MOST:
                    known.clear()
                foreign_numbers = known[form] = has_foreign_numbers([*args, *kwargs.values()])
            if foreign_numbers:
                return entry(*pythons(args), **{name: pythons(value) for name, value in kwargs.items()})
            return body(*args, **kwargs)
        except Exception as error:
            explain(error, name_of(function), body, args, kwargs)
            raise

    return entry


def _form(value: Any) -> Any:
    """What of an argument decides whether torch takes it."""
    kind = type(value)
    if kind is Tensor:
        record = value.record
        if record is not None:
            return len(record.shape), record.dtype
        return value.ndim, value.dtype, value._requires_grad
    if kind in _VALUES:
        return kind, value
    if isinstance(value, torch.Tensor):
        return value.ndim, value.dtype, value.requires_grad
    if kind is np.ndarray:
        return value.ndim, value.dtype
    if kind is float:  # where the bounds of options lie: eps > 0, 0 <= p <= 1
        return kind, value > 0, value == 0, value <= 1
    if kind is tuple or kind is list:
        return kind, *map(_form, value)
    return kind


def _is_foreign(value: Any) -> bool:
    """Whether torch.autograd tracks an argument, or one in a sequence."""
    if type(value) is tuple or type(value) is list:
        return any(map(_is_foreign, value))
    return isinstance(value, torch.Tensor) and value.requires_grad


def _ask(function: Callable[..., Any], body: Callable[..., Any], args: Any, kwargs: Any) -> None:
    """Run a torch function on copies, and raise what it raises: in our words, if ``body`` has some."""
    given = _copied(args), _copied(kwargs)
    recording = torch.is_grad_enabled()
    try:  # not torch.no_grad(), which leaves the mode off where an interrupt falls into its first step
        torch._C._set_grad_enabled(False)
        with unseen(), torch.random.fork_rng():
            refusal = _refusal(function, *given)
            if refusal is not None:
                ours = _refusal(body, *_wrapped(given))
                raise ours if isinstance(ours, _IN_OUR_WORDS) and _is_chosen(ours) else refusal
    finally:
        torch._C._set_grad_enabled(recording)


def _is_chosen(ours: Exception) -> bool:
    """Whether a body has chosen its words: not of one of torch's kernels, nor Python's of a call that does not fit."""
    within = ours.__traceback__ is not None and ours.__traceback__.tb_next is not None
    return within and not is_of_a_kernel(ours)


def _refusal(function: Callable[..., Any], args: Any, kwargs: Any) -> Exception | None:
    """What a function raises."""
    try:
        function(*args, **kwargs)
    except Warning:  # where warnings are errors
        return None
    except Exception as error:
        return error
    return None


def _copied(value: Any) -> Any:
    """Arguments for torch: copies of tensors, which require grad where Tensors do, for torch may refuse them then."""
    if isinstance(value, Tensor):
        copy = value._data.detach().clone()
        return copy.requires_grad_() if value.requires_grad and torch.is_grad_enabled() else copy
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):
        items = [_copied(v) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return {name: _copied(v) for name, v in value.items()} if isinstance(value, dict) else value


def _wrapped(value: Any) -> Any:
    """The copies as Tensors."""
    if isinstance(value, torch.Tensor):
        return wrap(value.detach(), None)
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)([_wrapped(v) for v in value])
    return {name: _wrapped(v) for name, v in value.items()} if isinstance(value, dict) else value
