"""Arguments as torch is to get them."""

from __future__ import annotations

from typing import Any

from tapegrad.engine.tensor import Tensor


def raw(value: Any) -> Any:
    """The torch tensor inside a Tensor; lists, tuples and dicts element by element; anything else as it is."""
    if isinstance(value, Tensor):
        return value._data
    if isinstance(value, (list, tuple)):
        items = [raw(v) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return {k: raw(v) for k, v in value.items()} if isinstance(value, dict) else value
