"""Python numbers among tensors."""

from __future__ import annotations

from typing import Any

import torch

_EXACT = {torch.float32, torch.float64}  # torch computes in the type itself, so rounding the number first loses nothing
MOST = 256  # numbers kept at once

OPERANDS: dict[tuple[float, torch.dtype], torch.Tensor] = {}  # number and dtype -> a tensor of one element
_met: set[tuple[float, torch.dtype]] = set()  # numbers seen once; a number is kept when it is seen again


def in_a_mode() -> bool:
    """Whether torch would make a tensor that is of no use outside the mode it is in."""
    return (
        torch.is_inference_mode_enabled()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
    )


def _kept_if_met(number: float, like: torch.Tensor) -> Any:
    """A number that is not kept yet: the number itself the first time; the second time a tensor, kept from then on."""
    key = number, like.dtype
    if not number or like.dtype not in _EXACT:  # 0.0 and -0.0 are equal, and would be one key
        return number
    if key not in _met:
        if len(_met) >= MOST:
            _met.clear()
        _met.add(key)
        return number
    if not abs(number) < 2**63 or in_a_mode():  # too large for an int64, infinite or NaN
        return number
    if len(OPERANDS) >= MOST:
        OPERANDS.clear()
    with torch._C.DisableTorchFunction():  # a TorchFunctionMode around the rules must not see it
        kind = torch.float64 if type(number) is float else torch.int64
        OPERANDS[key] = operand = torch.tensor(number, dtype=kind, device=like.device).to(like.dtype)
    return operand


def as_tensor(number: Any, like: torch.Tensor) -> Any:
    """A number as a tensor of one element, if a sum, product or quotient comes to the same; anything else as it is.

    Given a number, torch makes a tensor of it at every call, which takes as long as a small operation itself.

    Args:
        number: the other operand.
        like: the tensor that it meets.
    """
    if (type(number) is float or type(number) is int) and type(like) is torch.Tensor and like.is_cpu:
        kept = OPERANDS.get((number, like.dtype))
        return _kept_if_met(number, like) if kept is None else kept
    return number
