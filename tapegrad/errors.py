"""The few things that can go wrong, each with the way out in its message; and what to say of a rule that is wrong."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import torch


class MissingRule(NotImplementedError):
    """A torch function, or one of its arguments, has no vector-Jacobian rule."""


class FreedTape(RuntimeError):
    """A tape was walked a second time after its records had been freed."""


class StaleTensor(RuntimeError):
    """A tensor that a rule needs was changed in place after it was recorded."""


class ForeignTensor(TypeError):
    """A torch tensor that torch.autograd is tracking was handed to tapegrad."""


class Anomaly(RuntimeError):
    """Under ``detect_anomaly``, an output or a gradient is NaN or infinite."""


class InPlaceError(RuntimeError):
    """An in-place update that could not give torch's answer was refused."""


class CompileError(RuntimeError):
    """A function does what a planned program cannot hold, such as reading a number from a tensor."""


# --- results that the rules are not for ---


def whole_result(op: Any, out: torch.Tensor) -> MissingRule:
    """The refusal of a result of integers or booleans, where a gradient is asked for."""
    return MissingRule(
        f"{op.name}(): the result is of {out.dtype}, which takes no gradient; convert the arguments to floating "
        f"point, or .detach() the one that requires grad"
    )


# --- a user's rule ---

_CLOSED_OVER = "it runs on torch's own tensors, and uses a Tensor that is no argument: make it one, or take its .data"


def blamed(name: str, gradients: Mapping[str, Any]) -> dict[str, Any]:
    """The formulas of a user's rule, whose errors tell whose they are.

    Raises:
        TypeError: a formula has no parameters.
    """
    return {argument: _blamed(f"rule for {name}, gradient of {argument}", f) for argument, f in gradients.items()}


def _blamed(whose: str, formula: Any) -> Callable[..., Any]:
    parameters = inspect.signature(formula).parameters
    if not parameters:
        raise TypeError(
            f"{whose}: a formula is a Python function of g, and of what else it needs, such as lambda g, out: "
            f"g * out; this is {formula!r}"
        )

    @wraps(formula, assigned=(), updated=())  # for its parameters alone: it may be any object
    def computed(g: Any, *values: Any) -> Any:
        try:
            result = formula(g, *values)
        except Exception as error:
            shapes = [
                f"{n} {tuple(v.shape)}" for n, v in zip(parameters, (g, *values), strict=True) if hasattr(v, "shape")
            ]
            error.add_note(f"tapegrad: in the {whose}, given {', '.join(shapes)}")
            raise
        for part in result if isinstance(result, (tuple, list)) else (result,):
            _refuse_strange(whose, part, g)
        return result

    return computed


def _refuse_strange(whose: str, part: Any, g: Any) -> None:
    """Refuse a gradient that cannot be added to others; shapes, and None, the walk refuses."""
    part = getattr(part, "_data", part)
    if part is None:
        return
    if not isinstance(part, torch.Tensor):
        raise _no_tensor(whose, part)
    strange = {
        f"of layout {part.layout}, not a dense one; return gradient.to_dense()": part.layout is not torch.strided,
        "on the meta device, which has no values; return one on g.device": part.is_meta and g.device.type != "meta",
    }
    for what, is_so in strange.items():
        if is_so:
            raise TypeError(f"{whose}: it returned a gradient {what}")
    if part.requires_grad and not g.requires_grad:
        raise ForeignTensor(
            f"{whose}: it uses a torch.Tensor that requires grad under torch.autograd, whose tape tapegrad does not "
            f"see; make it an argument of the function, or .detach() it"
        )


def misfit(whose: str, part: Any, node: Any) -> Exception:
    """The refusal of what a rule gave for a node, for it is no gradient, or does not fit."""
    if not hasattr(part, "shape") or not isinstance(part.dtype, torch.dtype):
        return _no_tensor(whose, part)
    return RuntimeError(
        f"{whose}: it returned a gradient of shape {tuple(part.shape or ())} and {part.dtype} for an argument of "
        f"shape {tuple(node.shape)} and {node.dtype}, which does not broadcast to it, or cannot be cast"
    )


def not_one_each(whose: str, parts: Any, count: int) -> TypeError:
    """The refusal of what a rule gave for a sequence of tensors."""
    what = f"{len(parts)}" if isinstance(parts, (tuple, list)) else type(parts).__name__
    return TypeError(f"{whose}: it must return a list of {count} gradients, one for each tensor, not {what}")


def _no_tensor(whose: str, part: Any) -> TypeError:
    return TypeError(
        f"{whose}: it returned {type(part).__name__}, not a tensor; for a gradient that is zero everywhere, return "
        f"zeros, and for none at all leave the argument out of the rule"
    )


def checked(op: Any) -> Callable[..., Any]:
    """``op.run`` for a user's function, which has to return what its rule is for."""
    run, count = op.run, 1 + len(op.aux)
    expected = f"a tuple of {count} torch tensors: its output, then {', '.join(op.aux)}" if op.aux else "a torch.Tensor"

    def computed(*args: Any) -> Any:
        result = run(*args)
        parts = result if op.aux else (result,)
        fits = isinstance(parts, (tuple, list)) and len(parts) == count
        if not fits or not isinstance(parts[0], torch.Tensor):
            given = [_kind(p) for p in parts] if isinstance(parts, (tuple, list)) else [_kind(parts)]
            way_out = f"; {_CLOSED_OVER}" if "a tapegrad.Tensor" in given else ""
            raise TypeError(f"{op.name}(): it must return {expected}; it returned {' and '.join(given)}{way_out}")
        tensors = [t for arg in args for t in (arg if isinstance(arg, (tuple, list)) else (arg,))]
        if parts[0].requires_grad and not any(getattr(t, "requires_grad", False) for t in tensors):
            raise ForeignTensor(
                f"{op.name}(): its result requires grad under torch.autograd, though no argument does: it uses some "
                f"other tensor that does, which must be an argument, or .detach()ed"
            )
        return result

    return computed


def _kind(value: Any) -> str:
    """What a value is, for messages."""
    name = type(value).__name__
    return f"a {'tapegrad.' * hasattr(value, 'record')}{'torch.' * isinstance(value, torch.Tensor)}{name}"
