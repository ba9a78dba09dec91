"""Spellings that many of torch's functions share, sorted out once: ``reduction=``, ``inplace=``."""

from __future__ import annotations

from typing import Any

import torch


def reduction_of(reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """The reduction, given in torch's present way or by its former two flags."""
    if size_average is None and reduce is None:
        return reduction
    return str(torch.nn._reduction.legacy_get_string(size_average, reduce))


def reduced(loss: Any, reduction: str) -> Any:
    """All losses, or their mean or sum."""
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction != "none":
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return loss


def stored(result: Any, input: Any, inplace: bool) -> Any:
    """The result; with ``inplace=True``, written over the input."""
    return input.copy_(result) if inplace else result
