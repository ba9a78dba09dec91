"""Rules of indexing: what was read from a place gets its gradient added at that place."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tapegrad.op import kernel, rule


@rule(source=lambda g, index: g[index])
def place(source: Any, shape: Any, index: Any) -> Any:
    """Zeros of ``shape``, with ``source`` added at ``index``: an element read twice receives twice."""
    zeros = source.new_zeros(shape)
    entries = index if type(index) is tuple else (index,)
    basic = [i is None or i is Ellipsis or type(i) in (int, slice) for i in entries]
    if all(basic):  # a view: nothing is read twice
        zeros[index] = source
        return zeros
    if not any(basic) and not any(type(i) is bool or (i.dtype == torch.bool and not i.ndim) for i in entries):
        return zeros.index_put_(entries, source, accumulate=True)
    # A mixture: index the elements' own numbers, and add at the numbers that come out.
    numbers = torch.arange(zeros.numel(), device=zeros.device).view(shape)[index]
    return zeros.view(-1).index_add_(0, numbers.reshape(-1), source.reshape(-1)).view(shape)


@rule(input=lambda g, input_shape, index: place(g, input_shape, index))
def getitem(input: Any, index: Any) -> Any:
    """``input[index]``, for each kind of index that torch takes."""
    return input[index]


kernel(getitem, input=lambda g, input_shape, index: place.function(g, input_shape, index))


# What is overwritten gets no gradient.
@rule(
    input=lambda g, index: setitem(g, index, 0.0),  # type: ignore[has-type]  # the rule names itself
    value=lambda g, index: g[index],
)
def setitem(input: Any, index: Any, value: Any) -> Any:
    """A copy of ``input`` with ``value`` written at ``index``."""
    out = input.clone()
    out[index] = value
    return out


def canonical(index: Any, device: torch.device) -> Any:
    """An index with its lists, ranges and arrays made tensors once, for the forward and the backward pass.

    Args:
        index: what stood between the brackets: int, slice, None, Ellipsis, bool, list, range, integer or mask tensor or
            array, or a tuple of these.
        device: where the indexed tensor is.
    """
    if type(index) is tuple:
        return tuple([canonical(i, device) for i in index])
    if type(index) is range:
        return (
            torch.arange(index.start, index.stop, index.step, device=device)
            if index
            else torch.empty(0, dtype=torch.long)
        )
    if isinstance(index, list):
        index = [i.tolist() if isinstance(i, (torch.Tensor, np.ndarray)) else i for i in index]
        return torch.tensor(index, device=device, dtype=None if index else torch.long)
    if isinstance(index, np.ndarray):
        return torch.as_tensor(index, device=device)
    return int(index) if isinstance(index, np.integer) else index
