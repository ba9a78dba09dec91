"""Who would see a change of a tensor's memory: not what is gone after the statement, nor what rules have saved.

In ``h[0] += y`` and ``y[:2] = y[-2:]`` Python makes views of the tensor that is changed, and nobody keeps them. From
the references that Python counts inside an operator one can tell such a temporary object from one that has a name.
"""

from __future__ import annotations

import dis
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from sys import getrefcount
from types import CodeType
from typing import Any

import torch

from tapegrad.engine.tape import Record, parents_of
from tapegrad.engine.tensor import Tensor


class _Probe:
    """Counts the references to the operands of an operator, as those of a Tensor find them."""

    def __init__(self, counts: list[int]) -> None:
        self.counts = counts

    def __setitem__(self, index: int, value: Any) -> None:
        self.counts.append(getrefcount(value))


def _of_temporaries() -> int:
    """The references that an operator finds to a temporary operand; 0 if this Python counts no more to a variable."""
    counts: list[int] = []
    probe = named = _Probe(counts)
    probe[0] = _Probe(counts)
    probe[0] = named
    other = _Probe(counts)
    probe[0] = other
    return counts[0] if counts[0] < min(counts[1:]) else 0


TEMPORARY = _of_temporaries()


@lru_cache(1024)
def is_for_item(code: CodeType, position: int) -> bool:
    """Whether an instruction is the operator of ``h[0] += y``, whose result is assigned to the item that it changes.

    Args:
        code: of the frame that runs it.
        position: where it stands there, ``f_lasti``.
    """
    names = [
        i.argrepr if i.opname == "BINARY_OP" else i.opname
        for i in dis.get_instructions(code)
        if i.offset >= position and not i.opname.startswith(("SWAP", "CACHE", "EXTENDED_ARG"))
    ]
    return names[0].endswith("=") and names[1] in ("STORE_SUBSCR", "STORE_SLICE")


def _references(found: dict[int, Any], key: int) -> int:
    return getrefcount(found[key])


def _of_torch() -> int:
    """The references of torch's own to what a tensor is a view of, beyond those of Python's variables."""
    view = torch.zeros(2)[:1]
    return _references({0: view._base}, 0) - _ALONE


_ALONE = _references({0: object()}, 0)
_OF_BASE = _of_torch()


def seen_by_others(t: Tensor, operands: Sequence[Any], temporary: Sequence[Any]) -> bool:
    """Whether torch would change other tensors, or an array, with this one: any that outlives the statement.

    Args:
        t: what is to be changed.
        operands: what it is changed by.
        temporary: those of them that are gone after the statement.
    """
    data = t._data
    storage = data.untyped_storage()
    if not storage.resizable():  # memory that torch did not allocate
        return True
    others = torch._C._storage_Use_Count(storage._cdata) - 2  # but data's own use, and ours
    if not others:
        return False
    found, known = _views(t, storage._cdata, operands, temporary)
    return sum(_references(found, key) <= _ALONE + known[key] for key in found) < others


def _views(
    t: Tensor, memory: int, operands: Sequence[Any], temporary: Sequence[Any]
) -> tuple[dict[int, torch.Tensor], Counter[int]]:
    """The torch tensors that use the tensor's memory and that the statement knows of, and its references to each."""
    found: dict[int, torch.Tensor] = {}
    known: Counter[int] = Counter()
    for value in _held(t, operands, temporary):
        if value is not t._data and value.untyped_storage()._cdata == memory:
            found[id(value)] = value
            known[id(value)] += 1
    base = t._data._base
    if base is not None:  # torch itself may be all that holds what this is a view of
        found[id(base)] = base
        known[id(base)] += _OF_BASE
    return found, known


def _held(t: Tensor, operands: Sequence[Any], temporary: Sequence[Any]) -> Iterator[torch.Tensor]:
    """The torch tensors that temporary operands and the operands' records hold, once for each reference.

    Only records since the tensor was computed: none before have seen its memory.
    """
    yield from (held for value in temporary if type(value) is Tensor for held in (value._data, value._holder))
    oldest = t.record.rank if t.record is not None else 1
    stack: list[Any] = [value.record for value in operands if type(value) is Tensor]
    passed: set[Record] = set()
    while stack:
        record = stack.pop()
        if type(record) is not Record or record in passed or record.rank >= oldest:
            continue
        passed.add(record)
        stack.extend(parents_of(record))
        for value in record.saved:
            yield from (v for v in (value if type(value) is tuple else (value,)) if isinstance(v, torch.Tensor))
        yield from (held for held, _ in record.watched)
