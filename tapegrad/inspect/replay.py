"""Running a tape's forward pass again, on other tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
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
    constant: Callable[[torch.Tensor, Record, str], torch.Tensor] = clone,
    within: AbstractContextManager[Any] | None = None,
) -> dict[Any, Any]:
    """Run the records of a tape again, oldest first.

    Args:
        tape: what to run.
        leaves: what to start from in place of each leaf.
        constant: gives the tensor to use in place of one that takes no gradient, from it, its record and the name of
            the argument.
        within: a context to run the ops in, and nothing else.

    Returns:
        For each record and leaf the torch tensor that stands for it, and for (record, name) an auxiliary output.
    """
    values: dict[Any, Any] = dict(leaves)
    within = nullcontext() if within is None else within

    def again(value: Any, parent: Any, record: Record, argument: str) -> Any:
        if type(parent) is tuple:
            items = value or (None,) * len(parent)
            return tuple([again(v, p, record, argument) for v, p in zip(items, parent, strict=True)])
        if parent is not None:
            return values[parent]
        if isinstance(value, torch.Tensor):
            return constant(value, record, argument)
        if isinstance(value, torch.Generator):
            return value.clone_state()
        if type(value) in (tuple, list):
            return type(value)([again(v, None, record, argument) for v in value])
        return value

    for record in tape:
        op = record.op
        arguments = zip(record.args, record.parents or (), op.parameters, strict=True)
        args = [again(value, parent, record, name) for value, parent, name in arguments]
        with within:
            result = op.run(*args)
        values[record], *aux = result if op.aux else (result,)
        values.update({(record, name): value for name, value in zip(op.aux, aux, strict=True)})
    return values
