"""Rules of functions that move elements and compute nothing: the gradient moves back."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import torch

from tapegrad.op import composition, rule
from tapegrad.tensor import raw

view = rule(torch.Tensor.view, "input, *size", input=lambda g, input_shape: g.reshape(input_shape))
reshape = rule(torch.reshape, "input, *shape", input=lambda g, input_shape: g.reshape(input_shape))
flatten = rule(torch.flatten, "input, start_dim=0, end_dim=-1", input=lambda g, input_shape: g.reshape(input_shape))
squeeze = rule(torch.squeeze, "input, dim", input=lambda g, input_shape: g.reshape(input_shape))
unsqueeze = rule(torch.unsqueeze, "input, dim", input=lambda g, dim: g.squeeze(dim))
expand = rule(torch.Tensor.expand, "input, *size", input=lambda g: g)  # a broadcast: the walk sums it
t = rule(torch.t, input=lambda g: g.t())
transpose = rule(torch.transpose, "input, dim0, dim1", input=lambda g, dim0, dim1: g.transpose(dim0, dim1))
permute = rule(torch.permute, "input, *dims", input=lambda g, dims: g.permute(inverse(dims)))
cat = rule(torch.cat, "tensors, dim=0", tensors=lambda g, tensors_shape, dim: pieces(g, tensors_shape, dim))
stack = rule(torch.stack, "tensors, dim=0", tensors=lambda g, dim: g.unbind(dim))
contiguous = rule(torch.Tensor.contiguous, "input, *, memory_format=torch.contiguous_format", input=lambda g: g)


@rule(input=lambda g, device: g.to(device))  # the walk gives it its dtype back
def moved(input: Any, device: Any, args: Any, kwargs: Any) -> Any:
    """``input.to(...)``, from ``device``."""
    return input.to(*args, **kwargs)


@composition(torch.Tensor.to)
def to(input: Any, *args: Any, **kwargs: Any) -> Any:
    return moved(input, input.device, raw(args), raw(kwargs))


@composition(torch.Tensor.type_as)
def type_as(input: Any, other: Any) -> Any:
    return input.to(other.dtype)


composition(torch.Tensor.double)(lambda input: input.to(torch.float64))
composition(torch.Tensor.float)(lambda input: input.to(torch.float32))
composition(torch.Tensor.half)(lambda input: input.to(torch.float16))
composition(torch.Tensor.bfloat16)(lambda input: input.to(torch.bfloat16))
composition(torch.Tensor.cpu)(lambda input: input.to("cpu"))
composition(torch.Tensor.cuda)(lambda input, device="cuda": input.to(device))


def reverse(input: Any) -> Any:
    """The dimensions in reverse order, ``x.T``."""
    return input.permute(tuple(range(input.ndim))[::-1])


def inverse(dims: tuple[int, ...]) -> list[int]:
    """The permutation that undoes ``dims``."""
    dims = tuple(d % len(dims) for d in dims)
    return [dims.index(i) for i in range(len(dims))]


def pieces(g: Any, shapes: list[torch.Size], dim: int) -> list[Any]:
    """The parts of a concatenation's gradient."""
    skipped = [tuple(shape) == (0,) and g.ndim > 1 for shape in shapes]  # torch skips empty lists
    lengths = [0 if skip else shape[dim] for shape, skip in zip(shapes, skipped, strict=True)]
    starts = accumulate(lengths, initial=0)
    parts = [g.narrow(dim, start, length) for start, length in zip(starts, lengths, strict=False)]
    return [part.reshape(0) if skip else part for part, skip in zip(parts, skipped, strict=True)]


# --- in terms of the above, and of indexing ---


@composition(torch.squeeze)
def _squeeze(input: Any, dim: Any = None) -> Any:
    return squeeze(input, tuple(range(input.ndim)) if dim is None else dim)


@composition(torch.narrow)
def narrow(input: Any, dim: int, start: int, length: int) -> Any:
    size = input.shape[dim]
    first = start + size if start < 0 else start
    if not 0 <= first <= first + length <= size:
        raise RuntimeError(f"narrow(): start {start} and length {length} do not fit dimension {dim}, of size {size}")
    return along(input, dim, slice(first, first + length))


@composition(torch.select)
def select(input: Any, dim: int, index: int) -> Any:
    return along(input, dim, index)


@composition(torch.unbind)
def unbind(input: Any, dim: int = 0) -> Any:
    return tuple([along(input, dim, i) for i in range(input.shape[dim])])


@composition(torch.split)
def split(input: Any, split_size_or_sections: Any, dim: int = 0) -> Any:
    n, sizes = input.shape[dim], split_size_or_sections
    if isinstance(sizes, int):
        sizes = [min(sizes, n - start) for start in range(0, n, sizes)] if n else [0]
    if sum(sizes) != n:
        raise RuntimeError(f"split(): the sections {list(sizes)} do not add up to dimension {dim}, of size {n}")
    starts = accumulate(sizes, initial=0)
    return tuple([input.narrow(dim, start, size) for start, size in zip(starts, sizes, strict=False)])


@composition(torch.chunk)
def chunk(input: Any, chunks: int, dim: int = 0) -> Any:
    n = input.shape[dim]
    return split(input, -(-n // chunks) if n else [0] * chunks, dim)


def along(input: Any, dim: int, index: Any) -> Any:
    """Index one dimension."""
    if not -input.ndim <= dim < input.ndim:
        raise IndexError(f"dimension {dim} is out of range for a tensor of {input.ndim} dimensions")
    return input[(slice(None),) * (dim % input.ndim) + (index,)]


@composition(torch.Tensor.expand_as)
def expand_as(input: Any, other: Any) -> Any:
    return input.expand(other.shape)


@composition(torch.Tensor.view_as)
def view_as(input: Any, other: Any) -> Any:
    return input.view(other.shape)


@composition(torch.Tensor.reshape_as)
def reshape_as(input: Any, other: Any) -> Any:
    return input.reshape(other.shape)


@composition(torch.broadcast_to)
def broadcast_to(input: Any, size: Any) -> Any:
    return input.expand(size)


@composition(torch.swapaxes)
def swapaxes(input: Any, axis0: int, axis1: int) -> Any:
    return input.transpose(axis0, axis1)


@composition(torch.swapdims)
def swapdims(input: Any, dim0: int, dim1: int) -> Any:
    return input.transpose(dim0, dim1)


@composition(torch.ravel)
def ravel(input: Any) -> Any:
    return input.reshape(-1)
