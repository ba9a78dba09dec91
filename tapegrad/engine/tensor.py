"""Tensor: a torch tensor, its gradient, and the record of how it was computed.

This file says what a Tensor is. ``backward.py`` gives it ``backward()``, and ``torch_api`` torch's vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from warnings import warn
from weakref import ref

import torch
from torch import float32, float64

from tapegrad.engine.hooks import Hooks
from tapegrad.engine.op import Op
from tapegrad.engine.tape import Record, Watched, next_rank, observers
from tapegrad.errors import ForeignTensor

if TYPE_CHECKING:
    Base = torch.Tensor  # for type checkers and editors: what torch's tensors can do, Tensors can
else:
    Base = object


class Tensor(Base):
    """A torch tensor that remembers how it was computed.

    It is not a ``torch.Tensor``: it holds one, in ``data``, and hands it to torch's kernels. Operators, methods and
    torch functions work on it and record themselves on the tape.

    Args:
        data: a ``torch.Tensor``, whose storage is shared, or a number, nested list or numpy array, copied by
            ``torch.tensor``.
        requires_grad: whether ``backward()`` should leave a gradient in ``grad``.

    Attributes:
        data: the raw ``torch.Tensor``.
        grad: the gradient accumulated by ``backward()``, a raw ``torch.Tensor`` of the same shape, or None.
        record: the Record of the op that computed this tensor; None for a leaf.
    """

    __slots__ = ("__weakref__", "_data", "_holder", "_requires_grad", "_reshaped", "hooks", "record")

    _data: torch.Tensor
    _requires_grad: bool  # asked for by the user; a computed tensor has a record instead
    _holder: torch.Tensor  # whose ``grad`` is this tensor's: ``data``, or a torch leaf that it stands for (see nn/)
    _reshaped: int  # of a leaf: the rank at which it was given data of another shape or dtype; 0 if it never was
    record: Record | None
    hooks: Hooks | None  # of a leaf; a computed tensor's are its record's

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        if isinstance(data, Tensor):
            raise TypeError("tensor(): data is a tapegrad.Tensor already; use data.detach() for a new leaf")
        data = native(data if isinstance(data, torch.Tensor) else torch.tensor(data), "tensor", "data")
        self._data = self._holder = data.detach()  # a torch tensor that is nobody else's, for it has our ``grad``
        self._reshaped, self.record, self.hooks = 0, None, None
        self.requires_grad = requires_grad

    def __init_subclass__(cls) -> None:
        raise TypeError("Tensor cannot be subclassed: ops look for the very class; keep a Tensor in an attribute")

    def _replace(self, value: torch.Tensor) -> None:
        if value is self._data:  # p.data += ...
            return
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"Tensor.data: expected a torch.Tensor, got {type(value).__name__}")
        if self._requires_grad and not (value.is_floating_point() or value.is_complex()):
            raise RuntimeError(f"Tensor.data: {value.dtype} takes no gradient; set requires_grad = False first")
        if value.shape != self._data.shape or value.dtype != self._data.dtype:
            self._reshaped = next_rank()
        before, self._data = self._data, native(value, "Tensor.data", "value").detach()
        if self._holder is before:
            self._holder = self._data
            self._data.grad = before.grad if kind(before) == kind(value) else None
        else:
            self._holder.data = value

    data = property(
        attrgetter("_data"),
        _replace,
        doc="The raw torch tensor. Assigning replaces it; ``p.data += ...`` updates it in place, unrecorded. "
        "``p.data.grad`` is ``p.grad``, so that torch.optim works on ``p.data``.",
    )
    # Read in C, for they are asked for all the time.
    shape = property(attrgetter("_data.shape"), doc="The size of each dimension, a ``torch.Size``.")
    dtype = property(attrgetter("_data.dtype"), doc="The type of the elements, a ``torch.dtype``.")
    device = property(attrgetter("_data.device"), doc="Where the elements are, a ``torch.device``.")
    ndim = property(attrgetter("_data.ndim"), doc="The number of dimensions.")

    @property
    def grad(self) -> torch.Tensor | None:
        """The gradient that ``backward()`` has accumulated. Assignable, by None or a torch tensor that fits."""
        grad = self._holder.grad
        if grad is None and self.record is not None and not self.retains_grad:
            warn(
                "Tensor.grad: this tensor was computed, and backward() leaves a gradient on it only if you call "
                "retain_grad() first",
                stacklevel=2,
            )
        return grad

    @grad.setter
    def grad(self, value: torch.Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, torch.Tensor):
                raise TypeError(f"Tensor.grad: expected a torch.Tensor or None, got {type(value).__name__}")
            if kind(value) != kind(self):
                raise RuntimeError(
                    f"Tensor.grad: a gradient must match its tensor: expected {kind(self)}, got {kind(value)}"
                )
        self._holder.grad = value

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient will flow to this tensor. Settable on leaves."""
        return self.record is not None or self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if type(value) is not bool:
            raise TypeError(f"requires_grad: expected True or False, not {value!r}, of type {type(value).__name__}")
        if self.record is not None:
            if not value:
                raise RuntimeError(
                    "requires_grad: this tensor was computed and its gradient is needed further back; "
                    "use .detach() for a copy that takes no gradient"
                )
            return
        if value and not (self._data.is_floating_point() or self._data.is_complex()):
            raise RuntimeError(f"requires_grad: only floating point and complex can, not {self.dtype}; use .float()")
        if value and self._data.is_inference() and not torch.is_inference_mode_enabled():
            raise RuntimeError(
                "requires_grad: this tensor was made in torch.inference_mode(), so that torch cannot tell when it "
                "changes; use a .clone() of it"
            )
        self._requires_grad = value

    def retain_grad(self) -> None:
        """Ask ``backward()`` to leave this computed tensor's gradient in ``grad``, as it does for leaves."""
        if self.record is not None:
            self.record.hooks = self.record.hooks or Hooks()
            self.record.hooks.retained = ref(self)
        elif not self._requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require grad; set requires_grad = True first")

    @property
    def retains_grad(self) -> bool:  # type: ignore[override]  # torch's stubs have attributes that nobody sets
        """Whether ``retain_grad()`` was called on this computed tensor."""
        return self.record is not None and self.record.tensor is not None


