"""Numbers that are not Python's: NumPy's, of every dtype, and any object that has ``__index__``."""

from __future__ import annotations

from operator import index as whole
from typing import Any

import numpy as np
import torch

from tapegrad.engine.tensor import Tensor

_NOT = (int, torch.Tensor, Tensor, np.ndarray)


def is_foreign_number(value: Any) -> bool:
    """Whether a value is a number, but not one of Python's; a tensor without dimensions is a tensor."""
    return isinstance(value, np.generic) or (hasattr(type(value), "__index__") and not isinstance(value, _NOT))


def has_foreign_numbers(value: Any) -> bool:
    """Whether there are such numbers among arguments, or in sequences of them."""
    if isinstance(value, (list, tuple)):
        return any(map(has_foreign_numbers, value))
    return is_foreign_number(value)


def pythons(value: Any) -> Any:
    """Arguments with Python's numbers in place of others."""
    if isinstance(value, (list, tuple)) and has_foreign_numbers(value):
        items = [pythons(v) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if not is_foreign_number(value):
        return value
    if not isinstance(value, np.generic):
        return whole(value)
    number = value.item()  # of a long double, itself
    return number if not isinstance(number, np.generic) else complex(value) if np.iscomplexobj(value) else float(value)
