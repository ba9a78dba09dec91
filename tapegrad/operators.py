"""Torch's vocabulary on a Tensor: operators, methods and properties, each by way of the table."""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch

from tapegrad import kernels  # noqa: F401 - before an op's short form is captured below
from tapegrad.apply import apply, is_grad_enabled
from tapegrad.dispatch import PLAIN, call
from tapegrad.inplace import update
from tapegrad.op import TABLE, Op, torch_names
from tapegrad.rules import elementwise, indexing, matmul, reduction, shape
from tapegrad.tape import Watched
from tapegrad.tensor import Tensor, raw, recorded
from tapegrad.torch_api.functions.matmul import batched
from tapegrad.torch_api.index import canonical

# --- operators: the short road, for they run most ---


def _reflected_pow(self: Tensor, base: Any) -> Any:
    return elementwise.pow(base, self)


def _reflected_matmul(self: Tensor, left: Any) -> Any:
    return batched(left, self)


_two_matrices = matmul.two_matrices.short


def _matmul(self: Tensor, other: Any) -> Any:
    if type(other) is not Tensor and not isinstance(other, torch.Tensor):
        return NotImplemented
    return _two_matrices(self, other) if self._data.ndim == 2 == other.ndim else batched(self, other)


def _reflected_div(self: Tensor, numerator: Any) -> Any:
    return self.reciprocal() * numerator  # as torch does


def _getitem(self: Tensor, index: Any) -> Any:
    """``getitem``'s shortcut, by hand: an index is, or holds, tensors to watch."""
    data = self._data
    index = canonical(index, data)
    place = self.record or (self if self._requires_grad else None)
    if place is not None and is_grad_enabled():
        try:
            out = data[index]
            if type(index) is torch.Tensor:
                watched: Watched = ((index, index._version),)
            else:
                entries = index if type(index) is tuple else ()
                watched = tuple([(i, i._version) for i in entries if isinstance(i, torch.Tensor)])
            return recorded(indexing.getitem, (None, None, index), (place, None), watched, out)
        except RuntimeError:
            pass  # apply says what is wrong
    return apply(indexing.getitem, (self, index))


def _setitem(self: Tensor, index: Any, value: Any) -> None:
    update(self, "__setitem__", (index, value), {})


def _comparison(function: Callable[[Any, Any], Any]) -> Callable[[Tensor, Any], Any]:
    return lambda self, other: function(self._data, raw(other))


