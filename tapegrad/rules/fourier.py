"""Rules of discrete Fourier transforms.

A transform is a product with a symmetric matrix, F_jk = exp(-2 pi i j k / n), so that its gradient is a transform of
the same direction and the same ``norm``. Signals are cut or filled with zeros to the length of the transform, and
gradients the other way. Of a real signal torch has half the spectrum, for the other half is its conjugate: ``rfft`` and
``ihfft`` leave out the last rows of F. Of what ``irfft`` and ``hfft`` read, each element counts twice but the first,
and the one in the middle of an even length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.op import Formula, Op
from tapegrad.engine.table import rule


def fitted(g: Any, shape: Sequence[int]) -> Any:
    """A gradient cut, or filled with zeros, to a shape."""
    missing = [new - old for old, new in zip(g.shape, shape, strict=True)]
    return F.pad(g, [end for m in reversed(missing) for end in (0, m)]) if any(missing) else g


def dims_of(s: Any, dim: Any, shape: Sequence[int]) -> list[int]:
    """The dimensions that are transformed."""
    if dim is None:
        return list(range(-len(shape if s is None else s), 0))
    return [dim] if isinstance(dim, int) else list(dim)


Transform = Callable[..., Any]


def of_complex(transform: Transform) -> Formula:
    """The gradient of a transform of complex numbers."""

    def gradient(g: Any, input_shape: torch.Size, s: Any, dim: Any, norm: Any) -> Any:
        dims = dims_of(s, dim, input_shape)
        return fitted(transform(g, None, dims, norm), input_shape)

    return gradient


def to_half(transform: Transform) -> Formula:
    """Of one that gives half a spectrum: the other half takes no gradient."""

    def gradient(g: Any, input_shape: torch.Size, s: Any, dim: Any, norm: Any) -> Any:
        dims = dims_of(s, dim, input_shape)
        last = input_shape[dims[-1]] if s is None or s[-1] == -1 else s[-1]
        lengths = [-1] * (len(dims) - 1) + [last]
        return fitted(transform(g, lengths, dims, norm), input_shape).real

    return gradient


def from_half(transform: Transform) -> Formula:
    """Of one that reads half a spectrum."""

    def gradient(g: Any, input_shape: torch.Size, s: Any, dim: Any, norm: Any) -> Any:
        dims = dims_of(s, dim, input_shape)
        n = g.shape[dims[-1]]
        half = transform(g, None, dims, norm).narrow(dims[-1], 0, n // 2 + 1)
        times = torch.full((n // 2 + 1,), 2.0, dtype=g.dtype, device=g.device)
        times[0] = 1.0
        if n % 2 == 0:
            times[-1] = 1.0
        last = dims[-1] % len(input_shape)
        return fitted(half * times.view([-1] + [1] * (len(input_shape) - 1 - last)), input_shape)

    return gradient


def enter(name: str, gradient: Formula) -> list[Op]:
    """Enter a transform of one, two and more dimensions."""
    one = rule(
        getattr(torch.fft, name),
        "input, n=None, dim=-1, norm=None",
        input=lambda g, input_shape, n, dim, norm: gradient(g, input_shape, None if n is None else [n], dim, norm),
    )
    two = rule(getattr(torch.fft, f"{name}2"), "input, s=None, dim=(-2, -1), norm=None", input=gradient)
    return [one, two, rule(getattr(torch.fft, f"{name}n"), "input, s=None, dim=None, norm=None", input=gradient)]


enter("fft", of_complex(torch.fft.fftn))
enter("ifft", of_complex(torch.fft.ifftn))
enter("rfft", to_half(torch.fft.fftn))
enter("ihfft", to_half(torch.fft.ifftn))
from_half_spectra = enter("irfft", from_half(torch.fft.ifftn)) + enter("hfft", from_half(torch.fft.fftn))
