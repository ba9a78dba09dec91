"""Statistics in terms of sums, products and sorting."""

from __future__ import annotations

import math
from typing import Any

import torch

from tapegrad.op import composition
from tapegrad.rules.shape import along

# --- covariance ---


@composition(torch.cov)
def cov(input: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    """The covariance of the rows, each column being an observation."""
    x = input.reshape(1, -1) if input.ndim < 2 else input
    w = fweights if aweights is None else aweights if fweights is None else fweights * aweights
    total = x.shape[1] if w is None else w.sum()
    freedom = total - correction
    if aweights is not None and correction != 0:
        freedom = total - correction * (w * aweights).sum() / total
    if freedom <= 0:
        freedom = 0
    centred = x - ((x if w is None else x * w).sum(1) / total).unsqueeze(1)
    return (centred @ (centred if w is None else centred * w).t() / freedom).squeeze()


@composition(torch.corrcoef)
def corrcoef(input: Any) -> Any:
    """The covariance divided by both deviations."""
    c = cov(input)
    if c.ndim == 0:
        return c / c
    i = torch.arange(len(c), device=c.device)
    deviation = c[i, i].sqrt()
    return (c / deviation.unsqueeze(1) / deviation).clamp(-1, 1)


# --- quantiles ---


@composition(torch.quantile)
def quantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Any:
    return _quantile(input, q, dim, keepdim, interpolation, ignore_nan=False)


@composition(torch.nanquantile)
def nanquantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Any:
    return _quantile(input, q, dim, keepdim, interpolation, ignore_nan=True)


def _quantile(input: Any, q: Any, dim: int | None, keepdim: bool, interpolation: str, ignore_nan: bool) -> Any:
    """Sort; find the rank q (n - 1); take its neighbours and what lies between them."""
    q = torch.as_tensor(q, dtype=input.dtype, device=input.device) if isinstance(q, (int, float)) else q
    x = input.reshape(-1) if dim is None or input.ndim == 0 else input.movedim(dim, -1)
    x = x.sort(-1).values.unsqueeze(-2) if q.ndim else x.sort(-1).values
    fractions = q.unsqueeze(-1) if q.ndim else q
    if ignore_nan:
        rank = fractions * ((~x.isnan()).sum(-1, keepdim=True) - 1).clamp(min=0)
    else:
        rank = torch.where(x.isnan().any(-1, keepdim=True), x.shape[-1] - 1.0, fractions * (x.shape[-1] - 1))
    raise NotImplementedError(rank, keepdim, interpolation)
