"""Rules of convolutions: the gradient of a convolution is a convolution.

In one dimension, with s the stride and d the dilation, y[i] = sum_k w[k] x[s i + d k] gives
dx[j] = sum of w[k] g[i] over s i + d k = j, a transposed convolution of g, and dw[k] = sum_i g[i] x[s i + d k], a
convolution of x with g in which stride and dilation have changed places.
"""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import rule


def crop(x: Any, shape: torch.Size) -> Any:
    """Cut off the elements at the far ends that the stride never reached."""
    for d in range(2, len(shape)):
        if x.shape[d] != shape[d]:
            x = x.narrow(d, 0, shape[d])
    return x


def input_gradient(
    g: Any,
    weight: Any,
    input_shape: torch.Size,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    groups: int,
) -> Any:
    """The convolution run the other way; where the stride left a remainder, ``output_padding`` restores it."""
    reach = [
        (m - 1) * s - 2 * p + d * (k - 1) + 1
        for m, k, s, p, d in zip(g.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    ]
    remainder = [0 if transposed else n - r for n, r in zip(input_shape[2:], reach, strict=True)]
    back = torch.convolution(g, weight, None, stride, padding, dilation, not transposed, remainder, groups)
    return crop(back, input_shape)


def weight_gradient(
    g: Any,
    input: Any,
    weight_shape: torch.Size,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    groups: int,
) -> Any:
    """One small convolution for each pair of channels: channels stand in for the batch, and the batch for channels."""
    x, y = (g, input) if transposed else (input, g)
    n, channels, *image = x.shape
    x = x.reshape(n, groups, channels // groups, *image).transpose(0, 2).reshape(channels // groups, groups * n, *image)
    out = torch.convolution(x, y.transpose(0, 1), None, dilation, padding, stride, False, [0] * len(stride), groups)
    return crop(out.transpose(0, 1), weight_shape)


convolution = rule(
    torch.convolution,
    "input, weight, bias, stride, padding, dilation, transposed, output_padding, groups",
    input=input_gradient,
    weight=weight_gradient,
    bias=lambda g: g.sum([0, *range(2, g.ndim)]),
)
