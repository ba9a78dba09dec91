"""Python's operators on a Tensor, each by way of the table."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from sys import getrefcount
from typing import Any

import numpy as np
import torch

from tapegrad.engine.signature import name_of
from tapegrad.engine.tensor import Tensor, adopted
from tapegrad.mistakes import explain
from tapegrad.numbers import constant, is_stranger
from tapegrad.rules import elementwise, indexing, matmul
from tapegrad.torch_api.dispatch import call
from tapegrad.torch_api.functions.matmul import batched
from tapegrad.torch_api.index import canonical
from tapegrad.torch_api.inplace import update
from tapegrad.torch_api.raw import raw
from tapegrad.torch_api.temporaries import TEMPORARY, is_for_item
from tapegrad.tracebacks import trim, trimmed

_USUAL = {Tensor, torch.Tensor, int, float}  # operands of which nothing need be asked


def _tensor(factor: Any, beside: Tensor) -> Any:
    """A factor of a matrix product; if it is one of NumPy's arrays, as a tensor."""
    if not isinstance(factor, np.ndarray):
        return factor
    return constant(matmul.matmul, (factor, beside), 0) if factor.ndim else torch.tensor(factor)


def _reflected_pow(self: Tensor, base: Any) -> Any:
    try:
        return elementwise.pow(base, self)
    except Exception as error:
        trim(error)
        raise


def _reflected_matmul(self: Tensor, left: Any) -> Any:
    try:
        return batched(_tensor(left, self), self)
    except Exception as error:
        trim(error)
        raise


def _matmul(self: Tensor, other: Any) -> Any:
    try:
        if type(other) is not Tensor and not isinstance(other, torch.Tensor):
            if not isinstance(other, np.ndarray):
                return NotImplemented
            other = _tensor(other, self)
        elif type(other) is not Tensor:
            other = adopted(other, "matmul", "other")
        return matmul.two_matrices.road(self, other) if self._data.ndim == 2 == other.ndim else batched(self, other)
    except Exception as error:
        trim(error)
        raise


def _reflected_div(self: Tensor, numerator: Any) -> Any:
    try:
        return self.reciprocal() * numerator  # as torch does
    except Exception as error:
        trim(error)
        raise


def _getitem(self: Tensor, index: Any) -> Any:
    try:
        return indexing.getitem.road(self, canonical(index, self._data))
    except Exception as error:
        explain(error, "getitem", None, (self, index))
        raise


def _setitem(self: Tensor, index: Any, value: Any) -> None:
    try:
        temporary = (value,) if getrefcount(value) <= TEMPORARY else ()
        update(self, "__setitem__", (index, value), {}, temporary)
    except Exception as error:
        trim(error)
        raise


def _augmented(name: str) -> Callable[[Tensor, Any], Any]:
    def method(self: Tensor, other: Any) -> Any:
        try:
            if type(other) not in _USUAL and is_stranger(other):
                return NotImplemented  # Python then makes x = x ** other of it: other names of x see no change
            item = False
            if getrefcount(self) <= TEMPORARY:
                frame = sys._getframe(1)
                item = is_for_item(frame.f_code, frame.f_lasti)
            return update(self, name, (other,), {}, item=item)
        except Exception as error:
            trim(error)
            raise

    return method


def _reversed(self: Tensor) -> Any:
    return self.flip(0) if self.ndim else self


def _floordiv(self: Tensor, other: Any) -> Any:
    return NotImplemented if is_stranger(other) else call(torch.floor_divide, (self, other), {})


def _plain(function: Callable[[Any, Any], Any], name: str = "") -> Callable[[Tensor, Any], Any]:
    """An operator whose result takes no gradient."""

    def operate(self: Tensor, other: Any) -> Any:
        if type(other) not in _USUAL and is_stranger(other):
            return NotImplemented  # what it makes of this may take a gradient
        try:
            return function(self._data, raw(other))
        except Exception as error:
            explain(error, name or name_of(function), None, (self, other))
            raise

    return operate


def _reflected(function: Callable[[Any, Any], Any]) -> Callable[[Tensor, Any], Any]:
    return _plain(lambda data, other: function(other, data), name_of(function))


_IN_PLACE = {
    "iadd": "add_",
    "isub": "sub_",
    "imul": "mul_",
    "itruediv": "div_",
    "idiv": "div_",
    "imod": "remainder_",
    "ifloordiv": "floor_divide_",
    "ipow": "pow_",
}


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
        "__div__": elementwise.div.road,  # Python 2's, which torch has kept
        "__rtruediv__": _reflected_div,
        "__rdiv__": _reflected_div,
        "__mod__": elementwise.remainder.road,
        "__rmod__": trimmed(lambda self, other: elementwise.remainder(other, self)),
        "__floordiv__": trimmed(_floordiv),
        "__rfloordiv__": trimmed(lambda self, other: call(torch.floor_divide, (other, self), {})),
        "__pow__": elementwise.pow.road,
        "__rpow__": _reflected_pow,
        "__matmul__": _matmul,
        "__rmatmul__": _reflected_matmul,
        "__setitem__": _setitem,
        "__invert__": trimmed(lambda self: ~self._data),
        "__reversed__": _reversed,
        "__delitem__": trimmed(lambda self, index: call(vars(torch._C.TensorBase)["__delitem__"], (self, index), {})),
    }
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        forms[f"__{name}__"] = _plain(getattr(operator, name))
    for name in ("and", "or", "xor", "lshift", "rshift"):  # of integers and truth values
        function = getattr(operator, f"__{name}__")
        forms |= {f"__{name}__": _plain(function), f"__r{name}__": _reflected(function)}
        forms[f"__i{name}__"] = _augmented(f"__i{name}__")
    for name, method in _IN_PLACE.items():
        forms[f"__{name}__"] = _augmented(method)
    return forms
