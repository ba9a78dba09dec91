"""Torch's methods and properties on a Tensor: of each function of the table, and of all that takes no gradient."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any

import torch

from tapegrad.engine.op import Op
from tapegrad.engine.table import TABLE
from tapegrad.engine.tensor import Tensor
from tapegrad.mistakes import explain
from tapegrad.rules import complex as complex_rules
from tapegrad.rules import reduction, shape
from tapegrad.torch_api import leaves
from tapegrad.torch_api.dispatch import call
from tapegrad.torch_api.functions.shape import reverse_dims
from tapegrad.torch_api.inplace import update
from tapegrad.torch_api.keywords import torch_names
from tapegrad.torch_api.operators import operators
from tapegrad.torch_api.plain import MADE, PLAIN, VALUES_FROM
from tapegrad.torch_api.raw import raw
from tapegrad.torch_api.values import Values
from tapegrad.tracebacks import trim, trimmed

RECORDED = "recorded on the tape"
_NOT_GIVEN = object()

# These run most, and spell out here what the table's entries would sort out.


def _reduction(op: Op, entry: Callable[..., Any]) -> Callable[..., Any]:
    run = op.road

    def method(
        self: Tensor, dim: Any = _NOT_GIVEN, keepdim: Any = False, *, keepdims: Any = _NOT_GIVEN, **kwargs: Any
    ) -> Any:  # keepdims: numpy's name for it
        try:
            if dim is _NOT_GIVEN:
                if keepdim is False and keepdims is _NOT_GIVEN and not kwargs:
                    return run(self, None, False)
            elif keepdims is _NOT_GIVEN:
                if type(keepdim) is bool and not kwargs:
                    return run(self, dim, keepdim)
            elif type(keepdims) is bool and keepdim is False and not kwargs:
                return run(self, dim, keepdims)
            kwargs |= {} if keepdims is _NOT_GIVEN else {"keepdims": keepdims}
            kwargs |= {} if keepdim is False else {"keepdim": keepdim}
            return entry(self, *(() if dim is _NOT_GIVEN else (dim,)), **torch_names(kwargs, entry))
        except Exception as error:
            trim(error)
            raise

    return method


def _extreme(op: Op, pair: type, entry: Callable[..., Any]) -> Callable[..., Any]:
    run = op.road

    def method(self: Tensor, dim: Any = _NOT_GIVEN, keepdim: Any = False, **kwargs: Any) -> Any:
        try:
            if type(dim) is int and type(keepdim) is bool and not kwargs:
                return pair(run(self, dim, keepdim))
            kwargs |= {} if keepdim is False else {"keepdim": keepdim}
            return entry(self, *(() if dim is _NOT_GIVEN else (dim,)), **torch_names(kwargs, entry))
        except Exception as error:
            trim(error)
            raise

    return method


def _shaping(op: Op, entry: Callable[..., Any]) -> Callable[..., Any]:
    run = op.road

    def method(self: Tensor, *size: Any, **kwargs: Any) -> Any:
        try:
            return run(self, size) if len(size) > 1 and not kwargs else entry(self, *size, **kwargs)
        except Exception as error:
            trim(error)
            raise

    return method


def _view(input: Tensor, *size: Any, **kwargs: Any) -> Any:
    """``view`` with sizes; with a dtype the bits are read as other numbers, which takes no gradient."""
    if "dtype" in kwargs or (len(size) == 1 and isinstance(size[0], torch.dtype)):
        return input._data.view(*size, **kwargs)
    return shape.view(input, *size, **kwargs)


def _commonest() -> dict[str, Callable[..., Any]]:
    return {
        "sum": _reduction(reduction.sum, TABLE[torch.Tensor.sum]),
        "mean": _reduction(reduction.mean, TABLE[torch.Tensor.mean]),
        "max": _extreme(reduction.max_dim, torch.return_types.max, TABLE[torch.Tensor.max]),
        "min": _extreme(reduction.min_dim, torch.return_types.min, TABLE[torch.Tensor.min]),
        "view": _shaping(shape.view, _view),
        "reshape": _shaping(shape.reshape, shape.reshape),
    }


def _method(entry: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        try:
            return entry(self, *args, **torch_names(kwargs)) if kwargs else entry(self, *args)
        except Exception as error:
            trim(error)
            raise

    return method


def _copied(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function object of its own, to bear another name."""
    return FunctionType(function.__code__, function.__globals__, closure=function.__closure__)


