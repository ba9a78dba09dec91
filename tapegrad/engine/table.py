"""The table: which op, or which composition of other ops, stands for each torch function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload
from weakref import WeakSet

import torch
import torch.nn.functional as F

from tapegrad.engine.apply import apply
from tapegrad.engine.op import Formula, Op
from tapegrad.engine.signature import name_of

TABLE: dict[Callable[..., Any], Callable[..., Any]] = {}
ops: WeakSet[Op] = WeakSet()  # also those that stand behind a composition, and not in the table
listeners: list[Callable[[Any], None]] = []  # told of each entry that is new or has changed

# Names by which torch means one thing here and another there, such as F.unfold and Tensor.unfold: each of these
# functions has an entry of its own.
_HOMONYMS = {"unfold", "embedding", "split"}
# TensorBase: the functions that Python's operators call when a plain torch tensor stands on the left.
_NAMESPACES = (torch, torch.Tensor, torch._C.TensorBase, F, torch.special)


def enter(function: Callable[..., Any], entry: Any) -> Any:
    """Enter a function in the table, under each of the names that torch gives it, and return the entry."""
    TABLE.update(dict.fromkeys([function, *spellings(function)], entry))
    tell(entry)
    return entry


def spellings(function: Any) -> list[Callable[..., Any]]:
    """The functions by which torch means the same: ``torch.tanh`` and ``torch.Tensor.tanh``."""
    name = name_of(function)
    named = [getattr(namespace, name, None) for namespace in _NAMESPACES]
    is_torch = any(f is function for f in named) and name not in _HOMONYMS
    return [f for f in named if callable(f)] if is_torch else []


def tell(entry: Any) -> None:
    """Tell the listeners of an entry that is new or has changed."""
    for listener in listeners:
        listener(entry)


@overload
def rule(
    function: Callable[..., Any], signature: str | None = None, /, *, aux: Sequence[str] = (), **gradients: Formula
) -> Op: ...
@overload
def rule(*, aux: Sequence[str] = (), **gradients: Formula) -> Callable[[Callable[..., Any]], Op]: ...
def rule(
    function: Any = None, signature: str | None = None, /, *, aux: Sequence[str] = (), **gradients: Formula
) -> Any:
    """Register the vector-Jacobian rule of a function: one of ours, that is, for what a user writes is checked first.

    See ``tapegrad.rule``, in ``torch_api/users.py``, whose arguments are the same.
    """
    if function is None:
        return lambda body: rule(body, body, aux=aux, **gradients)
    return enter(function, made(function, signature or "input", aux, gradients, trusted=True))


def made(function: Any, arguments: Any, aux: Sequence[str], gradients: dict[str, Formula], trusted: bool) -> Op:
    """An op that runs, and that is in no table yet."""
    op = Op(function, arguments, aux, gradients, trusted)
    op.road = lambda *args: apply(op, args)
    ops.add(op)
    return op


def kernel(op: Op, **gradients: Formula) -> None:
    """Give an op a second text of its rule, for raw tensors only: the same mathematics, bit-exact or quicker."""
    if unknown := gradients.keys() - op.formulas.keys():
        raise TypeError(f"kernel for {op.name}: it has no formula for the gradient of {min(unknown)!r}")
    op.kernels.update(gradients)
    op.elementwise = False
    op.prepare()
    tell(op)


def elementwise(*ops: Op) -> None:
    """Say that all gradients of some ops have the cotangent's shape and dtype. To look takes 2 % of a small step."""
    for op in ops:
        op.elementwise = True


def alias(function: Callable[..., Any], *others: Callable[..., Any]) -> None:
    """Enter torch's other names of a function: the same entry answers to all."""
    for other in others:
        enter(other, TABLE[function])
