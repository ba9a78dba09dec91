"""What a trace folds: numbers, zeros and ones, moves that lead nowhere, constants that can be written out."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.source.expression import INFIX, Expression

MOVES = {"expand", "view", "reshape", "unsqueeze", "squeeze", "clone", "contiguous", "expand_as", "view_as"}
_NEUTRAL = {"add": 0, "sub": 0, "mul": 1, "div": 1, "pow": 1}  # what changes nothing
_FILLED = {"zeros": 0.0, "new_zeros": 0.0, "zeros_like": 0.0, "ones": 1.0, "new_ones": 1.0, "ones_like": 1.0}


def folded(
    kind: str, name: Any, args: tuple[Any, ...], kwargs: dict[str, Any], value: torch.Tensor
) -> Expression | None:
    """The expression of a result that needs no computing, or that is a number."""
    name = name if isinstance(name, str) else name.__name__
    floating = value.is_floating_point() or value.is_complex()
    if floating and name in _FILLED:
        return filled(value, _FILLED[name])
    if floating and name in ("full", "new_full", "full_like") and isinstance(args[-1], (int, float)):
        return filled(value, float(args[-1]))
    first = args[0] if args and isinstance(args[0], Expression) else None
    if name in INFIX and len(args) == 2 and not kwargs:
        return _folded_infix(name, *(args[::-1] if kind == "reversed" else args), value)
    if first is None:
        return None
    if first.number is not None and name == "neg":
        return filled(value, -first.number)
    if name in MOVES:
        same = value.shape == first.value.shape and value.dtype == first.value.dtype
        if name in ("view", "reshape", "expand", "squeeze") and same:
            return first
        if name in ("view", "reshape") and first.name in ("view", "reshape"):  # there and back
            inner: Expression = first.args[0]
            return inner if inner.value.shape == value.shape and inner.value.dtype == value.dtype else None
    return None


def _folded_infix(name: str, a: Any, b: Any, value: torch.Tensor) -> Expression | None:
    x, y = [
        v.number if isinstance(v, Expression) else v if isinstance(v, (int, float, complex)) else None for v in (a, b)
    ]
    if x is not None and y is not None and name in ("add", "sub", "mul", "div") and value.is_floating_point():
        known = value.numel() and not value.is_meta
        computed = value.reshape(-1)[0] if known else getattr(torch, name)(_scalar(a), _scalar(b))
        return filled(value, computed.item())
    for one, number, commutes in ((a, y, True), (b, x, name in ("mul", "add"))):
        if not isinstance(one, Expression) or one.value.dtype != value.dtype or number is None or not commutes:
            continue
        if number == _NEUTRAL.get(name):
            if one.value.shape == value.shape:
                return one
            return Expression("method", "expand", (one, *value.shape), {}, value)
        if name == "mul" and number == -1 and one.value.shape == value.shape:
            return Expression("prefix", "neg", (one,), {}, value)
    return None


def _scalar(value: Any) -> Any:
    """A number to compute with: as exactly as its tensor would."""
    return torch.tensor(value.number, dtype=value.value.dtype) if isinstance(value, Expression) else value


def apart(index: Any) -> bool:
    """Whether an index names no element twice: one of its lists is a range."""
    ranges = [n for n in index if n.name is torch.arange]
    return any(all(n.value.ndim == 1 and len(n.value) in (1, len(r.value)) for n in index) for r in ranges)


def filled(value: torch.Tensor, number: Any) -> Expression:
    """A tensor that is one number throughout."""
    expression = Expression("filled", "", (number,), {}, value)
    expression.number = number
    return expression


def recognized(value: torch.Tensor) -> Expression | None:
    """A tensor that nobody has a name for, as what it plainly is."""
    if value.is_meta or value.layout is not torch.strided:
        return None
    if value.ndim == 0:
        return filled(value, value.item())
    if value.ndim == 1 and value.dtype == torch.long and value.equal(torch.arange(len(value), device=value.device)):
        options = {} if value.device == torch.get_default_device() else {"device": value.device}
        return Expression("call", torch.arange, (len(value),), options, value)
    return None
