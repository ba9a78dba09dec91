"""Stacking, splitting and grids: all of them are ``cat``, ``narrow`` and ``reshape`` underneath."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from operator import index as whole
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.rules.slicing import along, cat, common_shape, narrow
from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.raw import raw

# --- tensors joined: each gets its part ---


@composition(torch.concat, torch.concatenate)
def concat(tensors: Any, dim: int = 0) -> Any:
    return cat(tensors, dim)


@composition(torch.hstack)
def hstack(tensors: Any) -> Any:
    tensors = [atleast_1d(t) for t in tensors]
    return torch.cat(tensors, 0 if tensors[0].ndim == 1 else 1)


@composition(torch.vstack, torch.row_stack)
def vstack(tensors: Any) -> Any:
    return torch.cat([atleast_2d(t) for t in tensors], 0)


@composition(torch.dstack)
def dstack(tensors: Any) -> Any:
    return torch.cat([atleast_3d(t) for t in tensors], 2)


@composition(torch.column_stack)
def column_stack(tensors: Any) -> Any:
    return torch.hstack([t if t.ndim > 1 else t.reshape(-1, 1) for t in tensors])


@composition(torch.block_diag)
def block_diag(*tensors: Any) -> Any:
    # A number among them counts less than a matrix in the dtype, which torch.cat would not know.
    dtype = torch.block_diag(*[raw(t).new_zeros([0] * t.ndim) for t in tensors]).dtype
    blocks = [atleast_2d(t.to(dtype)) for t in tensors]
    widths = [block.shape[1] for block in blocks]
    before = accumulate(widths, initial=0)
    return torch.cat(
        [F.pad(b, (start, sum(widths) - start - b.shape[1])) for b, start in zip(blocks, before, strict=False)]
    )


VF: Any = torch._C._VariableFunctions  # what torch calls when tensors come as a list


def as_one_list(tensors: tuple[Any, ...]) -> Sequence[Any]:
    """Tensors given one by one, or as one list."""
    return tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors


def apply_to_each(tensors: tuple[Any, ...], function: Any) -> Any:
    """One tensor, or each of several given one by one or as a list."""
    if len(tensors) == 1 and not isinstance(tensors[0], (tuple, list)):
        return function(tensors[0])
    return tuple([function(t) for t in as_one_list(tensors)])


@composition(torch.atleast_1d, VF.atleast_1d)
def atleast_1d(*tensors: Any) -> Any:
    return apply_to_each(tensors, lambda t: t if t.ndim else t.reshape(1))


@composition(torch.atleast_2d, VF.atleast_2d)
def atleast_2d(*tensors: Any) -> Any:
    return apply_to_each(tensors, lambda t: t if t.ndim > 1 else t.reshape(1, -1))


@composition(torch.atleast_3d, VF.atleast_3d)
def atleast_3d(*tensors: Any) -> Any:
    return apply_to_each(
        tensors, lambda t: t if t.ndim > 2 else t.unsqueeze(-1) if t.ndim == 2 else t.reshape(1, -1, 1)
    )


# --- one tensor taken apart ---


@composition(torch.narrow)
def _narrow(input: Any, dim: int, start: Any, length: int) -> Any:
    n = input.shape[dim]
    return narrow(input, dim, start + n if -n <= start < 0 else start, length)


@composition(torch.narrow_copy)
def narrow_copy(input: Any, dim: int, start: int, length: int) -> Any:
    return input.narrow(dim, start, length).clone()


@composition(torch.ops.aten.slice.Tensor)
def _slice(input: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    return along(input, dim, slice(start, end, step))


@composition(torch.unbind)
def unbind(input: Any, dim: int = 0) -> Any:
    return tuple([input.select(dim, i) for i in range(input.shape[dim])])


@composition(torch.split)
def split(tensor: Any, split_size_or_sections: Any, dim: int = 0) -> Any:
    n, sizes = tensor.shape[dim], split_size_or_sections
    if not isinstance(sizes, (list, tuple)):
        size = int(sizes) if hasattr(sizes, "__torch_function__") else whole(sizes)  # torch rounds a tensor down
        sizes = [min(size, n - start) for start in range(0, n, size)] if n else [0]
    return split_with_sizes(tensor, sizes, dim)


@composition(torch.Tensor.split)
def _split(input: Any, split_size: Any, dim: int = 0) -> Any:
    return split(input, split_size, dim)


@composition(torch.unsafe_split)
def unsafe_split(input: Any, split_size: int, dim: int = 0) -> Any:
    return split(input, split_size, dim)


@composition(torch.split_with_sizes, torch.unsafe_split_with_sizes)
def split_with_sizes(input: Any, split_sizes: Any, dim: int = 0) -> Any:
    if sum(split_sizes) != input.shape[dim]:
        raise RuntimeError(
            f"split(): the sections {list(split_sizes)} do not add up to dimension {dim}, of size {input.shape[dim]}"
        )
    starts = accumulate(split_sizes, initial=0)
    return tuple([input.narrow(dim, start, size) for start, size in zip(starts, split_sizes, strict=False)])


@composition(torch.chunk, torch.unsafe_chunk)
def chunk(input: Any, chunks: int, dim: int = 0) -> Any:
    n = input.shape[dim]
    return split(input, -(-n // whole(chunks)) if n else [0] * chunks, dim)


@composition(torch.tensor_split)
def tensor_split(
    input: Any, indices_or_sections: Any = None, dim: int = 0, *, indices: Any = None, sections: Any = None
) -> Any:
    given = raw(next(x for x in (indices_or_sections, indices, sections) if x is not None))
    given, n = given.tolist() if isinstance(given, torch.Tensor) else given, input.shape[dim]
    if isinstance(given, int):  # the first n % given parts are longer by one
        return split_with_sizes(input, [n // given + (i < n % given) for i in range(given)], dim)
    bounds = [0, *given, n]
    return tuple([along(input, dim, slice(a, b)) for a, b in pairwise(bounds)])


def _even_split(name: str, input: Any, indices_or_sections: Any, dim: int, least: int = 1) -> Any:
    if input.ndim < least:
        raise RuntimeError(f"{name}(): expected {least} or more dimensions, got {input.ndim}")
    if isinstance(indices_or_sections, int) and input.shape[dim] % indices_or_sections:
        raise RuntimeError(
            f"{name}(): {indices_or_sections} sections do not divide dimension {dim}, of size {input.shape[dim]}"
        )
    return tensor_split(input, indices_or_sections, dim)


@composition(torch.hsplit)
def hsplit(input: Any, indices_or_sections: Any) -> Any:
    return _even_split("hsplit", input, indices_or_sections, 0 if input.ndim == 1 else 1)


@composition(torch.vsplit)
def vsplit(input: Any, indices_or_sections: Any) -> Any:
    return _even_split("vsplit", input, indices_or_sections, 0, least=2)


@composition(torch.dsplit)
def dsplit(input: Any, indices_or_sections: Any) -> Any:
    return _even_split("dsplit", input, indices_or_sections, 2, least=3)


@composition(torch.diag)
def diag(input: Any, diagonal: int = 0) -> Any:
    if input.ndim not in (1, 2):
        raise RuntimeError(f"diag(): expected 1 or 2 dimensions, got {input.ndim}")
    return input.diag_embed(diagonal) if input.ndim == 1 else input.diagonal(diagonal).clone()


@composition(torch.diagflat)
def diagflat(input: Any, offset: int = 0) -> Any:
    return input.reshape(-1).diag_embed(offset)


@composition(torch.linalg.diagonal)
def _linalg_diagonal(A: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    return A.diagonal(offset, dim1, dim2)


# --- all pairings of the elements of several tensors ---


@composition(torch.broadcast_tensors)
def broadcast_tensors(*tensors: Any) -> Any:
    shape = common_shape(*[t.shape for t in as_one_list(tensors)])
    return tuple([t.expand(shape) for t in as_one_list(tensors)])


@composition(torch.meshgrid, VF.meshgrid)
def meshgrid(*tensors: Any, indexing: str | None = None) -> Any:
    lines = [atleast_1d(t) for t in as_one_list(tensors)]
    if any(line.ndim > 1 for line in lines):
        raise RuntimeError("meshgrid(): expected tensors of 0 or 1 dimension")
    grids = [line.reshape([-1] + [1] * (len(lines) - 1 - i)) for i, line in enumerate(lines)]
    grids = broadcast_tensors(*grids)
    return tuple([grid.transpose(0, 1) for grid in grids]) if indexing == "xy" and len(lines) > 1 else grids


@composition(torch.cartesian_prod)
def cartesian_prod(*tensors: Any) -> Any:
    if len(tensors) == 1:
        return tensors[0]
    return torch.stack([grid.flatten() for grid in torch.meshgrid(*tensors, indexing="ij")], 1)


@composition(torch.combinations)
def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Any:
    if r == 0:
        return input[:0]
    numbers = torch.meshgrid(*[torch.arange(input.shape[0], device=input.device)] * r, indexing="ij")
    ascending = torch.ones_like(numbers[0], dtype=torch.bool)
    for a, b in pairwise(numbers):
        ascending = ascending & (a <= b if with_replacement else a < b)
    return torch.stack([grid[ascending] for grid in torch.meshgrid(*[input] * r, indexing="ij")], 1)
