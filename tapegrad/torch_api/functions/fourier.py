"""Fourier transforms of what torch makes complex first, and of windowed pieces of a signal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import TABLE
from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.raw import raw


def of_complex(op: Callable[..., Any]) -> Callable[..., Any]:
    """A transform from half a spectrum, which may be of real numbers."""

    def transform(input: Any, *args: Any, **kwargs: Any) -> Any:
        return op(input if input.is_complex() else input.to(input.dtype.to_complex()), *args, **kwargs)

    return transform


for _name in ("irfft", "irfft2", "irfftn", "hfft", "hfft2", "hfftn"):
    _function = getattr(torch.fft, _name)
    composition(_function)(of_complex(TABLE[_function]))


def padded_window(window: Any, length: int, n_fft: int, like: Any) -> Any:
    """A window in the middle of zeros; of ones, if none is given."""
    if window is None:
        window = torch.ones(length, dtype=like.dtype.to_real(), device=like.device)
    before = (n_fft - length) // 2
    return F.pad(window, (before, n_fft - length - before))


@composition(torch.stft)
def stft(
    input: Any, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window: Any = None,
    center: bool = True, pad_mode: str = "reflect", normalized: bool = False, onesided: bool | None = None,
    return_complex: bool | None = None, align_to_window: bool | None = None,
) -> Any:  # fmt: skip
    hop = n_fft // 4 if hop_length is None else hop_length
    length = n_fft if win_length is None else win_length
    x = input.unsqueeze(0) if input.ndim == 1 else input
    if center:
        x = F.pad(x.unsqueeze(1), (n_fft // 2, n_fft // 2), mode=pad_mode).squeeze(1)
    pieces = x.unfold(-1, length if align_to_window else n_fft, hop)
    if align_to_window:
        before = (n_fft - length) // 2
        pieces = F.pad(pieces, (before, n_fft - length - before))
    if window is not None or length < n_fft:
        pieces = pieces * padded_window(window, length, n_fft, x)
    real = not (x.is_complex() or (window is not None and window.is_complex()))
    half = real if onesided is None else onesided
    transform = torch.fft.rfft if half else torch.fft.fft
    out = transform(pieces, norm="ortho" if normalized else None).mT
    out = out.squeeze(0) if input.ndim == 1 else out
    return_complex = not real if return_complex is None else return_complex
    return out if return_complex else torch.view_as_real(out)


@composition(torch.istft)
def istft(
    input: Any, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window: Any = None,
    center: bool = True, normalized: bool = False, onesided: bool | None = None, length: int | None = None,
    return_complex: bool = False,
) -> Any:  # fmt: skip
    hop = n_fft // 4 if hop_length is None else hop_length
    window = padded_window(window, n_fft if win_length is None else win_length, n_fft, input)
    half = input.shape[-2] != n_fft if onesided is None else onesided
    norm = "ortho" if normalized else None
    spectra = input.mT
    if return_complex:
        pieces = torch.fft.ifft(spectra, norm=norm)
    elif half:
        pieces = torch.fft.irfft(spectra, n_fft, norm=norm)
    else:
        pieces = torch.fft.irfft(spectra[..., : n_fft // 2 + 1], n_fft, norm=norm)
    overlapping = overlap_add(pieces * window, hop)
    weight = overlap_add((window * window).expand(pieces.shape[-2:]), hop)
    start = n_fft // 2 if center else 0
    end = overlapping.shape[-1] - start if length is None else min(start + length, overlapping.shape[-1])
    weight = weight[start:end]
    if float(raw(weight).abs().min()) <= 1e-11:
        raise RuntimeError("istft(): the windows, where they overlap, sum to 0 somewhere; choose a shorter hop_length")
    out = overlapping[..., start:end] / weight
    return out if length is None else F.pad(out, (0, length - out.shape[-1]))


def overlap_add(pieces: Any, hop: int) -> Any:
    """The sum of pieces, each of which begins ``hop`` after the one before."""
    count, n = pieces.shape[-2:]
    starts = torch.arange(count, device=pieces.device) * hop
    places = (starts.unsqueeze(-1) + torch.arange(n, device=pieces.device)).reshape(-1)
    flat = pieces.reshape(*pieces.shape[:-2], count * n)
    zeros = torch.zeros(*flat.shape[:-1], (count - 1) * hop + n, dtype=flat.dtype, device=flat.device)
    return torch.index_add(zeros, -1, places, flat)
