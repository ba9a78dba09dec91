"""Values as Python code, to the last bit."""

from __future__ import annotations

import base64
import re
import zlib
from typing import Any

import torch

FEW, LARGEST = 200, 1_000_000  # numbers that are written out; bytes of all tensors together, in a notebook

# What a notebook needs to read what ``tensor_code`` packs.
UNPACK = '''import base64
import zlib


def unpacked(text, dtype, *shape):
    """A tensor from its bytes."""
    return torch.frombuffer(bytearray(zlib.decompress(base64.b64decode(text))), dtype=dtype).reshape(shape)'''


def tensor_code(t: torch.Tensor) -> str:
    """An expression that makes an equal tensor: a list of numbers if they are few and short, or else packed bytes.

    Raises:
        ValueError: the tensor has no elements that could be written down.
    """
    if t.is_meta or t.layout is not torch.strided or t.is_nested or t.is_quantized:
        raise ValueError(f"it is no dense tensor with elements, but of {t.layout} on {t.device}")
    plain = t.detach().resolve_conj().resolve_neg().cpu()
    short = not (plain.is_floating_point() or plain.is_complex())
    if plain.numel() == 0 or plain.dtype not in _NUMBERS:
        made = _packed(plain)
    elif plain.numel() <= (FEW if short else FEW // 10):
        made = f"torch.tensor({_listed(plain)}, dtype={plain.dtype})"
    else:
        made = _packed(plain)
    return made if t.device.type == "cpu" else f'{made}.to("{t.device}")'


_NUMBERS = {torch.float32, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool}


def _listed(t: torch.Tensor) -> str:
    digits = 9 if t.dtype is torch.float32 else 17  # as many as bring back each bit
    numbers = t.to(torch.float64).tolist() if t.is_floating_point() else t.tolist()
    return re.sub(r"(inf|nan)", r'float("\1")', _written(numbers, digits))


def _written(numbers: Any, digits: int) -> str:
    if isinstance(numbers, list):
        return f"[{', '.join([_written(n, digits) for n in numbers])}]"
    if not isinstance(numbers, float):
        return str(numbers)
    text = min(repr(numbers), f"{numbers:.{digits}g}", key=len)
    return f"{text}.0" if text.lstrip("-").isdecimal() else text


def _packed(t: torch.Tensor) -> str:
    if not t.numel():
        return f"torch.empty({tuple(t.shape)}, dtype={t.dtype})"
    data = t.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    text = base64.b64encode(zlib.compress(data, 9)).decode()
    return f'unpacked("{text}", {", ".join([str(t.dtype), *map(str, t.shape)])})'
