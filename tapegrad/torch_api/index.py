"""What torch takes between the brackets of ``x[...]``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tapegrad.engine.tensor import Tensor


def canonical(index: Any, data: torch.Tensor) -> Any:
    """An index with its lists, ranges and arrays made tensors once, for the forward and the backward pass.

    Args:
        index: what stood between the brackets: int, slice, None, Ellipsis, bool, list, range, integer or mask tensor or
            array, or a tuple of these.
        data: the indexed tensor.
    """
    kind = type(index)
    if kind is torch.Tensor or kind is int or kind is slice:
        return index
    if kind is tuple:
        return tuple([canonical(i, data) for i in index])
    if kind is range:
        if not index:
            return torch.empty(0, dtype=torch.long, device=data.device)
        return torch.arange(index.start, index.stop, index.step, device=data.device)
    if kind is Tensor:
        return index._data
    if isinstance(index, list):
        index = [i.tolist() if isinstance(i, (torch.Tensor, Tensor, np.ndarray)) else i for i in index]
        return torch.tensor(index, device=data.device, dtype=None if index else torch.long)
    if isinstance(index, np.ndarray):
        return torch.as_tensor(index, device=data.device)
    return int(index) if isinstance(index, np.integer) else index
