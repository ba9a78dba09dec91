"""Rules of convolutions: the gradient of a convolution is a convolution.

In one dimension, with s the stride and d the dilation, y[i] = sum_k w[k] x[s i + d k] gives
dx[j] = sum of w[k] g[i] over s i + d k = j, a transposed convolution of g, and dw[k] = sum_i g[i] x[s i + d k], a
convolution of x with g in which stride and dilation have changed places.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.op import composition, kernel, rule

convolution = rule(
    torch.convolution,
    "input, weight, bias, stride, padding, dilation, transposed, output_padding, groups",
    input=lambda g, weight, input_shape, stride, padding, dilation, transposed, groups: input_gradient(
        g, weight, input_shape, stride, padding, dilation, transposed, groups
    ),
    weight=lambda g, input, weight_shape, stride, padding, dilation, transposed, groups: weight_gradient(
        g, input, weight_shape, stride, padding, dilation, transposed, groups
    ),
    bias=lambda g: g.sum([0, *range(2, g.ndim)]),
)


def input_gradient(
    g: Any,
    weight: Any,
    shape: torch.Size,
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
    rest = [0 if transposed else n - r for n, r in zip(shape[2:], reach, strict=True)]
    back = torch.convolution(g, weight, None, stride, padding, dilation, not transposed, rest, groups)
    return cut(back, shape)


def weight_gradient(
    g: Any,
    input: Any,
    shape: torch.Size,
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
    return cut(out.transpose(0, 1), shape)


def cut(x: Any, shape: torch.Size) -> Any:
    """Leave off what the stride passed over at the far ends."""
    for d in range(2, len(shape)):
        if x.shape[d] != shape[d]:
            x = x.narrow(d, 0, shape[d])
    return x


# torch's own convolution of gradients, on its fast roads: the one backward kernel that is taken from torch.
kernel(
    convolution,
    input=lambda g, input, weight, stride, padding, dilation, transposed, output_padding, groups: backward(
        0, g, input, weight, stride, padding, dilation, transposed, output_padding, groups
    ),
    weight=lambda g, input, weight, stride, padding, dilation, transposed, output_padding, groups: backward(
        1, g, input, weight, stride, padding, dilation, transposed, output_padding, groups
    ),
    bias=lambda g, input, weight, stride, padding, dilation, transposed, output_padding, groups: backward(
        2, g, input, weight, stride, padding, dilation, transposed, output_padding, groups
    ),
)


def backward(which: int, g: torch.Tensor, input: torch.Tensor, weight: torch.Tensor, *options: Any) -> Any:
    """The gradient of the input (0), the weight (1) or the bias (2)."""
    wanted = [i == which for i in range(3)]
    bias_sizes = [g.shape[1]]
    return torch.ops.aten.convolution_backward(g, input, weight, bias_sizes, *options, wanted)[which]


# --- torch's six ---


def _forward(n: int, name: str) -> None:
    """Enter F.conv1d, F.conv2d or F.conv3d."""

    @composition(getattr(F, name))
    def conv(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Any:
        dilation = sizes(dilation, n)
        if padding == "same":
            if sizes(stride, n) != [1] * n:
                raise RuntimeError(f"{name}(): padding='same' is not supported for strided convolutions")
            # All that the kernel reaches beyond its first element is made up for; the odd one goes to the end.
            total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
            padding = [t // 2 for t in total]
            if any(t % 2 for t in total):
                input = F.pad(input, [p for t in reversed(total) for p in (0, t % 2)])
        elif padding == "valid":
            padding = 0
        return batched(n, input, weight, bias, stride, padding, dilation, False, 0, groups)

    conv.__name__ = name


def _transposed(n: int, name: str) -> None:
    """Enter F.conv_transpose1d, F.conv_transpose2d or F.conv_transpose3d."""

    @composition(getattr(F, name))
    def conv(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Any:
        return batched(n, input, weight, bias, stride, padding, dilation, True, output_padding, groups)

    conv.__name__ = name


for _n in (1, 2, 3):
    _forward(_n, f"conv{_n}d")
    _transposed(_n, f"conv_transpose{_n}d")


def batched(
    n: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Any:
    """Call ``convolution``; a single image is a batch of one."""
    if bias is not None and bias.dtype != input.dtype:
        raise RuntimeError(f"convolution(): input ({input.dtype}) and bias ({bias.dtype}) should be of the same type")
    options = (sizes(stride, n), sizes(padding, n), sizes(dilation, n), transposed, sizes(output_padding, n), groups)
    if input.ndim == n + 1:
        return convolution(input.unsqueeze(0), weight, bias, *options).squeeze(0)
    return convolution(input, weight, bias, *options)


def sizes(value: Any, n: int) -> list[int]:
    """One number for each dimension."""
    given = [value] if isinstance(value, int) else list(value)
    return given * n if len(given) == 1 else given
