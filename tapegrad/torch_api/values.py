"""What a Tensor does as a value, and which carries no gradient: numbers, arrays, iteration, printing, pickling."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from tapegrad import markup
from tapegrad.engine.tensor import Tensor
from tapegrad.torch_api.raw import raw


class Values:
    """Members of ``Tensor``; in a class, so that they read as such. Python would not let it be a base of Tensor."""

    _data: torch.Tensor
    requires_grad: bool

    __array_priority__ = 1000  # numpy leaves ``array * tensor`` to the tensor
    __hash__ = object.__hash__

    def item(self) -> Any:
        """The value of a one-element tensor as a Python number."""
        return self._data.item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self._data.tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray[Any, Any]:
        """The values as a numpy array that shares storage. As in torch, a tensor that requires grad refuses.

        Args:
            force: give the values all the same; copied, if they are not the CPU's.
        """
        if self.requires_grad and not force:
            raise RuntimeError("numpy: this tensor requires grad; use t.detach().numpy() or t.data.numpy()")
        # Of a detached tensor, so that the storage counts the array as a user.
        return self._data.detach().numpy(force=force)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.numpy(), dtype=dtype) if dtype is not None or copy else self.numpy()

    def __dlpack__(self, **options: Any) -> Any:
        """The memory as others read it: ``torch.from_dlpack(t)``. As in torch, a tensor that requires grad refuses."""
        if self.requires_grad:
            raise BufferError(
                "from_dlpack, as_tensor: this tensor requires grad, and its gradient would be lost; use t.detach()"
            )
        return self._data.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._data.__dlpack_device__()

    def __len__(self) -> int:
        if self._data.ndim == 0:  # torch.tensor([t]) ends here, for it knows a sequence by its len()
            raise TypeError(
                "len() of a 0-d tensor; torch.tensor and torch.as_tensor do not read Tensors: join them with "
                "torch.stack, or give t.item() or t.data of a constant"
            )
        return len(self._data)

    def __iter__(self: Any) -> Iterator[Any]:
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

    def __reduce__(self: Any) -> Any:  # pickle and copy.copy
        if self.record is not None:
            raise RuntimeError(
                "copy, pickle: only leaves can be copied so, for a copy of this tensor, which was computed, would lose "
                "how; use t.clone() for a copy that stays on the tape, or t.detach() for one that takes no gradient"
            )
        return Tensor, (self._data, self._requires_grad)

    def __deepcopy__(self: Any, memo: dict[int, Any]) -> Tensor:
        make, args = self.__reduce__()
        twin: Tensor = make(*copy.deepcopy(args, memo))
        twin.grad = copy.deepcopy(self.grad, memo)  # as torch, whose pickle leaves it out
        return twin

    def __repr__(self: Any) -> str:
        if self.record is not None:
            return f"{repr(self._data)[:-1]}, op=<{self.record.op.name}>)"
        return f"{repr(self._data)[:-1]}, requires_grad=True)" if self._requires_grad else repr(self._data)

    def _repr_html_(self: Any) -> str:
        how = f"op {self.record.op.name}" if self.record is not None else "requires grad" if self._requires_grad else ""
        return markup.tensor(self._data, how)

    def __format__(self, spec: str) -> str:
        return format(self._data, spec) if self._data.ndim == 0 else format(repr(self), spec)
