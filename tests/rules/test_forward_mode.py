"""Every rule forward: J v agrees with the walk, and with a finite difference along v."""

from __future__ import annotations

import torch

import tapegrad
from tests.helpers import ours, raw
from tests.provers.runs import DEPRECATED, Run, for_each_call, is_operator, smooth

pytestmark = DEPRECATED
STEP = 1e-6


def inner(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    """Re <a, b>, over all tensors of two lists."""
    return sum(float((x.conj() * y).real.sum()) for x, y in zip(a, b, strict=True))


def randoms(like: list[torch.Tensor], seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    wide = [torch.complex128 if t.dtype.is_complex else torch.float64 for t in like]
    return [torch.randn(t.shape, generator=generator, dtype=d).to(t.dtype) for t, d in zip(like, wide, strict=True)]


def close(a: float, b: float, tolerance: float, scale: float) -> bool:
    return abs(a - b) <= tolerance * max(1.0, scale)


@for_each_call(of=lambda function: not is_operator(function), which=smooth)
def test_forward_agrees_with_reverse(function, call):
    """Re <g, J v> = Re <J^T g, v>, whatever g and v."""

    def of_leaves(*leaves):
        supply = iter(leaves)
        return tuple(Run(function, call, lambda value: next(supply), torch.float64).outputs)

    run = Run(function, call, ours, torch.float64)
    points = [raw(x).detach() for x in run.leaves]
    v, g = randoms(points, 3), randoms([raw(o) for o in run.outputs], 5)
    forward = tapegrad.jvp(of_leaves, tuple(points), tuple(v))[1]
    reverse = tapegrad.grad(run.outputs, run.leaves, g, allow_unused=True)
    reverse = [torch.zeros_like(x) if w is None else w for x, w in zip(points, reverse, strict=True)]
    scale = abs(inner(list(forward), list(forward))) ** 0.5 * abs(inner(g, g)) ** 0.5
    assert close(inner(g, list(forward)), inner(reverse, v), 1e-9, scale)
    if call.at_torch is None:

        def at(t: float) -> list[torch.Tensor]:
            moved = [tapegrad.tensor(x + t * w, requires_grad=True) for x, w in zip(points, v, strict=True)]
            return [raw(o) for o in of_leaves(*moved)]

        there, back = inner(g, at(STEP)), inner(g, at(-STEP))
        assert close((there - back) / (2 * STEP), inner(g, list(forward)), 1e-5, scale + abs(there))
