"""Python numbers among tensors."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

_EXACT = {torch.float32, torch.float64}  # torch computes in the type itself, so that rounding a number first is no loss


def as_tensor(value: Any, like: torch.Tensor) -> Any:
    """A number as a tensor of one element, made once; anything else as it is.

    At every call that is given a number torch makes a tensor of it, which takes as long as a small call itself.

    Args:
        value: the other operand of a sum, a difference, a product or a quotient.
        like: the tensor that it meets.
    """
    # 0.0 and -0.0 are equal, and would be one key.
    if (type(value) is float or type(value) is int) and value and like.dtype in _EXACT and like.is_cpu:
        return _kept(value, like.dtype)
    return value


@lru_cache(maxsize=1000, typed=True)
def _kept(value: float, dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64 if type(value) is float else torch.int64, device="cpu").to(dtype)
