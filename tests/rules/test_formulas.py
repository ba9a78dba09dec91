"""Every formula against finite differences, and against torch's gradients of gradients."""

from __future__ import annotations

import torch

import tapegrad
from tests.helpers import assert_same, ours, raw, theirs
from tests.provers.runs import DEPRECATED, Run, for_each_call, is_operator, smooth

pytestmark = DEPRECATED


@for_each_call(of=lambda function: not is_operator(function), which=smooth)
def test_finite_differences(function, call):
    """First and second order."""
    run = Run(function, call, ours, torch.float64)
    assert run.outputs, "nothing is recorded"

    def of_leaves(*leaves):
        supply = iter(leaves)
        again = Run(function, call, lambda value: next(supply), torch.float64)
        return again.outputs[0] if len(again.outputs) == 1 else torch.cat([o.reshape(-1) for o in again.outputs])

    assert tapegrad.gradcheck(of_leaves, run.leaves, order=2 if call.numel <= 12 else 1)


@for_each_call(which=lambda calls: [c for c in calls if not c.at_torch])
def test_recorded_gradient_and_its_gradient_are_torchs(function, call):
    """With ``create_graph`` the formulas run, not the kernels: torch's up to rounding, and so are their gradients."""
    mine = Run(function, call, ours, torch.float64)
    yours = Run(function, call, theirs, torch.float64)
    if not mine.outputs:
        return
    v = mine.cotangents()
    v_mine, v_yours = [ours(c) for c in v], [theirs(c) for c in v]
    first = tapegrad.grad(mine.outputs, mine.leaves, v_mine, create_graph=True, allow_unused=True)
    wanted = torch.autograd.grad(yours.outputs, yours.leaves, v_yours, create_graph=True, allow_unused=True)
    close = {"rtol": 1e-4, "atol": 1e-4} if call.has_float32 else {"rtol": 1e-10, "atol": 1e-10}
    assert_same([raw(g) for g in first], [raw(g) for g in wanted], "gradient", **close)

    second = gradient_of_weighted(tapegrad.grad, first, [*mine.leaves, *v_mine])
    wanted = gradient_of_weighted(torch.autograd.grad, wanted, [*yours.leaves, *v_yours])
    for k, (a, b) in enumerate(zip(second, wanted, strict=True)):
        if a is not None and b is not None:
            assert_same(a, b, f"second gradient {k}", **close)
        else:  # where one library says None, the other may say zeros
            assert all(g is None or (g.abs() <= 1e-15).all() for g in (a, b)), f"second gradient {k}: {a} and {b}"


def gradient_of_weighted(grad, gradients, leaves):
    """The gradient of a fixed linear function of some gradients."""
    weighted = [
        (g, torch.randn(g.shape, generator=torch.Generator().manual_seed(11 + k), dtype=torch.float64).to(g.dtype))
        for k, g in enumerate(gradients)
        if g is not None and g.requires_grad
    ]
    if not weighted:
        return [None] * len(leaves)
    gradients, w = zip(*weighted, strict=True)
    return grad(gradients, leaves, w, allow_unused=True)
