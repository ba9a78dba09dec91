"""What torch takes between the brackets of ``x[...]``."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index as whole
from typing import Any

import numpy as np
import torch

from tapegrad.engine.tensor import Tensor
from tapegrad.torch_api.raw import raw

_BOUNDS = {int, type(None)}
# What makes torch take a list for a tuple, if it is in it and the list is short.
_NESTED = (list, tuple, range, str, bytes, slice, type(None), type(Ellipsis), np.ndarray, torch.Tensor, Tensor)
_SHORT = 32


def canonical(index: Any, data: torch.Tensor) -> Any:
    """An index with its lists, ranges and arrays made tensors once, for the forward and the backward pass.

    Args:
        index: what stood between the brackets: int, slice, None, Ellipsis, bool, list, range, integer or mask tensor or
            array, or a tuple of these. As in torch, a short list that holds more than numbers is taken for a tuple.
        data: the indexed tensor.
    """
    kind = type(index)
    if kind is int:
        return index
    if kind is torch.Tensor:
        return index if index.ndim else _as_it_is(index)
    if isinstance(index, tuple) or (isinstance(index, Sequence) and _stands_for_tuple(index)):
        return tuple([_entry(i, data.device) for i in index])
    return _entry(index, data.device)


def _stands_for_tuple(index: Sequence[Any]) -> bool:
    return len(index) < _SHORT and any(isinstance(i, _NESTED) for i in index)


def _entry(index: Any, device: torch.device) -> Any:
    """The index of one dimension, or of as many as a mask has; the numbers in it are as they are now."""
    kind = type(index)
    if kind is int:
        return index
    if kind is torch.Tensor:
        return index if index.ndim else _as_it_is(index)
    if kind is slice:
        bounds = index.start, index.stop, index.step
        if _BOUNDS.issuperset(map(type, bounds)):
            return index
        return slice(*[None if bound is None else whole(bound) for bound in bounds])
    if kind is Tensor:
        return _entry(index._data, device)
    if kind is range and index:
        return torch.arange(index.start, index.stop, index.step, device=device)
    if isinstance(index, np.ndarray):
        return torch.as_tensor(index, device=device)
    if isinstance(index, (str, bytes)):
        raise TypeError(f"an index cannot be {index!r}; give integers, slices, None, ..., masks, or lists of numbers")
    if isinstance(index, Sequence):
        given = [raw(i) for i in index]
        numbers = torch.tensor(given, device=device)
        whole_or_mask = numbers.dtype in (torch.long, torch.bool, torch.uint8)
        return numbers if whole_or_mask else torch.tensor(given, dtype=torch.long, device=device)
    return int(index) if isinstance(index, np.integer) else index


def _as_it_is(index: torch.Tensor) -> Any:
    """A tensor without dimensions as torch takes it: a number, or a mask of one, which the caller may change after."""
    if index.dtype in (torch.bool, torch.uint8):
        return index.clone()
    is_number = not (index.is_floating_point() or index.is_complex() or index.is_meta)
    return int(index) if is_number else index
