"""Tensor: a torch tensor, its gradient, and the record of how it was computed.

This file says what a Tensor is. ``backward.py`` gives it ``backward()``, and ``torch_api`` torch's vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from warnings import warn
from weakref import ref

import torch
from torch import bfloat16, float16
from torch.utils.hooks import RemovableHandle

from tapegrad.engine.hooks import Hook, Hooks
from tapegrad.engine.op import Op
from tapegrad.engine.tape import Record, Watched, next_rank, observers
from tapegrad.errors import ForeignTensor, MissingRule

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

    __slots__ = ("__weakref__", "_data", "_grad", "_requires_grad", "_reshaped", "hooks", "record")

    _data: torch.Tensor
    _requires_grad: bool  # asked for by the user; a computed tensor has a record instead
    _grad: torch.Tensor | None
    _reshaped: int  # of a leaf: the rank at which it was given data of another shape or dtype; 0 if it never was
    record: Record | None
    hooks: Hooks | None  # of a leaf; a computed tensor's are its record's

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        if isinstance(data, Tensor):
            raise TypeError("tensor(): data is a tapegrad.Tensor already; use data.detach() for a new leaf")
        self._data = native(data if isinstance(data, torch.Tensor) else torch.tensor(data), "tensor", "data")
        self._reshaped = 0
        self._grad = self.record = self.hooks = None
        self.requires_grad = requires_grad

    def __init_subclass__(cls) -> None:
        raise TypeError("Tensor cannot be subclassed: ops look for the very class; keep a Tensor in an attribute")

    def _replace(self, value: torch.Tensor) -> None:
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"Tensor.data: expected a torch.Tensor, got {type(value).__name__}")
        if self._requires_grad and not value.is_floating_point():
            raise RuntimeError(
                f"Tensor.data: this tensor requires grad, which {value.dtype} cannot; set requires_grad = False first"
            )
        if value.shape != self._data.shape or value.dtype != self._data.dtype:
            self._reshaped = next_rank()
        self._data = native(value, "Tensor.data", "value")

    data = property(
        attrgetter("_data"),
        _replace,
        doc="The raw torch tensor. Assigning replaces it; ``p.data += ...`` updates it in place, unrecorded.",
    )
    # Read in C, for they are asked for all the time.
    shape = property(attrgetter("_data.shape"), doc="The size of each dimension, a ``torch.Size``.")
    dtype = property(attrgetter("_data.dtype"), doc="The type of the elements, a ``torch.dtype``.")
    device = property(attrgetter("_data.device"), doc="Where the elements are, a ``torch.device``.")
    ndim = property(attrgetter("_data.ndim"), doc="The number of dimensions.")

    @property
    def grad(self) -> torch.Tensor | None:
        """The gradient that ``backward()`` has accumulated. Assignable, by None or a torch tensor that fits."""
        if self._grad is None and self.record is not None and not self.retains_grad:
            warn(
                "Tensor.grad: this tensor was computed, and backward() leaves a gradient on it only if you call "
                "retain_grad() first",
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: torch.Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, torch.Tensor):
                raise TypeError(f"Tensor.grad: expected a torch.Tensor or None, got {type(value).__name__}")
            if kind(value) != kind(self):
                raise RuntimeError(
                    f"Tensor.grad: a gradient must match its tensor: expected {kind(self)}, got {kind(value)}"
                )
        self._grad = value

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
        if value and self._data.is_complex():
            raise MissingRule(f"requires_grad: this tensor is {self.dtype}, and the rules are for real numbers")
        if value and not self._data.is_floating_point():
            raise RuntimeError(
                f"requires_grad: only floating point tensors can require gradients, this one is {self.dtype}; convert "
                f"it first, for example with .float()"
            )
        if value and self._data.is_inference() and not torch.is_inference_mode_enabled():
            raise RuntimeError(
                "requires_grad: this tensor was made in torch.inference_mode(), so that torch cannot tell when it "
                "changes; use a .clone() of it"
            )
        self._requires_grad = value

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set ``requires_grad`` and return the tensor itself."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:  # type: ignore[override]  # torch's stubs have attributes that nobody sets
        """Whether the tensor was made by the user and not computed by a recorded op."""
        return self.record is None

    def retain_grad(self) -> None:
        """Ask ``backward()`` to leave this computed tensor's gradient in ``grad``, as it does for leaves."""
        if self.record is not None:
            self.record.hooks = self.record.hooks or Hooks()
            self.record.hooks.retained = ref(self)
        elif not self._requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require grad; set requires_grad = True first")

    @property
    def retains_grad(self) -> bool:  # type: ignore[override]  # likewise
        """Whether ``retain_grad()`` was called on this computed tensor."""
        return self.record is not None and self.record.tensor is not None

    def register_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(grad)`` whenever this tensor's gradient has been computed, before it goes further.

        Hooks of one tensor run in the order they were registered. Those of leaves run when the walk is over.

        Args:
            hook: takes the gradient, a torch tensor of this tensor's shape; returns None, or a gradient of the same
                shape to go on with instead.

        Returns:
            torch's handle, whose ``remove()`` takes the hook away again; so does the end of a ``with`` block.
        """
        owner = node(self)
        if owner is None:
            raise RuntimeError("register_hook: this tensor does not require grad, so it will have no gradient")
        if owner.hooks is None:
            owner.hooks = Hooks()
        handle = RemovableHandle(owner.hooks)
        owner.hooks[handle.id] = hook
        return handle

    def detach(self) -> Tensor:
        """A tensor with the same storage, and no past."""
        return wrap(self._data.detach(), None)


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
    t._data = data
    t._requires_grad = False
    t._reshaped = 0
    t._grad = None
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
    record.op = op.in_half if dtype is float16 or dtype is bfloat16 else op
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
    t._data = out
    t._requires_grad = False
    t._grad = None
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
            f"tapegrad does not see; pass tapegrad.tensor(x.detach(), requires_grad=True), or x.detach() for a constant"
        )
    return data


def foreign(op: str, parameters: Sequence[str], args: Sequence[Any]) -> ForeignTensor:
    """The refusal of the first argument that torch.autograd is tracking."""
    for name, arg in zip(parameters, args, strict=False):
        for value in arg if isinstance(arg, (tuple, list)) else (arg,):
            if isinstance(value, torch.Tensor):
                native(value, op, name)
    raise AssertionError(f"{op}(): torch.autograd recorded it, though no argument requires grad there")


def kind(t: Tensor | torch.Tensor) -> str:
    """Shape, dtype and device, for messages and for comparing them."""
    return f"{tuple(t.shape)} {t.dtype} on {t.device}"
