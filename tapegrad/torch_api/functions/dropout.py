"""Dropout, in terms of products with noise from torch's generator: the same random numbers, in the same order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import TABLE
from tapegrad.torch_api.composition import asking, composition

SATURATION = 1.7580993408473766  # minus the value that selu approaches at minus infinity


def keep_mask(input: Any, p: float, channels: bool = False) -> torch.Tensor:
    """1 where an element, or a whole channel of an image, is kept; 0 with probability ``p``."""
    if channels and input.ndim < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    noise = input.new_empty([*input.shape[:2], *[1] * (input.ndim - 2)]) if channels else torch.empty_like(input)
    return noise.bernoulli_(1 - p)


def multiply(input: Any, noise: torch.Tensor, inplace: bool) -> Any:
    """The product; with ``inplace=True``, written over the input."""
    return input.mul_(noise) if inplace else input * noise


def check_probability(p: float) -> None:
    """Refuse a ``p`` that is not a probability."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def drop(input: Any, p: float, training: bool, inplace: bool, channels: bool = False) -> Any:
    """Zero with probability ``p``, and scale the rest by 1 / (1 - p)."""
    check_probability(p)
    if not training or p == 0.0 or input.numel() == 0:
        return input
    if p == 1.0:
        return multiply(input, torch.zeros((), dtype=input.dtype, device=input.device), inplace)
    if input.is_cuda and not (channels or inplace):  # torch has one kernel for it, which draws in an order of its own
        return input * torch.native_dropout(torch.ones_like(input), p, True)[0]
    return multiply(input, keep_mask(input, p, channels).div_(1 - p), inplace)


def drop_channels(n: int, input: Any, p: float, training: bool, inplace: bool) -> Any:
    """Drop channels; what is no batch of images is a batch of one."""
    if input.ndim == n + 2 or not training or p == 0.0:
        return drop(input, p, training, inplace, channels=True)
    out = drop(input.unsqueeze(0), p, training, False, channels=True).squeeze(0)
    return input.copy_(out) if inplace else out


def drop_to_saturation(input: Any, p: float, training: bool, inplace: bool, channels: bool = False) -> Any:
    """Send to selu's lowest value with probability ``p``; then scale and shift, so that mean and variance stay."""
    check_probability(p)
    if not training or p == 0.0 or input.numel() == 0:
        return input
    if p == 1.0:
        return multiply(input, torch.zeros((), dtype=input.dtype, device=input.device), inplace)
    scale = 1 / math.sqrt((SATURATION**2 * p + 1) * (1 - p))
    noise = keep_mask(input, p, channels)
    shift = noise.add(-1).mul_(SATURATION * scale).add_(SATURATION * scale * p)
    out = multiply(input, noise.mul_(scale), inplace)
    return out.add_(shift) if inplace else out + shift


# --- torch's names for them ---


@composition(F.dropout)
def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    return drop(input, p, training, inplace)


@composition(F.dropout1d)
def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    if input.ndim not in (2, 3):
        raise RuntimeError(f"dropout1d(): expected an input of 2 or 3 dimensions, got shape {tuple(input.shape)}")
    return drop_channels(1, input, p, training, inplace)


@composition(F.dropout2d)
def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    return drop(input, p, training, inplace, channels=True)


@composition(F.dropout3d)
def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    return drop_channels(3, input, p, training, inplace)


@composition(F.alpha_dropout)
def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    return drop_to_saturation(input, p, training, inplace)


@composition(F.feature_alpha_dropout)
def feature_alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    return drop_to_saturation(input, p, training, inplace, channels=True)


# torch's own functions of these names have no ``inplace``, and call ``training`` ``train``.
def _under_torchs_name(function: Callable[..., Any], run: Callable[..., Any], channels: bool) -> None:
    def own(input: Any, p: float, train: bool) -> Any:
        return run(input, p, train, False, channels)

    TABLE[function] = asking(function, own)


_under_torchs_name(torch.dropout, drop, False)
_under_torchs_name(torch.feature_dropout, drop, True)
_under_torchs_name(torch.alpha_dropout, drop_to_saturation, False)
_under_torchs_name(torch.feature_alpha_dropout, drop_to_saturation, True)
