"""torch.distributions on Tensors: where its Python asks for torch's own type, and not for what its functions take."""

from __future__ import annotations

from functools import wraps
from typing import Any

import torch
from torch.distributions import Distribution, gamma, half_cauchy

from tapegrad.engine.tensor import Tensor


class _Torch:
    """torch, but for ``as_tensor``, which would take a Tensor for a list of numbers, or refuse it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def as_tensor(self, data: Any, dtype: Any = None, device: Any = None) -> Any:
        return (
            data.to(device=device, dtype=dtype)
            if isinstance(data, Tensor)
            else torch.as_tensor(data, dtype=dtype, device=device)
        )


def adopt() -> None:
    """Let distributions validate a Tensor by its values, and keep it where they make their argument a tensor."""
    validate = Distribution._validate_sample
    if hasattr(validate, "__wrapped__"):
        return

    @wraps(validate)
    def validated(self: Any, value: Any) -> None:
        validate(self, value._data if isinstance(value, Tensor) else value)

    Distribution._validate_sample = validated  # type: ignore[method-assign]
    for module in (gamma, half_cauchy):
        module.torch = _Torch()  # type: ignore[attr-defined]  # a name that the module imports
