"""The kernel of the Huber loss: torch's order of operations."""

from __future__ import annotations

import torch

from tapegrad.engine.table import kernel
from tapegrad.rules.losses import huber_loss, mean_factor


def huber_gradient(g: torch.Tensor, d: torch.Tensor, reduction: str, delta: float) -> torch.Tensor:
    """The gradient of a difference: itself, cut off at delta."""
    n = mean_factor(d, reduction)
    return torch.where(d.abs() >= delta, n * d.sign() * g * delta, n * d * g)


kernel(
    huber_loss,
    input=lambda g, input, target, reduction, delta: huber_gradient(g, input - target, reduction, delta),
    target=lambda g, input, target, reduction, delta: huber_gradient(g, target - input, reduction, delta),
)