def tensor(data: Any, requires_grad: bool = False) -> Tensor:
    """Wrap data for tapegrad.

    Args:
        data: a ``torch.Tensor`` of any shape, dtype and device, whose storage is shared, or a number, nested list or
            numpy array, which is copied.
        requires_grad: whether ``backward()`` should leave a gradient in ``grad``.

    Raises:
        ForeignTensor: ``data`` is a torch tensor that itself requires grad.
        RuntimeError: a gradient was asked for integer data.

    Example::

        W = tapegrad.tensor(torch.randn(3, 2), requires_grad=True)
    """
    return Tensor(data, requires_grad)


_new = object.__new__


def wrap(data: torch.Tensor, record: Record | None) -> Tensor:
    """A Tensor around a result, without the constructor's checks."""
    t = _new(Tensor)
    t._data = t._holder = data
    t._requires_grad = False
    t._reshaped = 0
    t.record = record
    t.hooks = None
    return t


def recorded(op: Op, saved: tuple[Any, ...], parents: tuple[Any, ...], watched: Watched, out: torch.Tensor) -> Tensor:
    """A Tensor around a result, with the Record of how it was computed; in one function, for it runs at every op.

    ``out`` is the raw result; the other arguments are the attributes of ``Record``.
    """
    record = _new(Record)
    record.rank = next_rank()
    dtype = out.dtype
    record.op = op if dtype is float32 or dtype is float64 else op.in_complex if dtype.is_complex else op.in_half
    record.saved = saved
    record.parents = parents
    record.watched = watched
    record.shape = out.shape
    record.dtype = dtype
    record.hooks = None
    if observers:
        for observer in observers[-1:]:  # another thread may have taken it away meanwhile
            observer.made(record, out)
    t = _new(Tensor)
    t._data = t._holder = out
    t._requires_grad = False
    t.record = record
    t.hooks = None
    return t


def node(t: Tensor) -> Record | Tensor | None:
    """Where the gradient of a tensor goes: to its record, to the leaf itself, or nowhere."""
    return t.record or (t if t._requires_grad else None)


def raw(value: Any) -> Any:
    """The torch tensor inside a Tensor; anything else as it is."""
    return value._data if type(value) is Tensor else value


def native(data: torch.Tensor, op: str, argument: str) -> torch.Tensor:
    """Refuse a tensor that torch.autograd is tracking: its gradient would be lost without a word."""
    if data.requires_grad:
        raise ForeignTensor(
            f"{op}(): {argument}, of shape {tuple(data.shape)}, requires grad under torch.autograd, whose tape "
            f"tapegrad does not see; compute it inside tapegrad.recording(), or pass x.detach() for a constant"
        )
    return data


# What makes a leaf of ours for one of torch's: nn/ has put it there. With nothing there, they are refused.
adopters: list[Callable[[torch.Tensor], Tensor]] = []


def adopted(value: Any, op: str, argument: str) -> Any:
    """An argument with leaves of ours for the torch leaves in it that require grad; other tensors must be native."""
    if isinstance(value, torch.Tensor):
        if adopters and value.requires_grad and value.is_leaf:
            return adopters[0](value)
        return native(value, op, argument)
    if type(value) is tuple or type(value) is list:
        return type(value)([adopted(v, op, argument) for v in value])
    return {k: adopted(v, op, argument) for k, v in value.items()} if type(value) is dict else value


def kind(t: Tensor | torch.Tensor) -> str:
    """Shape, dtype and device, for messages and for comparing them."""
    return f"{tuple(t.shape)} {t.dtype} on {t.device}"
