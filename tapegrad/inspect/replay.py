"""Running a tape's forward pass again, on other tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch

from tapegrad.engine.tape import Record
from tapegrad.engine.tensor import Tensor
from tapegrad.inspect.tape import Tape


def clone(value: torch.Tensor, record: Record, argument: str) -> torch.Tensor:
    """A copy of a constant for one op alone: batch norm updates its running statistics."""
    return value.clone()


def replay(
    tape: Tape,
    leaves: Mapping[Tensor, torch.Tensor],
    constant: Callable[..., torch.Tensor] = clone,
    within: AbstractContextManager[Any] | None = None,
) -> dict[Any, Any]:
    """Run the records of a tape again, oldest first.

    Args:
        tape: what to run.
        leaves: what to start from in place of each leaf.
        constant: gives the tensor to use in place of one that takes no gradient, from it, its ``record`` and the name
            of the ``argument``.
        within: a context to run the ops in, and nothing else.

    Returns:
        For each record and leaf the torch tensor that stands for it, and for (record, name) an auxiliary output.
    """
    values: dict[Any, Any] = dict(leaves)
    within = nullcontext() if within is None else within

    for record in tape:
        op = record.op
        args = []
        for value, parent, name in zip(record.args, record.parents or (), op.parameters, strict=True):
            args.append(_again(value, parent, values, partial(constant, record=record, argument=name)))
        with within:
            result = op.run(*args)
            out, *aux = result if op.aux else (result,)
            if any(out is arg for arg in args):
                out = out.view_as(out)  # a tensor of its own, as on the tape
        values[record] = out
        values.update({(record, name): value for name, value in zip(op.aux, aux, strict=True)})
    return values


def _again(value: Any, parent: Any, values: Mapping[Any, Any], constant: Callable[[torch.Tensor], Any]) -> Any:
    """What stands for an argument: what was computed for its node, or a constant."""
    if type(parent) is tuple:
        items = value or (None,) * len(parent)
        return tuple([_again(v, p, values, constant) for v, p in zip(items, parent, strict=True)])
    if parent is not None:
        return values[parent]
    if isinstance(value, torch.Tensor):
        return constant(value)
    if isinstance(value, torch.Generator):
        return value.clone_state()
    if type(value) in (tuple, list):
        return type(value)([_again(v, None, values, constant) for v in value])
    return value
