"""Sums, variances, extremes and softmax, with each of torch's spellings of the dimension, dtype and divisor."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.rules.reduction import (
    amax,
    amin,
    log_softmax,
    max_all,
    max_dim,
    mean,
    mean_beside_var,
    median_all,
    median_dim,
    min_all,
    min_dim,
    mode_dim,
    nanmedian_all,
    nanmedian_dim,
    nansum,
    prod_all,
    prod_dim,
    softmax,
    std,
    sum,
    var,
)
from tapegrad.torch_api.composition import composition

# --- sums and moments ---


@composition(torch.sum)
def _sum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    return sum(input if dtype is None else input.to(dtype), dim, keepdim)


@composition(torch.mean)
def _mean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    return mean(input if dtype is None else input.to(dtype), dim, keepdim)


@composition(torch.nansum)
def _nansum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    return nansum(input if dtype is None else input.to(dtype), dim, keepdim)


@composition(torch.nanmean)
def nanmean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    return torch.nansum(input, dim, keepdim, dtype=dtype) / (~input.isnan()).sum(dim, keepdim)


@composition(torch.prod)
def _prod(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    input = input if dtype is None else input.to(dtype)
    return prod_all(input) if dim is None else prod_dim(input, dim, keepdim)


# --- variance ---


def _bessel(dim: Any, unbiased: Any, correction: Any) -> tuple[Any, float]:
    """torch's spellings of the divisor: var(x, False), var(x, dim, unbiased), var(x, dim, correction=c)."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    return dim, correction.item() if hasattr(correction, "__torch_function__") else correction


@composition(torch.var)
def _torch_var(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Any:
    return var(input, *_bessel(dim, unbiased, correction), keepdim)


@composition(torch.std)
def _torch_std(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Any:
    return std(input, *_bessel(dim, unbiased, correction), keepdim)


@composition(torch.var_mean)
def var_mean(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Any:
    dim, correction = _bessel(dim, unbiased, correction)
    return var(input, dim, correction, keepdim), mean_beside_var(input, dim, correction, keepdim)


@composition(torch.std_mean)
def std_mean(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Any:
    dim, correction = _bessel(dim, unbiased, correction)
    return std(input, dim, correction, keepdim), mean_beside_var(input, dim, correction, keepdim)


# --- extremes ---


@composition(torch.aminmax)
def aminmax(input: Any, *, dim: Any = None, keepdim: bool = False) -> Any:
    dim = () if dim is None else dim
    return torch.return_types.aminmax((amin(input, dim, keepdim), amax(input, dim, keepdim)))


def _extreme(pair: Any, whole: Any, along: Any, pairwise: Any, input: Any, dim: Any, keepdim: bool, other: Any) -> Any:
    """torch's three functions of one name: of all elements, along a dim, or of two tensors."""
    if dim is None and other is None:
        return whole(input)
    if isinstance(dim, int):
        return pair(along(input, dim, keepdim))
    return pairwise(input, dim if other is None else other)


@composition(torch.max)
def _max(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    return _extreme(torch.return_types.max, max_all, max_dim, torch.maximum, input, dim, keepdim, other)


@composition(torch.min)
def _min(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    return _extreme(torch.return_types.min, min_all, min_dim, torch.minimum, input, dim, keepdim, other)


@composition(torch.median)
def median(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return median_all(input) if dim is None else torch.return_types.median(median_dim(input, dim, keepdim))


@composition(torch.nanmedian)
def nanmedian(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return nanmedian_all(input) if dim is None else torch.return_types.nanmedian(nanmedian_dim(input, dim, keepdim))


@composition(torch.mode)
def mode(input: Any, dim: int = -1, keepdim: bool = False) -> Any:
    return torch.return_types.mode(mode_dim(input, dim, keepdim))


# --- softmax ---


def _soft(op: Any, input: Any, dim: int | None, third: Any, dtype: torch.dtype | None) -> Any:
    """torch's spellings: F.softmax(x, dim, _stacklevel, dtype) and torch.softmax(x, dim, dtype)."""
    dtype = third if isinstance(third, torch.dtype) else dtype
    if dim is None:  # as torch guesses it
        dim = 0 if input.ndim in (0, 1, 3) else 1
    return op(input if dtype is None else input.to(dtype), dim)


@composition(F.softmax, torch.softmax, torch.special.softmax)
def _softmax(input: Any, dim: int | None = None, _stacklevel: Any = 3, dtype: torch.dtype | None = None) -> Any:
    return _soft(softmax, input, dim, _stacklevel, dtype)


@composition(F.log_softmax, torch.log_softmax, torch.special.log_softmax)
def _log_softmax(input: Any, dim: int | None = None, _stacklevel: Any = 3, dtype: torch.dtype | None = None) -> Any:
    return _soft(log_softmax, input, dim, _stacklevel, dtype)


@composition(F.softmin)
def softmin(input: Any, dim: int | None = None, _stacklevel: Any = 3, dtype: torch.dtype | None = None) -> Any:
    return _soft(softmax, -input, dim, _stacklevel, dtype)
