"""What a trace folds: numbers, zeros and ones, moves that lead nowhere, constants that can be written out."""

from __future__ import annotations

import math
from typing import Any

import torch

from tapegrad.source.expression import INFIX, Expression

MOVES = {"expand", "view", "reshape", "unsqueeze", "squeeze", "clone", "contiguous", "expand_as", "view_as"}
_NEUTRAL = {"add": 0, "sub": 0, "mul": 1, "div": 1, "pow": 1}  # what changes nothing
_FILLED = {"zeros": 0.0, "new_zeros": 0.0, "zeros_like": 0.0, "ones": 1.0, "new_ones": 1.0, "ones_like": 1.0}


def folded(
    kind: str, name: Any, args: tuple[Any, ...], kwargs: dict[str, Any], value: torch.Tensor, exact: bool
) -> Expression | None:
    """The expression of a result that needs no computing, or that is a number.

    Args:
        kind: of the expression that it would be otherwise.
        name: likewise.
        args: likewise.
        kwargs: likewise.
        value: the result.
        exact: ask for the result to the bit, and in the same memory layout: sums of the same numbers in another order
            of memory may differ.
    """
    name = name if isinstance(name, str) else name.__name__
    floating = (value.is_floating_point() or value.is_complex()) and writable(value, exact)
    if floating and name in _FILLED:
        return filled(value, _FILLED[name], exact)
    if floating and name in ("full", "new_full", "full_like") and isinstance(args[-1], (int, float)):
        return filled(value, float(args[-1]), exact)
    first = args[0] if args and isinstance(args[0], Expression) else None
    if name in INFIX and len(args) == 2 and not kwargs:
        return _folded_infix(name, *(args[::-1] if kind == "reversed" else args), value, exact)
    if first is None:
        return None
    if first.number is not None and name == "neg" and writable(value, exact):
        return filled(value, -first.number, exact)
    if name in MOVES:
        same = value.shape == first.value.shape and value.dtype == first.value.dtype
        if name in ("view", "view_as", "reshape", "expand", "expand_as", "squeeze") and same:
            return first
        if name in ("view", "reshape") and first.name in ("view", "reshape"):  # there and back
            inner: Expression = first.args[0]
            return inner if _alike(inner.value, value, exact) else None
    return None


def _folded_infix(name: str, a: Any, b: Any, value: torch.Tensor, exact: bool) -> Expression | None:
    """The expression of a sign's result, likewise."""
    x, y = [
        v.number if isinstance(v, Expression) else v if isinstance(v, (int, float, complex)) else None for v in (a, b)
    ]
    both = x is not None and y is not None and value.is_floating_point() and writable(value, exact)
    if both and name in ("add", "sub", "mul", "div"):
        known = value.numel() and not value.is_meta
        computed = value.reshape(-1)[0] if known else getattr(torch, name)(_scalar(a), _scalar(b))
        return filled(value, computed.item(), exact)
    for one, number, commutes in ((a, y, True), (b, x, name in ("mul", "add"))):
        if not isinstance(one, Expression) or one.value.dtype != value.dtype or number is None or not commutes:
            continue
        if number == _NEUTRAL.get(name) and not (exact and _turns_zeros(name, number)):
            if _alike(one.value, value, exact):
                return one
            if not exact:
                return Expression("method", "expand", (one, *value.shape), {}, one.value.expand(value.shape), view=True)
        if name == "mul" and number == -1 and _alike(one.value, value, exact):
            return Expression("prefix", "neg", (one,), {}, value)
    return None


def _alike(a: torch.Tensor, b: torch.Tensor, exact: bool) -> bool:
    """Whether one tensor can be written in place of another of the same values."""
    return a.shape == b.shape and a.dtype == b.dtype and (not exact or a.stride() == b.stride())


def _turns_zeros(name: str, number: Any) -> bool:
    """Whether -0.0 becomes 0.0: when 0.0 is added, or -0.0 taken away."""
    return name == ("add" if math.copysign(1, number.real) > 0 else "sub")


def _scalar(value: Any) -> Any:
    """A number to compute with: as exactly as its tensor would."""
    return torch.tensor(value.number, dtype=value.value.dtype) if isinstance(value, Expression) else value


def apart(index: Any) -> bool:
    """Whether an index names no element twice: one of its lists is a range."""
    ranges = [n for n in index if n.name is torch.arange]
    return any(all(n.value.ndim == 1 and len(n.value) in (1, len(r.value)) for n in index) for r in ranges)


def filled(value: torch.Tensor, number: Any, exact: bool, *, known: bool = True) -> Expression:
    """A tensor that is one number throughout; if that is not to be ``known``, it is written out as a tensor."""
    expression = Expression("filled", "", (number,), {}, value)
    expression.number = number if known else None
    expression.spread = exact and spread(value)
    return expression


def writable(value: torch.Tensor, exact: bool) -> bool:
    """Whether a tensor that is one number throughout can be written as ``torch.full``, or as that number expanded."""
    return not exact or value.is_contiguous() or spread(value)


def spread(value: torch.Tensor) -> bool:
    """Whether all elements of a tensor, which are several, are one place in memory."""
    return value.numel() > 1 and all(
        n == 1 or not stride for n, stride in zip(value.shape, value.stride(), strict=True)
    )


def recognized(value: torch.Tensor) -> Expression | None:
    """A tensor that nobody has a name for, as what it plainly is."""
    if value.is_meta or value.layout is not torch.strided:
        return None
    if value.ndim == 0:
        return filled(value, value.item(), True)
    if value.ndim == 1 and value.dtype == torch.long and value.equal(torch.arange(len(value), device=value.device)):
        options = {} if value.device == torch.get_default_device() else {"device": value.device}
        return Expression("call", torch.arange, (len(value),), options, value)
    return None
