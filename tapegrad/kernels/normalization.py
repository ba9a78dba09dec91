"""Kernels of normalization: the same gradients, of the statistics that torch has computed."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import kernel
from tapegrad.rules.normalization import (
    channel_sums,
    group_gradient,
    group_norm,
    grouped,
    layer_gradient,
    layer_norm,
)

# --- over the last dimensions ---

kernel(
    layer_norm,
    input=lambda g, input, shape, weight, mean, invstd: layer_gradient(
        g, weight, (input - mean) * invstd, invstd, shape
    ),
    weight=lambda g, input, mean, invstd: g * ((input - mean) * invstd),
)

# --- over groups of channels ---


def group_normalized(input: torch.Tensor, groups: int, mean: torch.Tensor, invstd: torch.Tensor) -> tuple[Any, Any]:
    """The normalized values in groups, and 1 / std."""
    invstd = invstd.unsqueeze(-1)
    return (grouped(input, groups) - mean.unsqueeze(-1)) * invstd, invstd


kernel(
    group_norm,
    input=lambda g, input, groups, weight, mean, invstd: group_gradient(
        g, weight, *group_normalized(input, groups, mean, invstd), groups
    ),
    weight=lambda g, input, groups, mean, invstd: channel_sums(
        g * group_normalized(input, groups, mean, invstd)[0].view(g.shape)
    ),
)
