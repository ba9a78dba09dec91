"""Python numbers among tensors."""

from __future__ import annotations

from typing import Any

import torch

_EXACT = {torch.float32, torch.float64}  # torch computes in the type itself, so that rounding a number first is no loss
MOST = 64  # kept at once

# (number, dtype, device) -> what to compute with: a tensor of one element, or the number itself.
OPERANDS: dict[tuple[float, torch.dtype, torch.device], Any] = {}


def as_tensor(number: float, like: torch.Tensor) -> Any:
    """A number as a tensor of one element, made once, where it comes to the same in sums, products and quotients.

    At every call that is given a number torch makes a tensor of it, which takes as long as a small call itself.

    Args:
        number: an int or a float.
        like: the tensor that it meets.
    """
    operand = OPERANDS.get((number, like.dtype, like.device))
    return _made(number, like) if operand is None else operand


def _made(number: float, like: torch.Tensor) -> Any:
    if not number or torch.is_inference_mode_enabled():  # 0.0 and -0.0 are equal, and would be one key
        return number
    operand: Any = number
    if like.dtype in _EXACT and like.is_cpu and abs(number) < 2**63:  # what torch takes
        with torch._C.DisableTorchFunction():  # whoever watches sees a number
            kind = torch.float64 if type(number) is float else torch.int64
            operand = torch.tensor(number, dtype=kind, device=like.device).to(like.dtype)
        if type(operand) is not torch.Tensor:  # under a mode that makes tensors of its own
            return number
    if len(OPERANDS) >= MOST:
        OPERANDS.clear()
    OPERANDS[number, like.dtype, like.device] = operand
    return operand
