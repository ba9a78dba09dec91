"""The kernel of cross-entropy: torch's two steps, each with its rounding."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import kernel
from tapegrad.kernels.exponential import exp_minus_abs
from tapegrad.kernels.scalar import as_tensor, in_a_mode
from tapegrad.rules.crossentropy import cross_entropy, onehot, per_target


def all_targets_alike(g: torch.Tensor, logprobs: torch.Tensor, target: torch.Tensor, reduction: str) -> torch.Tensor:
    """``two_steps`` where all targets count, and count the same."""
    w = (g / as_tensor(target.numel(), g) if reduction == "mean" else g).expand(target.shape).unsqueeze(1)
    p = exp_minus_abs(logprobs)
    return torch.zeros_like(logprobs).scatter_(1, target.unsqueeze(1), -w).addcmul_(p, w)


def two_steps(
    g: torch.Tensor, logprobs: torch.Tensor, target: torch.Tensor, weight: Any, ignore_index: int, reduction: str
) -> torch.Tensor:
    """torch's two steps, each with its rounding: nll_loss gives -w onehot(y); log_softmax adds w p to it."""
    quick = weight is None and target.ndim and target.is_cpu  # on other devices, any() would wait for the device
    if quick and not in_a_mode() and not (target == ignore_index).any():
        return all_targets_alike(g, logprobs, target, reduction)
    w = per_target(g, target, weight, ignore_index, reduction)
    p = exp_minus_abs(logprobs)
    dlogprobs = onehot(target, ignore_index, logprobs.shape, logprobs.dtype).mul_(-w)
    return dlogprobs.addcmul_(p, w)


kernel(cross_entropy, input=two_steps)