_OPERATORS: dict[str, Callable[..., Any]] = {
    "__getitem__": _getitem,
    "__neg__": elementwise.neg.short,
    "__pos__": lambda self: self,
    "__abs__": elementwise.abs.short,
    "__add__": elementwise.add.short,
    "__radd__": elementwise.add.short,
    "__sub__": elementwise.sub.short,
    "__rsub__": elementwise.rsub.short,
    "__mul__": elementwise.mul.short,
    "__rmul__": elementwise.mul.short,
    "__truediv__": elementwise.div.short,
    "__rtruediv__": _reflected_div,
    "__rdiv__": _reflected_div,
    "__mod__": elementwise.remainder.short,
    "__rmod__": lambda self, other: elementwise.remainder(other, self),
    "__floordiv__": lambda self, other: call(torch.floor_divide, (self, other), {}),
    "__rfloordiv__": lambda self, other: call(torch.floor_divide, (other, self), {}),
    "__pow__": elementwise.pow.short,
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
_OPERATORS |= {f"__{n}__": _comparison(getattr(operator, n)) for n in ("eq", "ne", "lt", "le", "gt", "ge")}

# --- methods: everything in the table, and everything that takes no gradient ---


RECORDED = "recorded on the tape"

# These run most, and spell out here what the table's entries would sort out.


def _reduction(op: Op) -> Callable[..., Any]:
    run = op.short

    def method(
        self: Tensor,
        dim: Any = None,
        keepdim: bool = False,
        *,
        dtype: Any = None,
        axis: Any = None,
        keepdims: Any = False,
    ) -> Any:
        dim = dim if axis is None else axis
        if dtype is not None:
            return op(self.to(dtype), dim, keepdim or keepdims)  # which need not be a Tensor
        return run(self, dim, keepdim or keepdims)

    return method


def _extreme(op: Op, pair: type, entry: Callable[..., Any]) -> Callable[..., Any]:
    run = op.short

    def method(self: Tensor, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Any:
        if type(dim) is int and not kwargs:
            return pair(run(self, dim, keepdim))
        kwargs |= {"keepdim": True} if keepdim else {}
        return entry(self, *(() if dim is None else (dim,)), **torch_names(kwargs, entry))

    return method


def _shaping(op: Op) -> Callable[..., Any]:
    run = op.short

    def method(self: Tensor, *size: Any, **kwargs: Any) -> Any:
        return run(self, size) if len(size) > 1 and not kwargs else op(self, *size, **kwargs)

    return method


_SHORT: dict[str, Callable[..., Any]] = {
    "sum": _reduction(reduction.sum),
    "mean": _reduction(reduction.mean),
    "max": _extreme(reduction.max_dim, torch.return_types.max, TABLE[torch.max]),
    "min": _extreme(reduction.min_dim, torch.return_types.min, TABLE[torch.min]),
    "view": _shaping(shape.view),
    "reshape": _shaping(shape.reshape),
}


def _method(entry: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return entry(self, *args, **torch_names(kwargs)) if kwargs else entry(self, *args)

    return method


def _copied(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function object of its own, to bear another name."""
    return FunctionType(function.__code__, function.__globals__, closure=function.__closure__)


def _plain(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return function(self._data, *raw(args), **raw(kwargs))

    return _documented(method, name, "takes no gradient, and returns a plain torch.Tensor or a number")


def _in_place(name: str) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return update(self, name, args, kwargs)

    return _documented(method, name, "in place: this object stands for the result")


def _documented(method: Callable[..., Any], name: str, what: str) -> Callable[..., Any]:
    method.__name__ = name
    method.__qualname__ = f"Tensor.{name}"
    first = (getattr(torch.Tensor, name).__doc__ or "").strip().split("\n\n")[0].strip()
    method.__doc__ = f"{first or name}\n\nAs ``torch.Tensor.{name}``; {what}."
    return method


# Attributes that torch's tensors have and Tensors have not, and where to look instead.
INSTEAD = {
    "grad_fn": "; t.record is the op that computed it, and tapegrad.tape(t) all that led to it",
    "register_post_accumulate_grad_hook": "; register_hook sees the gradient right before it is added to t.grad",
}


def _unruled(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return call(function, (self, *args), kwargs)

    return _documented(method, name, "without a rule, so it refuses where a gradient is asked for")


def _absent(name: str) -> property:
    def read(self: Tensor) -> Any:
        raise AttributeError(f"'Tensor' object has no attribute '{name}'{INSTEAD[name]}")

    return property(read)


def _torch_function(cls: type, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
    entry = None if kwargs else TABLE.get(func)
    return entry(*args) if entry else call(func, args, kwargs or {})


def _install() -> None:
    """Give Tensor its vocabulary."""
    for name, function in _OPERATORS.items():
        setattr(Tensor, name, function)
    # No __getattr__: with one, Python cannot read even plain attributes quickly.
    for name in INSTEAD:
        setattr(Tensor, name, _absent(name))
    for name in dir(torch.Tensor):
        function = getattr(torch.Tensor, name)
        if name.startswith("_") or name in vars(Tensor) or not callable(function):
            continue
        if function in TABLE:
            entry = TABLE[function]
            if isinstance(entry, Op) and entry.parameters == ("input",):
                method = _copied(entry.short)  # no other arguments to sort out
            else:
                method = _SHORT.get(name) or _method(entry)
            setattr(Tensor, name, _documented(method, name, RECORDED))
        elif name in PLAIN:
            setattr(Tensor, name, _plain(name, function))
        elif name.endswith("_"):
            setattr(Tensor, name, _in_place(name))
        else:
            setattr(Tensor, name, _unruled(name, function))
    # mypy: tensor.py declares the operators alone, and would not have them assigned to.
    Tensor.__torch_function__ = classmethod(_torch_function)  # type: ignore[attr-defined]
    Tensor.T = property(shape.reverse, doc="The dimensions in reverse order.")  # type: ignore[attr-defined]
    Tensor.mT = property(lambda self: self.transpose(-2, -1), doc="Each matrix transposed.")  # type: ignore[attr-defined]
    Tensor.mH = property(shape.adjoint, doc="Each matrix transposed and conjugated.")  # type: ignore[attr-defined]
    Tensor.H = property(shape.hermitian, doc="A matrix transposed and conjugated.")  # type: ignore[attr-defined]
    Tensor.real = property(shape.real, doc="The real part.")  # type: ignore[attr-defined]
    for name in ("layout", "is_cuda", "is_cpu", "is_meta", "is_sparse", "is_nested", "itemsize", "nbytes"):
        setattr(Tensor, name, property(operator.attrgetter(f"_data.{name}"), doc=f"As ``torch.Tensor.{name}``."))


_install()
