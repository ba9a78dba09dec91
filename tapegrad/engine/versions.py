"""Noticing that a value which a rule needs was changed in place since it was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from tapegrad.engine.op import Op
from tapegrad.engine.tape import Record, Watched, shape_text
from tapegrad.errors import StaleTensor

# Arguments that are no tensors, known by their type: asking isinstance(x, torch.Tensor) takes longer.
PLAIN_TYPES = {int, float, bool, str, type(None), torch.Size, slice, torch.dtype}


def watch(op: Op, saved: Sequence[Any], parents: Sequence[Any]) -> Watched:
    """The tensors among saved values, each with its version.

    Raises:
        RuntimeError: a rule needs one that was made in ``torch.inference_mode()``, which has no version.
    """
    try:
        return tuple([(v, v._version) for value in saved for v in _tensors(value)])
    except RuntimeError:
        return _watch_what_counts(op, saved, parents)


def _watch_what_counts(op: Op, saved: Sequence[Any], parents: Sequence[Any]) -> Watched:
    """As ``watch``, where some tensors were made in inference mode: no matter, unless a rule needs them."""
    needed = op.needed(parents)
    named = [(name, v) for name, value in zip(op.saved_names, saved, strict=True) for v in _tensors(value)]
    for name, v in named:
        if v.is_inference() and name in needed:
            raise RuntimeError(
                f"{op.name}(): {name}, of shape {tuple(v.shape)}, was made in torch.inference_mode(), so that "
                f"a later change of it could not be noticed; use a .clone() of it, or torch.no_grad() there"
            )
    return tuple([(v, v._version) for _, v in named if not v.is_inference()])


def refuse_change(record: Record, held: torch.Tensor, version: int) -> None:
    """Refuse a tensor that a record has saved and that has changed since, if a rule needs it.

    Constants that no rule reads may change; they are kept for replay.

    Args:
        record: whose rules are to run.
        held: the tensor, among the record's saved values.
        version: torch's version counter of it, as it was in the forward pass.

    Raises:
        StaleTensor: a rule asks for it.
    """
    needed = record.op.needed(record.parents or ())
    for name, value in zip(record.op.saved_names, record.saved, strict=True):
        if name in needed and any(v is held for v in _tensors(value)):
            raise StaleTensor(
                f"backward: {record.op.name} needs its {'output' if name == 'out' else name}, of shape "
                f"{shape_text(held.shape)}, as it was in the forward pass, but it was changed in place since (version "
                f"{held._version}, expected {version}); change a copy (x.clone()), or call backward() before the change"
            )


def refuse_other_shapes(nodes: Iterable[Any], rank: float) -> None:
    """Refuse leaves that were given data of another shape or dtype since: their gradients would be made to fit it.

    Args:
        nodes: leaves, among others.
        rank: of the record that is not to be older than the change.

    Raises:
        StaleTensor: a leaf has another shape than when it was used.
    """
    for leaf in nodes:
        if leaf._reshaped < rank:
            raise StaleTensor(
                f"backward: a leaf was given data of another shape or dtype, {shape_text(leaf.shape)} {leaf.dtype}, "
                f"since it was used; call backward() before that, or compute the loss anew"
            )


def _tensors(value: Any) -> list[torch.Tensor]:
    values = value if type(value) is tuple else (value,)
    return [v for v in values if type(v) not in PLAIN_TYPES and isinstance(v, torch.Tensor)]
