"""The two worlds that a random program runs in, tapegrad's and torch's, and whether they agree."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

import tapegrad
from tests.helpers import raw, same_bits
from tests.provers.steps import (
    KNOTS,
)

# What a user may meet; anything else is a bug.
USUAL = (RuntimeError, TypeError, IndexError, ValueError)


class Disagreement(AssertionError):
    """The two libraries did different things."""


class World:
    """One library, and the tensors that a program has made with it.

    Attributes:
        library: "tapegrad", "torch", or "functional": torch, but with changes in place made on a copy.
        tensors: number -> tensor, those that the program still holds.
        handles: number -> a hook's handle.
        seen: the number of each hook that ran, with the gradient that it saw.
    """

    def __init__(self, library: str) -> None:
        self.library = library
        self.tensors: dict[int, Any] = {}
        self.handles: dict[int, Any] = {}
        self.seen: list[tuple[int, torch.Tensor]] = []

    def leaf(self, data: torch.Tensor, requires_grad: bool) -> Any:
        """A leaf with a copy of some data."""
        if self.library == "tapegrad":
            return tapegrad.tensor(data.clone(), requires_grad)
        return data.clone().requires_grad_(requires_grad)

    def grad(self, *args: Any, **kwargs: Any) -> Any:
        """The library's grad()."""
        return (tapegrad.grad if self.library == "tapegrad" else torch.autograd.grad)(*args, **kwargs)

    def change(self, number: int, how: Callable[..., Any], *args: Any) -> None:
        """Change a tensor in place, by an expression that returns the tensor itself."""
        old = self.tensors[number]
        recorded = torch.is_grad_enabled() and any(t.requires_grad for t in (old, *args))
        if self.library == "functional" and recorded:
            new = how(old.clone(), *args)
            if old.retains_grad:
                new.retain_grad()
            new.grad = old.grad
            self.tensors.update({n: new for n, t in self.tensors.items() if t is old})
        elif how(old, *args) is not old:
            raise Disagreement(f"a change in place made a new object of tensor {number}")


Step = Callable[[World], Any]


def attempt(run: Step, world: World, recording: bool) -> tuple[Any, Exception | None]:
    """What a step returns, or the error that it ends with."""
    with torch.set_grad_enabled(recording), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return run(world), None
        except Disagreement:
            raise
        except Exception as error:
            if isinstance(error, USUAL):  # its frames would keep tensors alive
                error.__traceback__ = error.__context__ = error.__cause__ = None
            return None, error


def gradient(t: torch.Tensor) -> torch.Tensor | None:
    """What is in ``grad``, of which torch warns if it is never filled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return t.grad


def tangled(x: Any, y: Any, knots: list[tuple[str, int, int]]) -> Any:
    """A computation whose every value may be used by every later one."""
    values = [x, y]
    for name, i, j in knots:
        values.append(KNOTS[name](values[i % len(values)], values[j % len(values)]))
    return values[-1]


def cotangent(y: Any, key: int) -> torch.Tensor | None:
    """A fixed random gradient for an output; for a number, sometimes none."""
    if y.ndim == 0 and key % 2:
        return None
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(key), dtype=torch.float64).to(y.dtype)


def compare(mine: Any, yours: Any, what: str, exact: bool = True) -> None:
    """Two results agree."""
    if isinstance(yours, (tuple, list)) and isinstance(mine, (tuple, list)) and len(mine) == len(yours):
        for i, (a, b) in enumerate(zip(mine, yours, strict=True)):
            compare(a, b, f"{what}[{i}]", exact)
        return
    a, b = raw(mine), raw(yours)
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if exact and same_bits(a, b):
            return
        if not exact and a.shape == b.shape:
            scale = 1e-6 if b.dtype == torch.float64 else 1e-2
            limit = b.abs().nan_to_num(0.0, 0.0, 0.0).max() if b.numel() else 0.0
            if torch.allclose(a, b, rtol=scale, atol=scale * float(limit), equal_nan=True):
                return
    elif a == b or (a != a and b != b):  # NaN
        return
    raise Disagreement(f"{what}: {a}, torch's {b}")
