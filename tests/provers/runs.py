"""One sample call, made on both libraries and compared."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tests.helpers import assert_same, ours, raw, theirs
from tests.provers.samples import SAMPLES, Call

Function = Callable[..., Any]
DEPRECATED = [  # torch keeps them, and so do we
    pytest.mark.filterwarnings("ignore:.*deprecated"),
    pytest.mark.filterwarnings("ignore:Using padding='same'"),
    pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental"),
]
FLOATS = (torch.float32, torch.float64)
REFUSALS = (TypeError, RuntimeError, AttributeError, ValueError, IndexError)


NAMESPACES = {
    torch: "torch",
    F: "F",
    torch.Tensor: "torch.Tensor",
    torch._C.TensorBase: "torch.Tensor",
    torch.special: "torch.special",
    torch._C._special: "torch.special",
    torch.linalg: "torch.linalg",
    torch._C._linalg: "torch.linalg",
    torch._C._nn: "torch._C._nn",
    torch.functional: "torch.functional",
}


def name_of(function: Function) -> str:
    """The name that a user would write."""
    for place, prefix in NAMESPACES.items():
        if getattr(place, function.__name__, None) is function:
            return f"{prefix}.{function.__name__}"
    return f"operator.{function.__name__}" if function in vars(operator).values() else function.__name__


def is_operator(function: Function) -> bool:
    """Whether it is one of Python's operators that torch has a function for as well."""
    return function in vars(operator).values() and function is not operator.getitem


def is_torchs(function: Function) -> bool:
    """Whether torch has it, and not tapegrad or a test."""
    return "." in name_of(function)


def for_each_call(
    check: Callable[[Function, Call], None] | None = None,
    *,
    of: Callable[[Function], bool] = lambda function: True,
    which: Callable[[list[Call]], list[Call]] = lambda calls: calls,
) -> Any:
    """Make a check of one call a test of each function, which makes all calls and reports all that fail."""
    if check is None:
        return lambda check: for_each_call(check, of=of, which=which)
    cases = {f: which(calls) for f, calls in SAMPLES.items() if of(f)}

    @pytest.mark.parametrize("function", [f for f, calls in cases.items() if calls], ids=name_of)
    def test(function: Function) -> None:
        failures = []
        for call in cases[function]:
            try:
                check(function, call)
            except Exception as error:
                failures.append((f"{name_of(function)}({call}): {type(error).__name__}: {error}", error))
        if failures:
            first = failures[0][1]
            raise AssertionError("\n".join(text for text, _ in failures)) from first

    test.__doc__ = check.__doc__
    return test


class Run:
    """One call, made on one library.

    Attributes:
        leaves: the tensors that take a gradient.
        result: what the function returned.
        outputs: the parts of it that carry a gradient.
    """

    def __init__(
        self,
        function: Function,
        call: Call,
        leaf: Callable[[torch.Tensor], Any],
        dtype: torch.dtype,
        *,
        only: int | None = None,
        layout: Callable[[torch.Tensor], torch.Tensor] = lambda x: x,
        constant: Callable[[torch.Tensor], Any] = lambda x: x,
    ) -> None:
        args, kwargs, is_leaf = call.data(dtype)
        flags = iter(is_leaf)
        self.leaves: list[Any] = []
        count = -1

        def enter(value: Any) -> Any:
            nonlocal count
            if isinstance(value, torch.Tensor):
                if not next(flags):
                    return constant(value)
                count += 1
                if only is not None and count != only:
                    return constant(layout(value))
                self.leaves.append(leaf(layout(value)))
                return self.leaves[-1]
            if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
                return type(value)([enter(v) for v in value])
            return value

        args, kwargs = [enter(a) for a in args], {k: enter(v) for k, v in kwargs.items()}
        torch.default_generator.manual_seed(1)  # for dropout; torch.manual_seed is slow
        self.result = as_called(function)(*args, **kwargs)
        parts = self.result if isinstance(self.result, (tuple, list)) else (self.result,)
        self.outputs = [p for p in parts if isinstance(p, (torch.Tensor, tapegrad.Tensor)) and p.requires_grad]

    def cotangents(self) -> list[torch.Tensor]:
        """Random numbers in the shapes of the outputs."""
        generator = torch.Generator().manual_seed(7)
        wide = [torch.complex128 if o.dtype.is_complex else torch.float64 for o in self.outputs]
        return [
            torch.randn(o.shape, generator=generator, dtype=d).to(o.dtype)
            for o, d in zip(self.outputs, wide, strict=True)
        ]


def as_called(function: Function) -> Function:
    """A method is called on its object, which may be a Tensor of ours."""
    if not isinstance(function, type(torch.Tensor.view)):
        return function
    return lambda x, *args, **kwargs: getattr(x, function.__name__)(*args, **kwargs)


def assert_agrees(function: Function, call: Call, dtype: torch.dtype, **options: Any) -> None:
    """The same call gives the same values and gradients on both libraries, or both refuse it."""
    constant = options.pop("constant", lambda x: x)  # ours alone
    try:
        yours = Run(function, call, theirs, dtype, **options)
    except REFUSALS:
        with pytest.raises(REFUSALS):
            Run(function, call, ours, dtype, constant=constant, **options)
        return
    mine = Run(function, call, ours, dtype, constant=constant, **options)
    roundings = torch.finfo(dtype).eps * call.rtol
    close = {"rtol": roundings, "atol": roundings, "signed": not call.at_zero}
    assert_same(raw(mine.result), raw(yours.result), "value", **close)
    assert len(mine.outputs) == len(yours.outputs), "outputs that require grad"
    assert_same(*backward(mine, yours), "gradient", **close)


def backward(mine: Run, yours: Run) -> tuple[list[Any], list[Any]]:
    """Gradients of the leaves, by ``backward`` where there is one output."""
    v = mine.cotangents()
    if len(mine.outputs) == 1:
        mine.outputs[0].backward(v[0].clone())
        yours.outputs[0].backward(v[0].clone())
        return [x.grad for x in mine.leaves], [x.grad for x in yours.leaves]
    if not mine.outputs:
        return [], []
    return (
        list(tapegrad.grad(mine.outputs, mine.leaves, v, allow_unused=True)),
        list(torch.autograd.grad(yours.outputs, yours.leaves, v, allow_unused=True)),
    )


# --- (2, 3) finite differences, and gradients of gradients ---


def smooth(calls: list[Call]) -> list[Call]:
    """The calls that finite differences can judge, and quickly: the small ones, or else the smallest."""
    judged = [c for c in calls if not c.at_kink and not c.has_float32 and 0 < c.numel <= 100]
    return [c for c in judged if c.numel <= 12] or sorted(judged, key=lambda c: c.numel)[:1]
