"""Torch's functions said in terms of others, which refuse what torch's own refuse."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

from tapegrad.engine.table import TABLE, enter, spellings
from tapegrad.engine.tensor import Tensor

_VALUES = {int, bool, str, type(None), torch.dtype, torch.Size}  # these decide what torch takes; floats are too many
_MOST = 4096  # forms of calls that are remembered, for each function


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

    It is asked on the meta device, where nothing is computed, at the first call of each form: other options, dtypes or
    numbers of dimensions. Sizes that do not fit are left to the functions that the body is made of.
    """
    known: set[tuple[Any, ...]] = set()

    @wraps(body)
    def entry(*args: Any, **kwargs: Any) -> Any:
        form = tuple([*map(_form, args), *kwargs, *map(_form, kwargs.values())] if kwargs else map(_form, args))
        if form not in known:
            _ask(function, args, kwargs)
            if len(known) < _MOST:
                known.add(form)
        return body(*args, **kwargs)

    return entry


def _form(value: Any) -> Any:
    """What of an argument decides whether torch takes it."""
    kind = type(value)
    if kind is Tensor:
        data = value._data
        return data.ndim, data.dtype, value.record is None and not value._requires_grad
    if kind in _VALUES:
        return kind, value
    if kind is torch.Tensor:
        return value.ndim, value.dtype
    if kind is tuple or kind is list:
        return kind, *map(_form, value)
    return kind


def _ask(function: Callable[..., Any], args: Any, kwargs: Any) -> None:
    """Run a torch function on tensors without memory, and raise what it raises."""
    try:
        stand_ins = _stand_in(args), _stand_in(kwargs)
    except (RuntimeError, NotImplementedError):  # of a layout that the meta device does not have
        return
    try:
        with torch.no_grad():
            function(*stand_ins[0], **stand_ins[1])
    except (Warning, NotImplementedError):
        return
    except Exception as error:
        if "meta" not in str(error).lower():  # as it would say of any values it asks for
            raise


def _stand_in(value: Any) -> Any:
    """Tensors of the same shape and dtype that hold nothing; but whole numbers, given as tensors, as they are."""
    if isinstance(value, Tensor):
        stand_in = _stand_in(value._data)
        return stand_in.requires_grad_() if value.requires_grad and torch.is_grad_enabled() else stand_in
    if isinstance(value, torch.Tensor):
        if value.ndim == 0 and not value.is_floating_point():
            return value.clone()
        return torch.empty(value.shape, dtype=value.dtype, device="meta")
    if isinstance(value, (list, tuple)):
        items = [_stand_in(v) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {name: _stand_in(v) for name, v in value.items()}
    return value
