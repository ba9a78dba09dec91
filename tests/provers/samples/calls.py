"""How a sample call is written.

An argument is written as what it is:

* ``real(3, 4)``: a leaf of that shape; ``real(3, 4, lo=0.1, hi=2)``: its values between two bounds;
* ``values(0.0, -1.0)``: a leaf of these values, for ties, kinks and limits;
* ``const(3, 4)``: a torch tensor that takes no gradient; ``ints(5, below=3)`` and ``mask(3, 4)`` likewise;
* a list of these, for a sequence of tensors; anything else stands for itself.

A call may say what is special about it: ``.kink("tie")`` keeps finite differences away from points where they mean
nothing, ``.inexact("...", rtol=...)`` names a gradient whose bits cannot be torch's, and by how much it differs;
``.zeros("...")`` allows zeros of another sign.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch

NAN = math.nan
INF = math.inf


@dataclass(frozen=True)
class Spec:
    """How to make one tensor argument."""

    shape: tuple[int, ...]
    kind: str  # "real", "complex", "int" or "bool"
    leaf: bool = False  # whether it takes a gradient
    lo: float | None = None
    hi: float | None = None
    given: tuple[Any, ...] | None = None
    dtype: torch.dtype | None = None  # instead of the test's own

    def make(self, dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
        """The values."""
        if self.given is not None:
            plain = torch.tensor(self.given, dtype=self.dtype or dtype)
            return plain.reshape(self.shape)
        if self.kind == "bool":
            return torch.rand(self.shape, generator=generator) < 0.5
        if self.kind == "int":
            low, high = int(self.lo or 0), int(self.hi or 0)
            return torch.randint(low, high, self.shape, generator=generator, dtype=self.dtype or torch.int64)
        if self.kind == "complex":
            to = (self.dtype or dtype).to_complex()
            return torch.randn(self.shape, generator=generator, dtype=torch.complex128).to(to)
        if self.lo is None or self.hi is None:
            drawn = torch.randn(self.shape, generator=generator, dtype=torch.float64)
        else:
            drawn = self.lo + (self.hi - self.lo) * torch.rand(self.shape, generator=generator, dtype=torch.float64)
        return drawn.to(self.dtype or dtype)

    def __str__(self) -> str:
        name = {"real": "", "complex": "complex", "int": "ints", "bool": "mask"}[self.kind]
        name += "const" if self.kind in ("real", "complex") and not self.leaf else ""
        text = f"{name}{self.shape}".replace(" ", "").replace(",)", ")")
        return text + (":" + ",".join(map(str, self.given)) if self.given else "")


def real(*shape: int, lo: float | None = None, hi: float | None = None, dtype: torch.dtype | None = None) -> Spec:
    return Spec(shape, "real", True, lo, hi, dtype=dtype)


def const(*shape: int, lo: float | None = None, hi: float | None = None, dtype: torch.dtype | None = None) -> Spec:
    return Spec(shape, "real", False, lo, hi, dtype=dtype)


def values(*given: float, shape: tuple[int, ...] | None = None) -> Spec:
    return Spec((len(given),) if shape is None else shape, "real", True, given=given)


def ints(*shape: int, below: int, dtype: torch.dtype | None = None, above: int = 0) -> Spec:
    return Spec(shape, "int", False, above, below, dtype=dtype)


def mask(*shape: int) -> Spec:
    return Spec(shape, "bool")


@dataclass(frozen=True)
class Call:
    """The arguments of one call, and what is special about it."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    at_kink: str = ""
    at_torch: str = ""
    at_zero: str = ""
    reason: str = ""
    rtol: float = 0.0

    def kink(self, reason: str) -> Call:
        """Finite differences mean nothing here: a tie, a corner, an infinite slope."""
        return replace(self, at_kink=reason)

    def torch_once(self, reason: str) -> Call:
        """torch itself cannot differentiate this twice."""
        return replace(self, at_torch=reason)

    def zeros(self, reason: str) -> Call:
        """Zeros have another sign than torch's; they are equal all the same."""
        return replace(self, at_zero=reason)

    def inexact(self, reason: str, rtol: float) -> Call:
        """The gradient's bits are not torch's: why, and the relative tolerance in float32 eps."""
        return replace(self, reason=reason, rtol=rtol)

    def data(self, dtype: torch.dtype, seed: int = 0) -> tuple[list[Any], dict[str, Any], list[bool]]:
        """Arguments with a torch tensor for each spec.

        Returns:
            args and kwargs, and for each tensor in the order of ``tensors_in`` whether it is a leaf.
        """
        generator = torch.Generator().manual_seed(2147483647 + seed)
        leaves: list[bool] = []

        def make(value: Any) -> Any:
            if isinstance(value, Spec):
                leaves.append(value.leaf)
                return value.make(dtype, generator)
            if isinstance(value, (list, tuple)):
                return type(value)([make(v) for v in value])
            return value

        return [make(a) for a in self.args], {k: make(v) for k, v in self.kwargs.items()}, leaves

    @property
    def numel(self) -> int:
        """How many elements the leaves have together."""
        return sum(math.prod(s.shape) for s in specs_in([*self.args, *self.kwargs.values()]) if s.leaf)

    @property
    def has_float32(self) -> bool:
        """Whether a leaf is of float32 whatever the test asks for."""
        return any(s.dtype is torch.float32 for s in specs_in([*self.args, *self.kwargs.values()]) if s.leaf)

    @property
    def has_complex(self) -> bool:
        """Whether an argument is complex."""
        return any(s.kind == "complex" for s in specs_in([*self.args, *self.kwargs.values()]))

    @property
    def leaf_first(self) -> bool:
        """Whether the first argument is a leaf, so that a method can be called on it."""
        return bool(self.args) and isinstance(self.args[0], Spec) and self.args[0].leaf

    def __str__(self) -> str:
        parts = [_text(a) for a in self.args] + [f"{k}={_text(v)}" for k, v in self.kwargs.items()]
        return ", ".join(parts)


