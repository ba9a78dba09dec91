"""The table: which op, or which composition of other ops, stands for each torch function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload
from weakref import WeakSet

import torch
import torch.nn.functional as F

from tapegrad.engine.apply import apply
from tapegrad.engine.op import Formula, Op
from tapegrad.errors import blamed, checked

TABLE: dict[Callable[..., Any], Callable[..., Any]] = {}
ops: WeakSet[Op] = WeakSet()  # also those that stand behind a composition, and not in the table
listeners: list[Callable[[Any], None]] = []  # told of each entry that is new or has changed

# Names by which torch means one thing here and another there, such as F.unfold and Tensor.unfold: each of these
# functions has an entry of its own.
_HOMONYMS = {"unfold", "embedding", "split"}
# TensorBase: the functions that Python's operators call when a plain torch tensor stands on the left.
_NAMESPACES = (torch, torch.Tensor, torch._C.TensorBase, F, torch.special)


def enter(function: Callable[..., Any], entry: Callable[..., Any]) -> None:
    """Enter a function in the table, under each of the names that torch gives it."""
    TABLE.update(dict.fromkeys([function, *spellings(function)], entry))
    _tell(entry)


def spellings(function: Any) -> list[Callable[..., Any]]:
    """The functions by which torch means the same: ``torch.tanh`` and ``torch.Tensor.tanh``."""
    name = str(getattr(function, "__name__", ""))
    named = [getattr(namespace, name, None) for namespace in _NAMESPACES]
    is_torch = any(f is function for f in named) and name not in _HOMONYMS
    return [f for f in named if callable(f)] if is_torch else []


def _tell(entry: Any) -> None:
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
    """Register the vector-Jacobian rule of a function: ours, or yours.

    For a torch function, give it and its signature::

        rule(torch.tanh, "input", input=lambda g, out: g * (1 - out * out))

    For a function of your own, decorate it; its body runs forward on raw torch tensors::

        @rule(x=lambda g: g)
        def straight_through(x):
            return x.round()

    Args:
        function: a torch function; leave it out to use ``rule`` as a decorator.
        signature: the function's arguments as Python writes them, for example ``"input, dim=None"``.
        aux: names for the outputs after the first, when ``function`` returns a tuple; formulas may ask for them,
            they take no gradient.
        **gradients: for each differentiable argument, the formula of its gradient: see ``engine/op.py``. A formula
            for an argument that is a sequence of tensors returns a sequence of gradients. It is given float32 in place
            of float16 and bfloat16, and what it returns is rounded.

    Returns:
        The op, which can be called like the function.

    Raises:
        TypeError: a formula is for an unknown argument or asks for an unknown value.
    """
    if function is None:
        return lambda body: _registered(body, body, aux, gradients)
    if not gradients and signature is None:
        name = getattr(function, "__name__", function)
        raise TypeError(f"rule: no gradient is given for {name}; write @rule(x=lambda g: ...), say")
    return _registered(function, "input" if signature is None else signature, aux, gradients)


def _registered(function: Any, signature: Any, aux: Sequence[str], gradients: dict[str, Formula]) -> Op:
    ours = any(str(getattr(formula, "__module__", "")).startswith("tapegrad.") for formula in gradients.values())
    op = Op(function, signature, aux, gradients if ours else blamed(function, gradients), trusted=ours)
    op.run = op.run if ours else checked(op)
    op.road = lambda *args: apply(op, args)
    ops.add(op)
    enter(function, op)
    return op


def kernel(op: Op, **gradients: Formula) -> None:
    """Give an op a second text of its rule, for raw tensors only: the same mathematics, bit-exact or quicker."""
    if unknown := gradients.keys() - op.formulas.keys():
        raise TypeError(f"kernel for {op.name}: it has no formula for the gradient of {min(unknown)!r}")
    op.kernels.update(gradients)
    op.elementwise = False
    op.prepare()
    _tell(op)


def elementwise(*ops: Op) -> None:
    """Say that all gradients of some ops have the cotangent's shape and dtype. To look takes 2 % of a small step."""
    for op in ops:
        op.elementwise = True


def alias(function: Callable[..., Any], *others: Callable[..., Any]) -> None:
    """Enter torch's other names of a function: the same entry answers to all."""
    for other in others:
        enter(other, TABLE[function])