def _plain(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        try:
            if entry := TABLE.get(function):  # a user's rule
                return entry(self, *args, **torch_names(kwargs))
            return function(self._data, *raw(args), **raw(kwargs))
        except Exception as error:
            explain(error, name, None, (self, *args), kwargs)
            raise

    return _documented(method, name, "takes no gradient, and returns a plain torch.Tensor or a number")


def _value(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """One of the methods that ask for values, whose errors name it."""

    @wraps(function)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(self, *args, **kwargs)
        except Exception as error:
            explain(error, name, None, (self, *args), kwargs)
            raise

    return method


def _in_place(name: str) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        try:
            return update(self, name, args, kwargs)
        except Exception as error:
            trim(error)
            raise

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
    # What torch.nn.Parameter and torch.nn.Buffer set on the tensor they are given.
    "_is_param": ": torch.nn.Parameter takes a torch tensor; write torch.nn.Parameter(t.data)",
    "persistent": ": torch.nn.Buffer takes a torch tensor; write torch.nn.Buffer(t.data)",
}


def _called(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        try:
            return call(function, (self, *args), kwargs)
        except Exception as error:
            trim(error)
            raise

    no_rule = "without a rule, so it refuses where a gradient is asked for"
    return _documented(method, name, "makes a Tensor that takes no gradient" if name in MADE else no_rule)


def _forget_grad(self: Tensor) -> None:
    self.grad = None


def _absent(name: str) -> property:
    def absent(self: Tensor, *value: Any) -> Any:
        raise AttributeError(f"'Tensor' object has no attribute '{name}'{INSTEAD[name]}")

    return property(absent, trimmed(absent))


def _torch_function(cls: type, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
    try:
        entry = None if kwargs else TABLE.get(func)
        return entry(*args) if entry else call(func, args, kwargs or {})
    except Exception as error:
        trim(error)
        raise


_OWN = frozenset({*vars(Tensor), *vars(Values)})  # what torch's vocabulary must not cover


def install() -> None:
    """Give Tensor its vocabulary; once more when ops have got other roads, for methods and operators hold them."""
    # No __getattr__: with one, Python cannot read even plain attributes quickly.
    members: dict[str, Any] = {
        name: _value(name, value) if isinstance(value, FunctionType) else value
        for name, value in vars(Values).items()
        if name not in vars(_Empty)
    }
    members |= {name: _absent(name) for name in INSTEAD}
    members |= {f.__name__: f for f in (leaves.detach, trimmed(leaves.register_hook), trimmed(leaves.requires_grad_))}
    members["is_leaf"] = property(leaves.is_leaf, doc=leaves.is_leaf.__doc__)
    for name in dir(torch.Tensor):
        function = getattr(torch.Tensor, name)
        if not name.startswith("_") and name not in _OWN and name not in members and callable(function):
            members[name] = _member(name, function)
    members |= operators()
    for name in ("layout", "is_cuda", "is_cpu", "is_meta", "is_sparse", "is_nested", "itemsize", "nbytes"):
        members[name] = property(operator.attrgetter(f"_data.{name}"), doc=f"As ``torch.Tensor.{name}``.")
    members |= {
        "__torch_function__": classmethod(_torch_function),
        "grad": vars(Tensor)["grad"].deleter(_forget_grad),
        "T": property(reverse_dims, doc="The dimensions in reverse order."),
        "mT": property(lambda self: self.transpose(-2, -1), doc="Each matrix transposed."),
        "mH": property(shape.adjoint, doc="Each matrix transposed and conjugated."),
        "H": property(shape.hermitian, doc="A matrix transposed and conjugated."),
        "real": property(shape.real, doc="The real part."),
        "imag": property(complex_rules.imag, doc="The imaginary part."),
    }
    for name, member in members.items():
        setattr(Tensor, name, member)


class _Empty:
    """What every class has."""


def _member(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The method of Tensor that goes by one of torch's names."""
    entry = TABLE.get(function)
    if entry is not None:
        if isinstance(entry, Op) and entry.parameters == ("input",):
            method = _copied(entry.road)  # no other arguments to sort out
        else:
            method = _commonest().get(name) or _method(entry)
        return _documented(method, name, RECORDED)
    if name in PLAIN and name not in VALUES_FROM:
        return _plain(name, function)
    return _in_place(name) if name.endswith("_") else _called(name, function)
