"""Python's operators on a Tensor, each by way of the table."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch

from tapegrad.engine.tensor import Tensor, adopted
from tapegrad.rules import elementwise, indexing, matmul
from tapegrad.torch_api.dispatch import call
from tapegrad.torch_api.functions.matmul import batched
from tapegrad.torch_api.index import canonical
from tapegrad.torch_api.inplace import update
from tapegrad.torch_api.raw import raw


def _reflected_pow(self: Tensor, base: Any) -> Any:
    return elementwise.pow(base, self)


def _reflected_matmul(self: Tensor, left: Any) -> Any:
    return batched(left, self)


def _matmul(self: Tensor, other: Any) -> Any:
    if type(other) is not Tensor and not isinstance(other, torch.Tensor):
        return NotImplemented
    if type(other) is not Tensor:
        other = adopted(other, "matmul", "other")
    return matmul.two_matrices.road(self, other) if self._data.ndim == 2 == other.ndim else batched(self, other)


def _reflected_div(self: Tensor, numerator: Any) -> Any:
    return self.reciprocal() * numerator  # as torch does


def _getitem(self: Tensor, index: Any) -> Any:
    return indexing.getitem.road(self, canonical(index, self._data))


def _setitem(self: Tensor, index: Any, value: Any) -> None:
    update(self, "__setitem__", (index, value), {})


def _comparison(function: Callable[[Any, Any], Any]) -> Callable[[Tensor, Any], Any]:
    return lambda self, other: function(self._data, raw(other))


def operators() -> dict[str, Callable[..., Any]]:
    """Each operator's name, with what runs it: the roads of ops as they are now."""
    forms: dict[str, Callable[..., Any]] = {
        "__getitem__": _getitem,
        "__neg__": elementwise.neg.road,
        "__pos__": lambda self: self,
        "__abs__": elementwise.abs.road,
        "__add__": elementwise.add.road,
        "__radd__": elementwise.add.road,
        "__sub__": elementwise.sub.road,
        "__rsub__": elementwise.rsub.road,
        "__mul__": elementwise.mul.road,
        "__rmul__": elementwise.mul.road,
        "__truediv__": elementwise.div.road,
        "__rtruediv__": _reflected_div,
        "__rdiv__": _reflected_div,
        "__mod__": elementwise.remainder.road,
        "__rmod__": lambda self, other: elementwise.remainder(other, self),
        "__floordiv__": lambda self, other: call(torch.floor_divide, (self, other), {}),
        "__rfloordiv__": lambda self, other: call(torch.floor_divide, (other, self), {}),
        "__pow__": elementwise.pow.road,
        "__rpow__": _reflected_pow,
        "__matmul__": _matmul,
        "__rmatmul__": _reflected_matmul,
        "__setitem__": _setitem,
        "__iadd__": lambda self, other: update(self, "add_", (other,), {}),
        "__isub__": lambda self, other: update(self, "sub_", (other,), {}),
        "__imul__": lambda self, other: update(self, "mul_", (other,), {}),
        "__itruediv__": lambda self, other: update(self, "div_", (other,), {}),
        "__imod__": lambda self, other: update(self, "remainder_", (other,), {}),
        "__ifloordiv__": lambda self, other: update(self, "floor_divide_", (other,), {}),
        "__ipow__": lambda self, other: update(self, "pow_", (other,), {}),
    }
    return forms | {f"__{n}__": _comparison(getattr(operator, n)) for n in ("eq", "ne", "lt", "le", "gt", "ge")}
