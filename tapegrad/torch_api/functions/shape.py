"""Shapes, orders and types by torch's other names, and the functions that copy what a view would share."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import TABLE
from tapegrad.engine.unbroadcast import unbroadcast
from tapegrad.numbers import is_whole
from tapegrad.rules.shape import moved, movedim, squeeze
from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.raw import raw

# --- sizes: the same elements, counted differently ---


@composition(torch.squeeze)
def _squeeze(input: Any, dim: Any = None) -> Any:
    return squeeze(input, tuple(range(input.ndim)) if dim is None else dim)


@composition(torch.Tensor.view_as)
def view_as(input: Any, other: Any) -> Any:
    return input.view(other.shape)


@composition(torch.Tensor.reshape_as)
def reshape_as(input: Any, other: Any) -> Any:
    return input.reshape(other.shape)


@composition(torch.ravel)
def ravel(input: Any) -> Any:
    return input.reshape(-1)


# --- order: the same elements, at other positions ---


@composition(torch.moveaxis)
def moveaxis(input: Any, source: Any, destination: Any) -> Any:
    return movedim(input, source, destination)


@composition(torch.swapaxes)
def swapaxes(input: Any, axis0: int, axis1: int) -> Any:
    return input.transpose(axis0, axis1)


@composition(torch.swapdims)
def swapdims(input: Any, dim0: int, dim1: int) -> Any:
    return input.transpose(dim0, dim1)


def reverse_dims(input: Any) -> Any:
    """The dimensions in reverse order, ``x.T``."""
    return input.permute(tuple(range(input.ndim))[::-1])


def roll_by_half(input: Any, dim: Any, shift: Any) -> Any:
    """Roll each dimension by half its length."""
    dims = tuple(range(input.ndim)) if dim is None else (dim,) if is_whole(dim) else tuple(dim)
    return input.roll([shift(input.shape[d]) for d in dims], dims)


@composition(torch.fft.fftshift)
def fftshift(input: Any, dim: Any = None) -> Any:
    return roll_by_half(input, dim, lambda n: n // 2)


@composition(torch.fft.ifftshift)
def ifftshift(input: Any, dim: Any = None) -> Any:
    return roll_by_half(input, dim, lambda n: (n + 1) // 2)


# --- copies: an element that was copied gets the sum ---


@composition(torch.repeat_interleave)
def repeat_interleave(input: Any, repeats: Any, dim: int | None = None, *, output_size: int | None = None) -> Any:
    repeats = raw(repeats)
    if dim is None:
        input, dim = input.flatten(), 0
    which = torch.arange(input.shape[dim], device=input.device)
    which = which.repeat_interleave(repeats, output_size=output_size)
    if not isinstance(repeats, int):
        return input.index_select(dim, which)
    dim %= input.ndim  # the same number of copies each: torch expands
    sizes = (-1,) * (dim + 1) + (repeats,) + (-1,) * (input.ndim - dim - 1)
    return input.unsqueeze(dim + 1).expand(sizes).flatten(dim, dim + 1)


@composition(torch.Tensor.expand_as)
def expand_as(input: Any, other: Any) -> Any:
    return input.expand(other.shape)


@composition(torch.broadcast_to)
def broadcast_to(input: Any, size: Any) -> Any:
    return input.expand(size)


@composition(torch.Tensor.sum_to_size)
def sum_to_size(input: Any, *size: Any) -> Any:
    shape = torch.Size(size[0] if len(size) == 1 and isinstance(size[0], (tuple, list)) else size)
    torch.empty(shape, device="meta").expand(input.shape)  # raises torch's own error if the sizes do not fit
    return unbroadcast(input, shape)


# --- memory and type ---


_TYPED = (torch.dtype, torch.Tensor)


@composition(torch.Tensor.to)
def to(input: Any, *args: Any, **kwargs: Any) -> Any:
    args, kwargs = raw(args), raw(kwargs)
    dtype = next((getattr(a, "dtype", a) for a in (*args, *kwargs.values()) if isinstance(a, _TYPED)), input.dtype)
    if not (dtype.is_floating_point or dtype.is_complex):  # the result takes no gradient
        return raw(input).to(*args, **kwargs)
    return moved(input, input.device, args, kwargs)


@composition(torch.Tensor.type_as)
def type_as(input: Any, other: Any) -> Any:
    return input.to(other.dtype)


@composition(torch.Tensor.type)
def _type(input: Any, dtype: Any = None, non_blocking: bool = False) -> Any:
    """``x.type()`` is a name, ``x.type(torch.float64)`` a conversion."""
    if dtype is None:
        return raw(input).type()
    return input.to(dtype if isinstance(dtype, torch.dtype) else torch.empty(0).type(dtype).dtype)


def _to_dtype(dtype: torch.dtype) -> Any:
    def to_dtype(input: Any, memory_format: torch.memory_format = torch.preserve_format) -> Any:
        return input.to(dtype, memory_format=memory_format)

    return to_dtype


composition(torch.Tensor.double)(_to_dtype(torch.float64))
composition(torch.Tensor.float)(_to_dtype(torch.float32))
composition(torch.Tensor.half)(_to_dtype(torch.float16))
composition(torch.Tensor.bfloat16)(_to_dtype(torch.bfloat16))
composition(torch.Tensor.cdouble)(_to_dtype(torch.complex128))  # type: ignore[attr-defined]  # torch's stubs lack it
composition(torch.Tensor.cfloat)(_to_dtype(torch.complex64))  # type: ignore[attr-defined]  # likewise
composition(torch.Tensor.chalf)(_to_dtype(torch.complex32))
composition(torch.Tensor.cpu)(lambda input: input.to("cpu"))
composition(torch.Tensor.cuda)(lambda input, device="cuda": input.to(device))


# --- torch's "copy" functions: a view, and then a copy of it ---


def _copied(name: str) -> Any:
    def copied(*args: Any, **kwargs: Any) -> Any:
        result = TABLE[getattr(torch, name, None) or getattr(torch.Tensor, name)](*args, **kwargs)
        return tuple([r.clone() for r in result]) if isinstance(result, tuple) else result.clone()

    return copied


for _name in """
    as_strided diagonal expand permute select split split_with_sizes squeeze t transpose unbind unfold unsqueeze
""".split():
    composition(getattr(torch, f"{_name}_copy"))(_copied(_name))


@composition(torch.view_copy)
def view_copy(input: Any, size: Any) -> Any:
    return input.reshape(size).clone()


@composition(torch.alias_copy)
def alias_copy(input: Any) -> Any:
    return input.clone()