def specs_in(value: Any) -> Iterator[Spec]:
    if isinstance(value, Spec):
        yield value
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from specs_in(v)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_text, value)) + "]"
    return str(value)


def call(*args: Any, **kwargs: Any) -> Call:
    return Call(args, kwargs)


# --- what many functions share ---


def unary(lo: float | None = None, hi: float | None = None) -> list[Call]:
    """Shapes for a function of one tensor: small, big enough for the vector units and their remainder, empty, 0-d."""
    return [call(real(*shape, lo=lo, hi=hi)) for shape in [(3,), (2, 3), (33, 17), (), (0,), (2, 0, 3)]]


def binary(**bounds: Any) -> list[Call]:
    """Broadcasts and operand kinds for a function of two tensors."""
    shapes = [
        ((2, 3), (2, 3)), ((2, 3), (3,)), ((3,), (2, 3)), ((2, 1), (1, 3)), ((2, 3), ()), ((), (3,)), ((), ()),
        ((2, 1, 2), (3, 1)), ((1, 1), (2,)), ((1,), ()), ((33, 17), (17,)), ((33, 1), (33, 17)), ((65, 17), (65, 17)),
        ((0, 3), (3,)), ((0,), (1,)), ((2, 0), (2, 1)),
    ]  # fmt: skip
    both = [call(real(*a, **bounds), real(*b, **bounds)) for a, b in shapes]
    one = [
        call(real(2, 3, **bounds), const(3, **bounds)),
        call(const(3, 1, **bounds), real(2, **bounds)),
        call(const(33, 17, **bounds), real(17, **bounds)),
        call(real(3, **bounds), ints(2, 3, below=4, above=1)),
    ]
    return both + one


def promoted(**bounds: Any) -> list[Call]:
    """Operands of different types: each gradient has the type of its own."""
    return [
        call(real(3, dtype=torch.float32, **bounds), real(2, 3, dtype=torch.float64, **bounds)),
        call(real(3, dtype=torch.float64, **bounds), real(2, 1, dtype=torch.float32, **bounds)),
        call(real(dtype=torch.float64, **bounds), real(3, dtype=torch.float32, **bounds)),
    ]


def scalars(*numbers: Any, **bounds: Any) -> list[Call]:
    """A tensor and a Python number."""
    shapes = [(2, 3), (33, 17), ()]
    return [call(real(*shape, **bounds), number) for number in numbers for shape in shapes]


def scalars_first(*numbers: Any, **bounds: Any) -> list[Call]:
    return [Call(c.args[::-1]) for c in scalars(*numbers, **bounds)]


def reductions(*, lists: bool = True, lo: float | None = None, hi: float | None = None) -> list[Call]:
    """Dims as None, int, negative, tuple and list, kept or not."""
    x, big, cube = real(2, 3, lo=lo, hi=hi), real(33, 17, lo=lo, hi=hi), real(2, 3, 2, lo=lo, hi=hi)
    calls = [
        call(x), call(big), call(real(3, lo=lo, hi=hi)), call(x, 0), call(x, 1), call(x, -1), call(x, dim=-2),
        call(x, 0, True), call(x, 1, keepdim=True), call(x, dim=1, keepdims=True), call(x, axis=0), call(big, 0),
        call(big, 1), call(big, 0, keepdim=True), call(big, 1, keepdim=True), call(cube, 1), call(cube, -1, True),
        call(input=x, dim=0),
    ]  # fmt: skip
    if lists:
        calls += [
            call(cube, (0, 2)), call(cube, [1, -1], True), call(cube, (0, 1, 2)),
            call(cube, (-3, -2, -1), keepdim=True), call(cube, dim=(2, 0)), call(cube, dim=None),
            call(cube, dim=None, keepdim=True), call(x, dim=(1,)), call(real(9, 5, 17, lo=lo, hi=hi), (0, 2)),
            call(real(9, 5, 17, lo=lo, hi=hi), 1),
        ]  # fmt: skip
    return calls
