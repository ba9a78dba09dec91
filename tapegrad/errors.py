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


# --- a user's rule ---


def blamed(function: Any, gradients: Mapping[str, Any]) -> dict[str, Any]:
    """The formulas of a user's rule, whose errors tell whose they are.

    Raises:
        TypeError: a formula is no Python function of ``g``.
    """
    name = getattr(function, "__name__", type(function).__name__)
    return {argument: _blamed(f"rule for {name}, gradient of {argument}", f) for argument, f in gradients.items()}


def _blamed(whose: str, formula: Any) -> Callable[..., Any]:
    try:
        parameters = inspect.signature(formula).parameters
    except (TypeError, ValueError):
        parameters = {}  # type: ignore[assignment]  # none, as a formula without parameters has
    if not parameters:
        raise TypeError(
            f"{whose}: a formula is a Python function of g, and of what else it needs, such as lambda g, out: "
            f"g * out; this is {formula!r}"
        )

    @wraps(formula)
    def computed(g: Any, *values: Any) -> Any:
        try:
            return formula(g, *values)
        except Exception as error:
            shapes = [
                f"{n} {tuple(v.shape)}" for n, v in zip(parameters, (g, *values), strict=True) if hasattr(v, "shape")
            ]
            error.add_note(f"tapegrad: in the {whose}, given {', '.join(shapes)}")
            raise

    return computed


def checked(op: Any) -> Callable[..., Any]:
    """``op.run`` for a user's function, which has to return what its rule is for."""
    run, count = op.run, 1 + len(op.aux)
    expected = f"a tuple of {count} torch tensors: its output, then {', '.join(op.aux)}" if op.aux else "a torch.Tensor"

    @wraps(run)
    def computed(*args: Any) -> Any:
        result = run(*args)
        parts = result if op.aux else (result,)
        fits = isinstance(parts, (tuple, list)) and len(parts) == count
        if not fits or not isinstance(parts[0], torch.Tensor):
            given = [type(p).__name__ for p in parts] if isinstance(parts, (tuple, list)) else [type(parts).__name__]
            raise TypeError(f"{op.name}(): it must return {expected}; it returned {', '.join(given)}")
        if parts[0].requires_grad and not any(getattr(arg, "requires_grad", False) for arg in args):
            raise ForeignTensor(
                f"{op.name}(): its result requires grad under torch.autograd, though no argument does: it uses some "
                f"other tensor that does, which must be an argument, or .detach()ed"
            )
        return result

    return computed
