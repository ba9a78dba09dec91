"""Torch's functions said in terms of others, which take what torch's own take and refuse the rest."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator
from functools import wraps
from types import NoneType, UnionType
from typing import Any

import numpy as np
import torch

from tapegrad.engine.table import enter
from tapegrad.engine.tensor import Tensor
from tapegrad.errors import MissingRule

# What may be given for an argument, by its annotation. To torch, a tensor of one number is a number.
_ACCEPTED: dict[type, tuple[type, ...]] = {
    bool: (bool, np.bool_),
    int: (int, np.integer, torch.SymInt),
    float: (float, int, np.floating, np.integer, torch.SymFloat, torch.SymInt),
    str: (str,),
    NoneType: (NoneType,),
    torch.dtype: (torch.dtype,),
    torch.Tensor: (torch.Tensor,),
    tuple: (tuple, list),
}
_NUMBERS = {int, float}


def composition(*functions: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Say a torch function in terms of other recorded ones: it needs no rule, its parts have theirs.

    The annotations of the body are held: an argument that is to be a bool, a number, a string or a dtype is refused if
    it is something else, as torch refuses it, or if it is a Tensor that requires grad, whose gradient would be lost.
    ``Any`` takes everything, and gives each Tensor its gradient.

    Args:
        *functions: torch's functions that the body stands for.
    """

    def register(body: Callable[..., Any]) -> Callable[..., Any]:
        entry = typed(body)
        for function in functions:
            enter(function, entry)
        return body

    return register


def typed(body: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose annotations are held."""
    names = tuple(inspect.signature(body).parameters)
    kinds = dict(annotated(body))
    if not kinds:
        return body
    met: set[tuple[Any, ...]] = set()  # types of arguments that were accepted: to look at each takes longer

    @wraps(body)
    def entry(*args: Any, **kwargs: Any) -> Any:
        types = (*map(type, args), *kwargs, *map(type, kwargs.values()))
        if types not in met:
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            checked = [n for n in kinds if n in given]
            cacheable = [accepted(body.__name__, n, given[n], kinds[n]) for n in checked]
            if all(cacheable):
                met.add(types)
        return body(*args, **kwargs)

    return entry


def annotated(body: Callable[..., Any]) -> Iterator[tuple[str, tuple[type, ...]]]:
    """The arguments of a function whose annotation says what they may be."""
    for name, annotation in typing.get_type_hints(body).items():
        types = typing.get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
        types = tuple([typing.get_origin(t) or t for t in types])
        if name != "return" and _ACCEPTED.keys() >= set(types):
            yield name, types


def accepted(function: str, name: str, value: Any, kinds: tuple[type, ...]) -> bool:
    """Whether all values of this one's type are accepted; of tensors, it depends on the tensor.

    Raises:
        TypeError: this one is not.
        MissingRule: it requires grad.
    """
    if isinstance(value, Tensor) and value.requires_grad and torch.is_grad_enabled():
        raise MissingRule(
            f"{function}(): {name} takes no gradient, and a Tensor that requires grad was given for it; use "
            f"{name}.item() or {name}.detach() if it is a constant"
        )
    if any(isinstance(value, _ACCEPTED[kind]) for kind in kinds) and not (type(value) is bool and bool not in kinds):
        return True
    tensor = value.data if isinstance(value, Tensor) else value
    if isinstance(tensor, torch.Tensor) and (torch.Tensor in kinds or (tensor.ndim == 0 and _NUMBERS & set(kinds))):
        return False
    expected = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
    raise TypeError(f"{function}(): argument {name!r} must be {expected}, not {type(value).__name__}")
