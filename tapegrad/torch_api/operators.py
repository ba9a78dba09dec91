"""Python's operators on a Tensor, each by way of the table."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from sys import getrefcount
from typing import Any

import torch

from tapegrad.engine.tensor import Tensor, adopted
from tapegrad.rules import elementwise, indexing, matmul
from tapegrad.torch_api.dispatch import call
from tapegrad.torch_api.functions.matmul import batched
from tapegrad.torch_api.index import canonical
from tapegrad.torch_api.inplace import update
from tapegrad.torch_api.raw import raw
from tapegrad.torch_api.temporaries import TEMPORARY, is_for_item


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
    temporary = (value,) if getrefcount(value) <= TEMPORARY else ()
    update(self, "__setitem__", (index, value), {}, temporary)


def _augmented(name: str) -> Callable[[Tensor, Any], Tensor]:
    def method(self: Tensor, other: Any) -> Tensor:
        temporary = (other,) if getrefcount(other) <= TEMPORARY else ()
        item = False
        if getrefcount(self) <= TEMPORARY:
            frame = sys._getframe(1)
            item = is_for_item(frame.f_code, frame.f_lasti)
        return update(self, name, (other,), {}, temporary, item)

    return method


def _reversed(self: Tensor) -> Any:
    return self.flip(0) if self.ndim else self


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
        "__reversed__": _reversed,
        "__iadd__": _augmented("add_"),
        "__isub__": _augmented("sub_"),
        "__imul__": _augmented("mul_"),
        "__itruediv__": _augmented("div_"),
        "__imod__": _augmented("remainder_"),
        "__ifloordiv__": _augmented("floor_divide_"),
        "__ipow__": _augmented("pow_"),
    }
    return forms | {f"__{n}__": _comparison(getattr(operator, n)) for n in ("eq", "ne", "lt", "le", "gt", "ge")}
