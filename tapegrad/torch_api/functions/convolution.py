"""torch's six convolutions, each ``torch.convolution`` with other options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.rules import convolution
from tapegrad.rules.pooling import per_dimension
from tapegrad.torch_api.composition import composition


def convolve(
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
    """``torch.convolution`` of a batch; a single image is a batch of one."""
    if bias is not None and bias.dtype != input.dtype:
        raise RuntimeError(f"convolution(): input ({input.dtype}) and bias ({bias.dtype}) should be of the same type")
    options = (
        per_dimension(stride, n),
        per_dimension(padding, n),
        per_dimension(dilation, n),
        transposed,
        per_dimension(output_padding, n),
        groups,
    )
    if input.is_complex():
        out = convolve_complex(input, weight, lambda x, w: convolve(n, x, w, None, *options))
        return out if bias is None else out + bias.view([-1] + [1] * n)
    if input.ndim == n + 1:
        return convolution.convolution(input.unsqueeze(0), weight, bias, *options).squeeze(0)
    return convolution.convolution(input, weight, bias, *options)


def convolve_complex(input: Any, weight: Any, convolve: Callable[[Any, Any], Any]) -> Any:
    """A convolution of complex numbers by three of real ones: (a + bi)(c + di) by ac, bd and (a + b)(c + d)."""
    a, b, c, d = input.real, input.imag, weight.real, weight.imag
    ac, bd, all_four = convolve(a, c), convolve(b, d), convolve(a + b, c + d)
    return torch.complex(ac - bd, all_four - ac - bd)


def enter_convolution(n: int, name: str) -> None:
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
        dilation = per_dimension(dilation, n)
        if padding == "same":
            if per_dimension(stride, n) != [1] * n:
                raise RuntimeError(f"{name}(): padding='same' is not supported for strided convolutions")
            # Pad by all that the kernel reaches beyond its first element; an odd one goes to the end.
            total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
            padding = [t // 2 for t in total]
            if any(t % 2 for t in total):
                input = F.pad(input, [p for t in reversed(total) for p in (0, t % 2)])
        elif padding == "valid":
            padding = 0
        return convolve(n, input, weight, bias, stride, padding, dilation, False, 0, groups)

    conv.__name__ = name


def enter_transposed(n: int, name: str) -> None:
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
        return convolve(n, input, weight, bias, stride, padding, dilation, True, output_padding, groups)

    conv.__name__ = name


for _n in (1, 2, 3):
    enter_convolution(_n, f"conv{_n}d")
    enter_transposed(_n, f"conv_transpose{_n}d")
