"""Pooling as torch has it: maxima with or without their indices, means of one window, and p-norms."""

from __future__ import annotations

from math import inf, prod
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.op import Op
from tapegrad.engine.table import TABLE, composition
from tapegrad.rules import pooling
from tapegrad.rules.pooling import per_dimension

# --- the largest of each window ---


def enter_max_pool(op: Op, n: int) -> None:
    """Enter one of torch's functions that return maxima and, if asked, their indices."""

    @composition(getattr(F, f"{op.name}_with_indices"))
    def with_indices(input: Any, *args: Any, return_indices: bool = True, **kwargs: Any) -> Any:
        if op.name.startswith("fractional") and kwargs.get("_random_samples") is None:
            batch = input.shape[: input.ndim - n - 1].numel()  # as many random samples as torch draws
            kwargs["_random_samples"] = torch.rand(
                batch, input.shape[-n - 1], n, dtype=input.dtype, device=input.device
            )
        return op(input, *args, **kwargs)

    @composition(getattr(F, op.name))
    def pool(*args: Any, return_indices: bool = False, **kwargs: Any) -> Any:
        values, indices = with_indices(*args, **kwargs)
        return (values, indices) if return_indices else values

    if op.name == "adaptive_max_pool1d":  # torch's own function of this name returns both
        TABLE[torch.adaptive_max_pool1d] = with_indices


for _op, _n in pooling.max_pools:
    enter_max_pool(_op, _n)

# --- the mean of each window ---


def enter_adaptive(op: Op, n: int) -> None:
    """Enter F.adaptive_avg_pool1d, 2d or 3d."""

    @composition(op.function)
    def pool(input: Any, output_size: Any) -> Any:
        if per_dimension(output_size, n) == [1] * n:
            return input.mean(list(range(-n, 0)), keepdim=True)
        return op(input, output_size)


for _op, _n in pooling.adaptive_averages:
    enter_adaptive(_op, _n)

# --- the p-norm of each window ---


def enter_norm(n: int) -> None:
    """Enter F.lp_pool1d, 2d or 3d."""
    average, largest = getattr(F, f"avg_pool{n}d"), getattr(F, f"max_pool{n}d")

    @composition(getattr(F, f"lp_pool{n}d"))
    def pool(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
        if norm_type == inf:
            return largest(input.abs(), kernel_size, stride, 0, 1, ceil_mode)
        if norm_type == -inf:
            return -largest(-input.abs(), kernel_size, stride, 0, 1, ceil_mode)
        out = average(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
        return (torch.sign(out) * F.relu(out.abs())).mul(prod(per_dimension(kernel_size, n))).pow(1.0 / norm_type)


for _n in pooling.DIMENSIONS:
    enter_norm(_n)
