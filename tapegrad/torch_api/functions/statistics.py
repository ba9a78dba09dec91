"""Statistics: covariance and correlation from matrix products, quantiles from sorted values."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.raw import raw

# --- covariance ---


@composition(torch.cov)
def cov(input: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    """The covariance of the rows, each column being an observation."""
    # run torch's own function for its errors about the arguments
    torch.cov(raw(input), correction=correction, fweights=raw(fweights), aweights=raw(aweights))
    x = input.reshape(1, -1) if input.ndim < 2 else input
    w = fweights if aweights is None else aweights if fweights is None else fweights * aweights
    total = x.shape[1] if w is None else w.sum()
    mean = (x if w is None else x * w).sum(1) / total
    if aweights is None or correction == 0:
        freedom = total - correction
    else:
        freedom = total - correction * (w * aweights).sum() / total
    x = x - mean.unsqueeze(1)
    return (x @ (x if w is None else x * w).mH / (freedom if freedom > 0 else 0)).squeeze()


@composition(torch.corrcoef)
def corrcoef(input: Any) -> Any:
    """The covariance divided by both deviations."""
    c = cov(input)
    if c.ndim == 0:
        return c / c
    i = torch.arange(len(c), device=c.device)
    deviation = c[i, i].real.sqrt()
    c = c / deviation.unsqueeze(1) / deviation
    return torch.complex(c.real.clamp(-1, 1), c.imag.clamp(-1, 1)) if c.is_complex() else c.clamp(-1, 1)


# --- quantiles ---


def _sorted(input: Any, q: Any, dim: int | None) -> tuple[Any, Any, int | None]:
    """The values in ascending order along a new last dim, 1 being left at ``dim``, and q as a tensor."""
    q = torch.tensor(q, dtype=input.dtype, device=input.device) if isinstance(q, (int, float)) else q
    if dim is None or input.ndim == 0:
        return input.reshape(-1).sort().values, q, None
    return input.unsqueeze(-1).transpose(dim % input.ndim, -1).sort().values, q, dim % input.ndim


def _at_ranks(x: Any, ranks: Any, interpolation: str) -> Any:
    """The values at fractional ranks."""
    rounding = {"lower": torch.floor, "higher": torch.ceil, "nearest": torch.round}
    if interpolation in rounding:
        return x.gather(-1, rounding[interpolation](ranks).long())
    low = ranks.long()
    weight = ranks - low if interpolation == "linear" else torch.full_like(ranks, 0.5)
    return x.gather(-1, low).lerp(x.gather(-1, ranks.ceil().long()), weight)


def _arrange_dims(values: Any, q: Any, dim: int | None, ndim: int, keepdim: bool) -> Any:
    """Move the dimension of q to the front; keep the reduced dimensions, with size 1, or drop them."""
    if dim is None and keepdim:
        values = values.reshape([1] * ndim + [-1])
    elif dim is not None and not keepdim:
        values = values.squeeze(dim)
    return values.movedim(-1, 0) if q.ndim else values.squeeze(-1)


@composition(torch.quantile)
def quantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Any:
    x, q, dim = _sorted(input, q, dim)
    ranks = torch.where(
        x.isnan().any(-1, keepdim=True), x.shape[-1] - 1.0, q * (x.shape[-1] - 1)
    )  # with a NaN, which sorts last, every quantile is NaN
    return _arrange_dims(_at_ranks(x, ranks, interpolation), q, dim, input.ndim, keepdim)


@composition(torch.nanquantile)
def nanquantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Any:
    x, q, dim = _sorted(input, q, dim)
    ranks = q * ((~x.isnan()).sum(-1, keepdim=True) - 1).clamp(min=0)
    return _arrange_dims(_at_ranks(x, ranks, interpolation), q, dim, input.ndim, keepdim)
