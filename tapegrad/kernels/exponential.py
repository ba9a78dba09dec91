"""The exponential that torch's fused kernels compute with, whose last bit may be another than torch.exp's."""

from __future__ import annotations

import torch


def exp_minus_abs(x: torch.Tensor) -> torch.Tensor:
    """exp(-|x|): log_sigmoid hands out what it has by that exponential; on other devices it has nothing."""
    z: torch.Tensor = torch.ops.aten.log_sigmoid_forward(x)[1]
    return z if z.shape == x.shape else (-x.abs()).exp()
