"""Half precision: torch computes inside its functions in float32, its "opmath", and rounds once; so do the rules."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

HALF = frozenset((torch.float16, torch.bfloat16))


def opmath(formula: Callable[..., Any]) -> Callable[..., Any]:
    """A formula that computes in float32 where it is given half precision. Its result is left for the walk to round."""

    @wraps(formula)
    def computed(g: Any, *values: Any) -> Any:
        return formula(in_float32(g), *map(in_float32, values))

    return computed


def in_float32(value: Any) -> Any:
    """A tensor of half precision, or those in a sequence, in float32; anything else as it is."""
    if type(value) in (tuple, list):
        return type(value)(map(in_float32, value))
    return value.float() if getattr(value, "dtype", None) in HALF else value
