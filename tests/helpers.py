"""Running one program twice, on tapegrad and on torch.autograd, and comparing what comes out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

import tapegrad

# Whether there are roads besides the walk: fast/ is optional.
FAST = os.environ.get("TAPEGRAD_FAST") != "0" and (Path(tapegrad.__file__).parent / "fast").is_dir()
roads = import_module("tapegrad.fast.roads") if FAST else None
ROOT = Path(__file__).parents[1]  # of the repository


def ours(data: torch.Tensor, requires_grad: bool = True) -> tapegrad.Tensor:
    """A tapegrad leaf with its own copy of the values, in the same layout."""
    return tapegrad.tensor(copy(data), requires_grad)


def theirs(data: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
    """A torch leaf with its own copy of the values, in the same layout."""
    return copy(data).requires_grad_(requires_grad)


def copy(data: torch.Tensor) -> torch.Tensor:
    """A copy with the same strides, so that both libraries meet the same layout."""
    if data.numel() == 0:
        return data.clone()
    extent = 1 + sum((n - 1) * stride for n, stride in zip(data.shape, data.stride(), strict=True))
    storage = torch.as_strided(data, (extent,), (1,), data.storage_offset()).clone()
    return storage.as_strided(data.shape, data.stride())


def raw(value: Any) -> Any:
    """The torch tensors inside a result."""
    if isinstance(value, tapegrad.Tensor):
        return value.data
    if isinstance(value, (tuple, list)):
        return type(value)([raw(v) for v in value])
    return value.detach() if isinstance(value, torch.Tensor) else value


def randn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers, the same each time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def same_bits(a: torch.Tensor, b: torch.Tensor, *, signed: bool = False) -> bool:
    """Whether two tensors agree in type, shape and every element, NaN being equal to NaN.

    Args:
        a, b: the tensors.
        signed: whether 0.0 and -0.0 differ.
    """
    return a.dtype == b.dtype and a.shape == b.shape and not different(a, b, signed).any()


def different(a: torch.Tensor, b: torch.Tensor, signed: bool = False) -> torch.Tensor:
    """The elements in which two tensors differ: see ``same_bits``."""
    wrong = a != b
    if signed and not a.is_complex():
        wrong |= torch.signbit(a) != torch.signbit(b)
    return wrong & ~(a.isnan() & b.isnan())


def assert_same(
    mine: Any, yours: Any, what: str, rtol: float = 0.0, atol: float = 0.0, *, signed: bool = False
) -> None:
    """Two raw results agree, exactly (zeros in their sign too, if ``signed``) or within a tolerance; says where not."""
    if yours is None and isinstance(mine, torch.Tensor) and not mine.any():
        return  # torch leaves some gradients out that are zero everywhere
    if mine is None or yours is None or not isinstance(yours, torch.Tensor):
        assert type(mine) is type(yours), f"{what}: ours is {mine}, torch's is {yours}"
        if isinstance(yours, (tuple, list)):
            assert len(mine) == len(yours), f"{what}: ours has {len(mine)} parts, torch's {len(yours)}"
            for i, (a, b) in enumerate(zip(mine, yours, strict=True)):
                assert_same(a, b, f"{what}[{i}]", rtol, atol, signed=signed)
        else:
            assert mine == yours, f"{what}: ours is {mine}, torch's is {yours}"
        return
    assert isinstance(mine, torch.Tensor), f"{what}: ours is {mine!r}, torch's a tensor"
    assert mine.dtype == yours.dtype, f"{what}: ours is {mine.dtype}, torch's {yours.dtype}"
    assert mine.shape == yours.shape, f"{what}: ours has shape {tuple(mine.shape)}, torch's {tuple(yours.shape)}"
    if rtol or atol:
        torch.testing.assert_close(mine, yours, rtol=rtol, atol=atol, equal_nan=True, msg=lambda m: f"{what}: {m}")
    elif not same_bits(mine, yours, signed=signed):
        wrong = different(mine, yours, signed)
        at = tuple(wrong.nonzero()[0].tolist())
        raise AssertionError(
            f"{what}: {int(wrong.sum())} of {wrong.numel()} elements differ; at {list(at)} ours is "
            f"{mine[at].item()!r}, torch's {yours[at].item()!r}"
        )


def assert_program_agrees(
    program: Callable[..., Any], *data: torch.Tensor, rtol: float = 0.0, atol: float = 0.0
) -> tuple[torch.Tensor, ...]:
    """Run ``program`` on leaves of both libraries, call backward on its result, and compare values and gradients.

    Args:
        program: takes a leaf for each of ``data``, returns a tensor of any shape.
        *data: values of the leaves.
        rtol, atol: tolerance of the gradients; exact by default.

    Returns:
        The gradients.
    """
    mine, yours = [ours(d) for d in data], [theirs(d) for d in data]
    a, b = program(*mine), program(*yours)
    assert_same(raw(a), raw(b), "value", rtol, atol)
    v = randn(*b.shape, dtype=b.dtype, seed=99)
    a.backward(v)
    b.backward(v)
    assert_grads_agree(mine, yours, rtol, atol)
    return tuple(x.grad for x in mine)


def assert_grads_agree(
    mine: Sequence[tapegrad.Tensor], yours: Sequence[torch.Tensor], rtol: float = 0.0, atol: float = 0.0
) -> None:
    """Gradients left on leaves agree."""
    for i, (x, y) in enumerate(zip(mine, yours, strict=True)):
        assert_same(x.grad, y.grad, f"gradient of input {i}", rtol, atol)
