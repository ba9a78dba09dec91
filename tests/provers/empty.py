"""Every function with tensors that have no elements: what torch returns and differentiates has the same result here.

``python -m tests.provers.empty`` runs all samples, each of whose sizes is made 0 in turn, in all tensors of a call; and
functions of one tensor in the shapes (0,), (0, 3), (3, 0), (2, 0, 3), (0, 0) and (2, 0, 0).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

import tapegrad
from tests.helpers import raw
from tests.provers.operand_types import unequal
from tests.provers.runs import REFUSALS, Function, Run, name_of
from tests.provers.samples import SAMPLES, Call
from tests.provers.samples.calls import Spec, specs_in

SHAPES = [(0,), (0, 3), (3, 0), (2, 0, 3), (0, 0), (2, 0, 0)]


def emptied(value: Any, size: int) -> Any:
    """Arguments in which a size of tensors is 0."""
    if isinstance(value, Spec):
        return replace(value, shape=tuple([0 if n == size else n for n in value.shape]), given=None)
    if isinstance(value, (list, tuple)):
        return type(value)([emptied(v, size) for v in value])
    return value


def reshaped(value: Any, shape: tuple[int, ...]) -> Any:
    """Arguments in which each tensor has a shape."""
    if isinstance(value, Spec):
        return replace(value, shape=shape, given=None)
    if isinstance(value, (list, tuple)):
        return type(value)([reshaped(v, shape) for v in value])
    return value


def variants(call: Call) -> Iterator[Call]:
    """A call with tensors of no elements."""
    specs = [*specs_in([*call.args, *call.kwargs.values()])]
    for size in sorted({n for spec in specs for n in spec.shape}):
        yield replace(call, args=emptied(call.args, size), kwargs={k: emptied(v, size) for k, v in call.kwargs.items()})
    if specs:
        for shape in SHAPES:
            yield replace(
                call, args=reshaped(call.args, shape), kwargs={k: reshaped(v, shape) for k, v in call.kwargs.items()}
            )


def differences(function: Function, call: Call) -> Iterator[str]:
    """What differs from torch's values and gradients, and what torch takes and we refuse."""
    what = f"{name_of(function)}({call})"
    try:
        yours = Run(function, call, torch.Tensor.requires_grad_, torch.float64)
        v = yours.cotangents()
        wanted = torch.autograd.grad(yours.outputs, yours.leaves, v, allow_unused=True) if yours.outputs else ()
    except (*REFUSALS, ArithmeticError, AssertionError):
        return
    try:
        mine = Run(function, call, lambda t: tapegrad.tensor(t, True), torch.float64)
        got = tapegrad.grad(mine.outputs, mine.leaves, v, allow_unused=True) if mine.outputs else ()
    except Exception as error:
        yield f"{what}: {type(error).__name__}: {str(error)[:100]}"
        return
    some, others = raw(mine.result), raw(yours.result)
    some, others = (x if isinstance(x, (list, tuple)) else (x,) for x in (some, others))
    tensors = [(a, b) for a, b in zip(some, others, strict=True) if isinstance(b, torch.Tensor)]
    if tensors:
        yield from (f"{what}: {text}" for text in unequal("value", *zip(*tensors, strict=True)))
    if len(mine.outputs) != len(yours.outputs):
        yield f"{what}: {len(mine.outputs)} outputs carry a gradient; of torch's, {len(yours.outputs)}"
    else:
        yield from (f"{what}: {text}" for text in unequal("gradient", got, wanted))


def runs() -> Iterator[tuple[Function, Call]]:
    """All of them, each once."""
    for function, calls in SAMPLES.items():
        seen = set()
        for call in calls:
            for other in variants(call):
                if str(other) not in seen:
                    seen.add(str(other))
                    yield function, other


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    count = found = 0
    for function, call in runs():
        count += 1
        for text in differences(function, call):
            found += 1
            print(text, flush=True)
    print(f"{count} runs, {found} differences")


if __name__ == "__main__":
    main()
