"""The tensors on a tape that take no gradient, and what they are: named ones, and simple functions of named ones.

``1 - t`` of a plain tensor ``t`` is computed by torch, and the tape sees only the result. To see that ``t * log(p) +
(1 - t) * log(1 - p)`` is a cross-entropy one has to know what it is, so it is looked for: in the original dtype, with
equal bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.inspect.tape import Tape

Relation = Callable[[torch.Tensor], torch.Tensor]
RELATIONS: tuple[Relation, ...] = (
    lambda t: 1 - t,
    lambda t: -t,
    lambda t: 2 * t,
    lambda t: 2 * t - 1,
    lambda t: 1 + t,
    lambda t: t - 1,
)


class Constants:
    """A tape's constants.

    Args:
        tape: whose.
        named: name -> tensor, of the tensors in reach that are on no tape.

    Attributes:
        names: id of a constant -> the user's name for it.
        copies: id -> its values in float64; integers as they are.
        relations: id -> the id of another constant, and what makes this one of that.
        originals: id -> the constant.
    """

    def __init__(self, tape: Tape, named: Mapping[str, torch.Tensor]) -> None:
        self.names: dict[int, str] = {}
        self.copies: dict[int, torch.Tensor] = {}
        self.relations: dict[int, tuple[int, Relation]] = {}
        self.originals: dict[int, torch.Tensor] = {}
        for name, value in named.items():
            self.names.setdefault(id(value), name)
        candidates = [v for v in named.values() if v.layout is torch.strided]
        for record in tape:
            for value, parent in zip(record.args, record.parents or (), strict=True):
                for constant in tensors_within(value) if parent is None else ():
                    if id(constant) not in self.originals:
                        self._add(constant, candidates)
                        candidates.append(constant)

    def _add(self, constant: torch.Tensor, candidates: list[torch.Tensor]) -> None:
        self.originals[id(constant)] = constant
        self.copies[id(constant)] = constant.double() if constant.is_floating_point() else constant.clone()
        if constant.ndim == 0:
            return
        for other in candidates:
            relation = onehot_of(constant, other)
            if relation is None and id(constant) not in self.names:
                relation = related(constant, other)
            if relation is not None:
                if id(other) not in self.originals:
                    self._add(other, [])
                self.relations[id(constant)] = (id(other), relation)
                self.copies[id(constant)] = relation(self.copies[id(other)])
                return


def related(constant: torch.Tensor, other: torch.Tensor) -> Relation | None:
    """What makes one tensor of another: other axes of size 1, or a simple function."""
    if constant.dtype != other.dtype or constant.numel() != other.numel() or constant.device != other.device:
        return None
    if constant.is_meta or constant.layout is not torch.strided or constant.numel() < 2:
        return None
    shape = constant.shape
    if shape != other.shape:
        same_axes = [n for n in shape if n != 1] == [n for n in other.shape if n != 1]
        reshaped: Relation = lambda t: t.reshape(shape)
        return reshaped if same_axes and constant.equal(other.reshape(shape)) else None
    if not constant.is_floating_point():
        return None
    return next((r for r in RELATIONS if constant.equal(r(other))), None)


def onehot_of(constant: torch.Tensor, other: torch.Tensor) -> Relation | None:
    """What makes a constant of integers, if it is their one-hot form."""
    classes = constant.shape[-1]
    if constant.shape[:-1] != other.shape or other.dtype != torch.long or constant.device != other.device:
        return None
    if constant.is_meta or constant.layout is not torch.strided or classes < 2 or not constant.numel():
        return None
    at = other.unsqueeze(-1)
    if int(at.min()) < 0 or int(at.max()) >= classes:
        return None
    if not constant.equal(torch.zeros_like(constant).scatter(-1, at, 1)):
        return None
    return lambda t: F.one_hot(t, classes).double()


def tensors_within(value: Any) -> Iterator[torch.Tensor]:
    """A tensor, or those in a sequence."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from tensors_within(v)
