"""Embeddings that are summed up, averaged, or of which the largest is taken, bag by bag."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.errors import MissingRule
from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.functions.torch_bits import with_bits_of
from tapegrad.torch_api.raw import raw

SUM, MEAN, MAX = range(3)


@composition(torch.embedding_bag)
def embedding_bag(
    weight: Any,
    indices: torch.Tensor,
    offsets: torch.Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = SUM,
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    if sparse:
        raise MissingRule("embedding_bag(): sparse=True asks for a sparse gradient; the rules give dense ones")
    if scale_grad_by_freq:
        raise MissingRule(
            "embedding_bag(): scale_grad_by_freq=True is not supported: torch itself divides by the counts of other "
            "indices there; use F.embedding(..., scale_grad_by_freq=True), and sum"
        )
    options = raw((weight, indices, offsets, False, mode, False, per_sample_weights, include_last_offset, padding_idx))
    exact, *about = torch.embedding_bag(*options)
    bags = offsets.numel() - include_last_offset
    ends = offsets[1:] if include_last_offset else torch.cat([offsets[1:], offsets.new_tensor([indices.numel()])])
    bag = torch.repeat_interleave(torch.arange(bags, device=offsets.device), (ends - offsets[:bags]).long())
    indices = indices[: bag.numel()]
    if padding_idx is not None:
        kept = indices != padding_idx % weight.shape[0]
        indices, bag = indices[kept], bag[kept]
        per_sample_weights = None if per_sample_weights is None else per_sample_weights[kept]
    rows = F.embedding(indices, weight)
    counts = torch.bincount(bag, minlength=bags)
    if mode == MAX:
        return largest(rows, bag, counts), *about
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    total = torch.zeros(bags, weight.shape[1], dtype=weight.dtype, device=weight.device).index_add(0, bag, rows)
    if mode == MEAN:
        total = total / counts.clamp(min=1).unsqueeze(1).to(total.dtype)
    return with_bits_of(exact, total), *about


def largest(rows: Any, bag: torch.Tensor, counts: torch.Tensor) -> Any:
    """The largest of each bag's rows, element by element; zeros of an empty bag. Of a tie the first, as in torch."""
    if not rows.shape[0]:
        return rows.new_zeros(len(counts), rows.shape[1])
    order = torch.arange(len(bag), device=bag.device)
    place = order - (counts.cumsum(0) - counts)[bag]
    table = torch.zeros(len(counts), int(counts.max()), dtype=torch.int64, device=bag.device)
    table[bag, place] = order
    there = torch.arange(table.shape[1], device=bag.device) < counts.unsqueeze(1)
    padded = torch.where(there.unsqueeze(-1), rows[table], -torch.inf)
    return torch.where((counts > 0).unsqueeze(1), padded.max(1).values, 0.0)
