"""Every function with operands of other types than usual: dtypes mixed, 0-d tensors, NumPy's numbers.

Value, dtype and gradients are torch's. ``python -m tests.provers.operand_types`` runs all samples.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch

import tapegrad
from tests.helpers import raw
from tests.provers.runs import REFUSALS, Function, Run, name_of
from tests.provers.samples import SAMPLES, Call
from tests.provers.samples.calls import specs_in

Change = Callable[[int, torch.Tensor], torch.Tensor]  # of a call's n-th tensor

# --- dtypes ---

MIXED = [(torch.float64, torch.float32), (torch.float32, torch.float64), (torch.float32, torch.float16)]


def mixtures(call: Call) -> Iterator[tuple[str, Change]]:
    """One floating-point tensor of another dtype than the rest, in its own shape and 0-d."""
    specs = [*specs_in([*call.args, *call.kwargs.values()])]
    real = [k for k, spec in enumerate(specs) if spec.kind == "real"]
    if len(real) > 1:
        for odd in real:
            for its, others in MIXED:
                for scalar in (False, True):
                    if not scalar or math.prod(specs[odd].shape):
                        yield f"tensor {odd} {its}{' 0-d' * scalar}, others {others}", mixture(odd, its, others, scalar)


def mixture(odd: int, its: torch.dtype, others: torch.dtype, scalar: bool) -> Change:
    def change(k: int, t: torch.Tensor) -> torch.Tensor:
        if not t.is_floating_point():
            return t
        if k != odd:
            return t.to(others)
        return (t.flatten()[0] if scalar else t).to(its)

    return change


# --- NumPy's numbers ---

NUMBERS = (np.uint8, np.int8, np.int64, np.float16, np.float32, np.float64, np.longdouble, np.bool_)


def with_numpy(call: Call) -> Iterator[Call]:
    """The call with one of its numbers made NumPy's."""
    for kind in NUMBERS:
        for k, arg in enumerate(call.args):
            for other in variants(arg, kind):
                yield Call((*call.args[:k], other, *call.args[k + 1 :]), call.kwargs)
        for name, arg in call.kwargs.items():
            for other in variants(arg, kind):
                yield Call(call.args, {**call.kwargs, name: other})


def variants(value: Any, kind: type) -> Iterator[Any]:
    """A value, one number in which is of ``kind``, which has it exactly."""
    if type(value) in (bool, int, float):
        if isinstance(value, bool):
            fits = kind is np.bool_
        elif isinstance(value, int):
            fits = issubclass(kind, np.integer) and np.iinfo(kind).min <= value <= np.iinfo(kind).max
        else:
            fits = issubclass(kind, np.floating)
        if fits:
            yield kind(value)
    elif isinstance(value, (list, tuple)):
        for k, part in enumerate(value):
            for other in variants(part, kind):
                yield type(value)([*value[:k], other, *value[k + 1 :]])


# --- one call on both libraries ---


def plain(k: int, t: torch.Tensor) -> torch.Tensor:
    return t


class Changed(Run):
    """A run whose tensors are changed on their way in."""

    def __init__(self, function: Function, call: Call, leaf: Callable[[torch.Tensor], Any], change: Change) -> None:
        count = iter(range(1000))
        super().__init__(
            function,
            call,
            lambda t: leaf(change(next(count), t)),
            torch.float64,
            constant=lambda t: change(next(count), t),
        )


def differences(function: Function, call: Call, change: Change = plain, what: str = "") -> Iterator[str]:
    """How values, dtypes and gradients differ from torch's. A refusal is no difference: it says what is wrong."""
    what = f"{name_of(function)}({call})" + (f" with {what}" if what else "")
    try:
        yours = Changed(function, call, torch.Tensor.requires_grad_, change)
    except REFUSALS:
        return
    try:
        mine = Changed(function, call, lambda t: tapegrad.tensor(t, True), change)
    except (*REFUSALS, OverflowError) as error:
        if change is plain:
            yield f"{what}: refused: {str(error)[:90]}"
        return
    wrong = [*unequal("value", mine.outputs, yours.outputs)]
    if not wrong and mine.outputs:
        v = mine.cotangents()
        try:
            wanted = torch.autograd.grad(yours.outputs, yours.leaves, v, allow_unused=True)
        except REFUSALS:
            return
        try:
            got = tapegrad.grad(mine.outputs, mine.leaves, v, allow_unused=True)
        except REFUSALS as error:
            yield f"{what}: backward: {str(error)[:90]}"
            return
        wrong = [*unequal("gradient", got, wanted)]
    if name_of(function).startswith("F.lp_pool") and "inf" in what:
        return  # torch knows Python's infinity alone: of NumPy's it takes a root
    yield from (f"{what}: {text}" for text in wrong)


def unequal(name: str, some: Iterable[Any], others: Iterable[Any]) -> Iterator[str]:
    for k, (a, b) in enumerate(zip(map(raw, some), map(raw, others), strict=True)):
        if a is None or b is None:
            continue
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            yield f"{name} {k} is of {a.dtype}, {tuple(a.shape)}; torch's of {b.dtype}, {tuple(b.shape)}"
        elif not torch.allclose(a.double(), b.double(), rtol=2e-2, atol=2e-2, equal_nan=True):
            yield f"{name} {k}: {a.flatten()[:3].tolist()}; torch's {b.flatten()[:3].tolist()}"


def small(calls: list[Call]) -> list[Call]:
    return [call for call in calls if 0 < call.numel <= 40]


def runs() -> Iterator[tuple[Function, Call, Change, str]]:
    """All of them: function, call, change of the tensors, and in words."""
    for function, calls in SAMPLES.items():
        for call in small(calls):
            yield from ((function, call, change, what) for what, change in mixtures(call))
            yield from ((function, other, plain, "") for other in with_numpy(call))


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    count = found = 0
    for run in runs():
        count += 1
        for text in differences(*run):
            found += 1
            print(text)
    print(f"{count} runs, {found} differences")


if __name__ == "__main__":
    main()
