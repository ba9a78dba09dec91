"""Tensor: a torch tensor, its gradient, and the record of how it was computed.

This file says what a Tensor is; ``operators.py`` gives it its arithmetic.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from warnings import warn
from weakref import ref

import numpy as np
import torch

from tapegrad.anomaly import active
from tapegrad.errors import ForeignTensor, MissingRule
from tapegrad.hooks import Hook, HookHandle, Hooks
from tapegrad.tape import Record, Watched, next_rank

if TYPE_CHECKING:
    from tapegrad.op import Op


class Tensor:
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

    __slots__ = ("__weakref__", "_data", "_grad", "_requires_grad", "hooks", "record")

    _data: torch.Tensor
    _requires_grad: bool  # asked for by the user; a computed tensor has a record instead
    _grad: torch.Tensor | None
    record: Record | None
    hooks: Hooks | None  # of a leaf; a computed tensor's are its record's

    if TYPE_CHECKING:  # backward.py adds backward; operators.py torch's operators, methods and properties

        def backward(
            self,
            gradient: torch.Tensor | Tensor | None = None,
            retain_graph: bool = False,
            inputs: Sequence[Tensor] | Tensor | None = None,
        ) -> None:
            """Compute gradients: see ``backward.py``."""

        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __neg__(self) -> Tensor: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: object) -> torch.Tensor: ...  # type: ignore[override]  # as torch: by element
        def __ne__(self, other: object) -> torch.Tensor: ...  # type: ignore[override]  # likewise
        def __lt__(self, other: Any) -> torch.Tensor: ...
        def __le__(self, other: Any) -> torch.Tensor: ...
        def __gt__(self, other: Any) -> torch.Tensor: ...
        def __ge__(self, other: Any) -> torch.Tensor: ...

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        if isinstance(data, Tensor):
            raise TypeError("tensor(): data is a tapegrad.Tensor already; use data.detach() for a new leaf")
        if not isinstance(data, torch.Tensor):
            data = torch.tensor(data)
        self._data = native(data, "tensor", "data")
        self._requires_grad = False
        self._grad = None
        self.record = None
        self.hooks = None
        if requires_grad:
            self.requires_grad = True

    # --- values and gradients ---

    def _replace(self, value: torch.Tensor) -> None:
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"Tensor.data: expected a torch.Tensor, got {type(value).__name__}")
        self._data = native(value, "Tensor.data", "value")

    # Read in C, as what follows below.
    data = property(
        attrgetter("_data"),
        _replace,
        doc="The raw torch tensor. Assigning replaces it; ``p.data += ...`` updates it in place, unrecorded.",
    )

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
            mine, its = (self.shape, self.dtype, self.device), (value.shape, value.dtype, value.device)
            if mine != its:
                raise RuntimeError(
                    f"Tensor.grad: a gradient must match its tensor: expected {tuple(mine[0])} {mine[1]} on {mine[2]}, "
                    f"got {tuple(its[0])} {its[1]} on {its[2]}"
                )
        self._grad = value

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient will flow to this tensor. Settable on leaves."""
        return self.record is not None or self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
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
        self._requires_grad = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set ``requires_grad`` and return the tensor itself."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was made by the user and not computed by a recorded op."""
        return self.record is None

    def retain_grad(self) -> None:
        """Ask ``backward()`` to leave this computed tensor's gradient in ``grad``, as it does for leaves."""
        if self.record is not None:
            if self.record.hooks is None:
                self.record.hooks = Hooks()
            self.record.hooks.retained = ref(self)
        elif not self._requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require grad; set requires_grad = True first")

    @property
    def retains_grad(self) -> bool:
        """Whether ``retain_grad()`` was called on this computed tensor."""
        return self.record is not None and self.record.tensor is not None

    def register_hook(self, hook: Hook) -> HookHandle:
        """Call ``hook(grad)`` whenever this tensor's gradient has been computed, before it goes further.

        Hooks of one tensor run in the order they were registered. Those of leaves run when the walk is over.

        Args:
            hook: takes the gradient, a torch tensor of this tensor's shape; returns None, or a gradient of the same
                shape to go on with instead.

        Returns:
            A handle whose ``remove()`` takes the hook away again.
        """
        owner: Record | Tensor = self.record or self
        if not self.requires_grad:
            raise RuntimeError("register_hook: this tensor does not require grad, so it will have no gradient")
        if owner.hooks is None:
            owner.hooks = Hooks()
        return HookHandle(owner.hooks, hook)

    def detach(self) -> Tensor:
        """A tensor with the same storage, and no past."""
        return wrap(self._data.detach(), None)

    # --- what carries no gradient behaves as on the torch tensor ---

    # In C, for they are asked for all the time.
    shape = property(attrgetter("_data.shape"), doc="The size of each dimension, a ``torch.Size``.")
    dtype = property(attrgetter("_data.dtype"), doc="The type of the elements, a ``torch.dtype``.")
    device = property(attrgetter("_data.device"), doc="Where the elements are, a ``torch.device``.")
    ndim = property(attrgetter("_data.ndim"), doc="The number of dimensions.")

    def item(self) -> Any:
        """The value of a one-element tensor as a Python number."""
        return self._data.item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self._data.tolist()

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a numpy array that shares storage. As in torch, a tensor that requires grad refuses."""
        if self.requires_grad:
            raise RuntimeError("numpy: this tensor requires grad; use t.detach().numpy() or t.data.numpy()")
        return self._data.detach().numpy()  # a detached tensor, so that the storage counts the array as a user

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.numpy(), dtype=dtype) if dtype is not None or copy else self.numpy()

    __array_priority__ = 1000  # numpy leaves ``array * tensor`` to the tensor

    def __len__(self) -> int:
        if self._data.ndim == 0:  # torch.tensor([t]) ends here, for it knows a sequence by its len()
            raise TypeError(
                "len() of a 0-d tensor; torch.tensor and torch.as_tensor do not read Tensors: join them with "
                "torch.stack, or give t.item() or t.data of a constant"
            )
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        if self._data.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __contains__(self, element: Any) -> bool:
        return bool((self._data == raw(element)).any())

    def __bool__(self) -> bool:
        return bool(self._data)

    def __int__(self) -> int:
        return int(self._data)

    def __float__(self) -> float:
        return float(self._data)

    def __complex__(self) -> complex:
        return complex(self._data)

    def __index__(self) -> int:
        return self._data.__index__()

    __hash__ = object.__hash__

    def __init_subclass__(cls) -> None:
        raise TypeError("Tensor cannot be subclassed: ops look for the very class; keep a Tensor in an attribute")

    def __reduce__(self) -> Any:  # pickle and copy.copy
        if self.record is not None:
            raise RuntimeError("only leaves can be pickled or deep-copied; use t.detach(), or t.data")
        return Tensor, (self._data, self._requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        make, args = self.__reduce__()
        twin: Tensor = make(*copy.deepcopy(args, memo))
        twin._grad = copy.deepcopy(self._grad, memo)  # as torch, whose pickle leaves it out
        return twin

    def __repr__(self) -> str:
        if self.record is not None:
            return f"{repr(self._data)[:-1]}, op=<{self.record.op.name}>)"
        return f"{repr(self._data)[:-1]}, requires_grad=True)" if self._requires_grad else repr(self._data)

    def __format__(self, spec: str) -> str:
        return format(self._data, spec) if self._data.ndim == 0 else format(repr(self), spec)


def tensor(data: Any, requires_grad: bool = False) -> Tensor:
    """Wrap data for tapegrad.

    Args:
        data: a ``torch.Tensor`` of any shape, dtype and device, whose storage is shared, or a number, nested list or
            numpy array, which is copied.
        requires_grad: whether ``backward()`` should leave a gradient in ``grad``.

    Raises:
        ForeignTensor: ``data`` is a torch tensor that itself requires grad.
        RuntimeError: a gradient was asked for integer data.
    """
    return Tensor(data, requires_grad)


_new = object.__new__


def wrap(data: torch.Tensor, record: Record | None) -> Tensor:
    """A Tensor around a result, without the constructor's checks."""
    t = _new(Tensor)
    t._data = data
    t._requires_grad = False
    t._grad = None
    t.record = record
    t.hooks = None
    return t


def recorded(op: Op, saved: tuple[Any, ...], parents: tuple[Any, ...], watched: Watched, out: torch.Tensor) -> Tensor:
    """A Tensor around a result, with the Record of how it was computed; in one function, for it runs at every op.

    Args:
        op: as the attribute of ``Record``.
        saved: likewise.
        parents: likewise.
        watched: likewise.
        out: the raw result.
    """
    record = _new(Record)
    record.rank = next_rank()
    record.op = op
    record.saved = saved
    record.parents = parents
    record.watched = watched
    record.shape = out.shape
    record.dtype = out.dtype
    record.hooks = None
    if active:
        active[-1].check_output(record, out)
    t = _new(Tensor)
    t._data = out
    t._requires_grad = False
    t._grad = None
    t.record = record
    t.hooks = None
    return t


def raw(value: Any) -> Any:
    """The torch tensor inside a Tensor; anything else as it is, lists, tuples and dicts element by element."""
    if isinstance(value, Tensor):
        return value._data
    if isinstance(value, (list, tuple)):
        items = [raw(v) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {k: raw(v) for k, v in value.items()}
    return value


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
