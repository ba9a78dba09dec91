"""Functions that see a tensor's gradient as the walk passes, and may replace it. The walk runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

Hook = Callable[[Any], Any]


class Hooks(dict[int, Hook]):
    """The hooks of one tensor, in the order they were registered, and whether it retains its gradient.

    Attributes:
        retained: a weak reference to the computed Tensor that asked for its gradient, or None.
    """

    retained: ref[Any] | None = None
