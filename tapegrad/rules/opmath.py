"""Half precision: torch computes it in float32 inside its functions, and rounds once. So do the formulas."""

from __future__ import annotations

from functools import wraps
from typing import Any

import torch

from tapegrad.engine.op import Formula

HALF = frozenset((torch.float16, torch.bfloat16))


def in_float32(value: Any) -> Any:
    """A tensor of half precision, or those in a sequence, in float32; anything else as it is."""
    if type(value) in (tuple, list):
        return type(value)(map(in_float32, value))
    return value.float() if getattr(value, "dtype", None) in HALF else value


def opmath(formula: Formula) -> Formula:
    """A formula that computes in float32 what it is given in half precision; the walk rounds what it returns."""

    @wraps(formula)
    def computed(g: Any, *values: Any) -> Any:
        return formula(in_float32(g), *map(in_float32, values))

    return computed
