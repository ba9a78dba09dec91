"""Reductions of the segments of a dimension, which follow one another: a scatter to each segment's place."""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.functions.torch_bits import with_bits_of
from tapegrad.torch_api.raw import raw

SCATTERED = {"sum": "sum", "mean": "sum", "max": "amax", "min": "amin", "prod": "prod"}


@composition(torch.segment_reduce, torch._segment_reduce)
def segment_reduce(
    data: Any,
    reduce: str,
    *,
    lengths: torch.Tensor | None = None,
    indices: torch.Tensor | None = None,
    offsets: torch.Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Any:
    lengths, offsets = raw(lengths), raw(offsets)
    exact = torch.segment_reduce(
        raw(data), reduce, lengths=lengths, indices=indices, offsets=offsets, axis=axis, unsafe=unsafe, initial=initial
    )
    axis = axis % data.ndim
    if offsets is None:
        assert lengths is not None  # torch has refused a call with neither
        offsets = torch.cat([torch.zeros_like(lengths[..., :1]), lengths.cumsum(-1)], -1)
    counts = offsets.diff()
    rows = data.reshape(prod(data.shape[:axis]), *data.shape[axis:])
    segment = segments_of(offsets.reshape(rows.shape[0], offsets.shape[-1]), rows.shape[1])
    index = segment.reshape(*segment.shape, *[1] * (rows.ndim - 2)).expand_as(raw(rows))
    # A segment more at either end takes what belongs to none.
    base = rows.new_zeros(rows.shape[0], counts.shape[-1] + 2, *rows.shape[2:])
    if reduce in ("sum", "mean"):
        sums = base.scatter_add(1, index, rows)[:, 1:-1]
        out = sums if initial is None else sums + initial
    else:  # equal ones share their gradient; torch gives it to each, which is too much
        out = base.scatter_reduce(1, index, rows, SCATTERED[reduce], include_self=False)[:, 1:-1]
    out = out.reshape(exact.shape)
    counts = counts.reshape(*counts.shape, *[1] * (out.ndim - counts.ndim))
    if reduce == "mean":
        out = out / counts.clamp(min=1)
    elif initial is not None and reduce == "prod":
        out = out * initial
    elif initial is not None and reduce != "sum":  # of a tie with it, all goes to the data, as in torch
        beaten = raw(out) < initial if reduce == "max" else raw(out) > initial
        out = torch.where(beaten, initial, out)
    return with_bits_of(exact, torch.where(counts > 0, out, exact))


def segments_of(offsets: torch.Tensor, n: int) -> torch.Tensor:
    """The segment (rows, n) in which each of ``n`` elements is, from 1 on; 0 before the first."""
    places = torch.arange(n, device=offsets.device, dtype=offsets.dtype).expand(offsets.shape[0], n).contiguous()
    return torch.searchsorted(offsets.contiguous(), places, right=True)
