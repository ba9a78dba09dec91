"""Rules of functions that move elements and compute nothing: the gradient moves back."""

from __future__ import annotations

from operator import index as whole
from typing import Any

import torch

from tapegrad.engine.table import rule
from tapegrad.numbers import is_whole

# --- sizes: the same elements, counted differently ---


view = rule(torch.Tensor.view, "input, *size", input=lambda g, input_shape: torch.reshape(g, input_shape))
reshape = rule(torch.reshape, "input, *shape", input=lambda g, input_shape: torch.reshape(g, input_shape))
flatten = rule(
    torch.flatten, "input, start_dim=0, end_dim=-1", input=lambda g, input_shape: torch.reshape(g, input_shape)
)
unflatten = rule(torch.unflatten, "input, dim, sizes", input=lambda g, input_shape: torch.reshape(g, input_shape))
squeeze = rule(torch.squeeze, "input, dim", input=lambda g, input_shape: torch.reshape(g, input_shape))
unsqueeze = rule(torch.unsqueeze, "input, dim", input=lambda g, dim: g.squeeze(dim))


# --- order: the same elements, at other positions ---


t = rule(torch.t, input=lambda g: g.t())
transpose = rule(torch.transpose, "input, dim0, dim1", input=lambda g, dim0, dim1: g.transpose(dim0, dim1))


def inverse_permutation(dims: tuple[int, ...]) -> list[int]:
    """The permutation that undoes ``dims``."""
    dims = tuple(d % len(dims) for d in dims)
    return [dims.index(i) for i in range(len(dims))]


permute = rule(torch.permute, "input, *dims", input=lambda g, dims: g.permute(inverse_permutation(dims)))
movedim = rule(
    torch.movedim,
    "input, source, destination",
    input=lambda g, source, destination: g.movedim(destination, source),
)
flip = rule(torch.flip, "input, *dims", input=lambda g, dims: g.flip(dims))
fliplr = rule(torch.fliplr, input=lambda g: g.fliplr())
flipud = rule(torch.flipud, input=lambda g: g.flipud())


def opposite(shifts: Any) -> Any:
    """The shifts that undo ``shifts``."""
    return -whole(shifts) if is_whole(shifts) else [-whole(shift) for shift in shifts]


roll = rule(torch.roll, "input, shifts, dims=()", input=lambda g, shifts, dims: g.roll(opposite(shifts), dims))
rot90 = rule(torch.rot90, "input, k=1, dims=(0, 1)", input=lambda g, k, dims: g.rot90(-k, dims))


# --- copies: an element that was copied gets the sum ---


expand = rule(torch.Tensor.expand, "input, *size", input=lambda g: g)  # a broadcast, which the walk sums for all rules


def sum_copies(g: Any, repeats: tuple[int, ...], input_shape: torch.Size) -> Any:
    """Sum the copies that ``repeats`` made of the input; as torch does, along new dimensions first."""
    for _ in range(len(repeats) - len(input_shape)):
        g = g.sum(0)
    repeats = (1,) * (len(input_shape) - len(repeats)) + repeats[max(0, len(repeats) - len(input_shape)) :]
    split = [
        size for pair in zip(repeats, input_shape, strict=True) for size in pair
    ]  # each dimension: copies, elements
    return g.reshape(split).sum(list(range(0, len(split), 2))) if split else g


repeat = rule(torch.Tensor.repeat, "input, *repeats", input=sum_copies)
tile = rule(
    torch.tile,
    "input, *dims",
    input=lambda g, dims, input_shape: sum_copies(g, repeats=dims, input_shape=input_shape),
)


# --- memory and type ---


contiguous = rule(torch.Tensor.contiguous, "input, *, memory_format=torch.contiguous_format", input=lambda g: g)


@rule(input=lambda g, device: g.to(device))  # the walk restores the dtype
def moved(input: Any, device: Any, args: Any, kwargs: Any) -> Any:
    """``input.to(...)``, from ``device``."""
    return input.to(*args, **kwargs)


# --- complex numbers; of a real tensor, these give the tensor itself ---


real = rule(torch.real, input=lambda g: g)
conj = rule(torch.conj, input=lambda g: g.conj())
conj_physical = rule(torch.conj_physical, input=lambda g: g.conj_physical())
resolve_conj = rule(torch.resolve_conj, input=lambda g: g)
resolve_neg = rule(torch.resolve_neg, input=lambda g: g)
adjoint = rule(torch.adjoint, input=lambda g: g.adjoint())


@rule(input=lambda g: hermitian(g))  # type: ignore[has-type]  # the rule names itself
def hermitian(input: Any) -> Any:
    """A matrix transposed and conjugated, ``x.H``."""
    return input.H
