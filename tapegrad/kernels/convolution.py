"""The kernel of convolution: the one backward kernel that is taken from torch, for its speed."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.op import Formula
from tapegrad.engine.table import kernel
from tapegrad.rules.convolution import convolution


def gradient_of(which: int) -> Formula:
    """The formula for the input (0), the weight (1) or the bias (2)."""
    wanted = [i == which for i in range(3)]

    def gradient(
        g: torch.Tensor,
        input: torch.Tensor,
        weight: torch.Tensor,
        stride: list[int],
        padding: list[int],
        dilation: list[int],
        transposed: bool,
        output_padding: list[int],
        groups: int,
    ) -> Any:
        options = (stride, padding, dilation, transposed, output_padding, groups)
        return torch.ops.aten.convolution_backward(g, input, weight, [g.shape[1]], *options, wanted)[which]

    return gradient


# torch's own gradient of a convolution: a formula would take a convolution for each argument, and much longer.
kernel(convolution, input=gradient_of(0), weight=gradient_of(1), bias=gradient_of(2))
