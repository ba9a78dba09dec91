"""Noticing that a value which a rule needs was changed in place since it was recorded."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.errors import StaleTensor
from tapegrad.tape import Record, shape_text


def refuse_change(record: Record, held: torch.Tensor, version: int) -> None:
    """Refuse a tensor that a record has saved and that has changed since, if a rule needs it.

    The other constants are there for who wants to replay the tape.

    Args:
        record: whose rules are to run.
        held: the tensor, among the record's saved values.
        version: torch's version counter of it, as it was in the forward pass.

    Raises:
        StaleTensor: a rule asks for it.
    """
    named = zip(record.op.saved, record.saved, strict=True)
    names = [name for name, value in named if any(v is held for v in _tensors(value))]
    needed = record.op.needed(record.parents or ())
    which = next((name for name in names if name in needed), None)
    if which is None:
        return
    which = "output" if which == "out" else which
    raise StaleTensor(
        f"backward: {record.op.name} needs its {which}, of shape {shape_text(held.shape)}, as it was in the forward "
        f"pass, but it was changed in place since (version {held._version}, expected {version}); change a copy "
        f"(x.clone()), or call backward() before the change"
    )


def _tensors(value: Any) -> tuple[Any, ...]:
    return value if type(value) is tuple else (value,)
