"""Grad modes are torch's own, and mean here what they mean there."""

from __future__ import annotations

import pytest
import torch

from tests.helpers import ours, randn, theirs

OFF = [torch.no_grad, torch.inference_mode, lambda: torch.set_grad_enabled(False)]


def recorded(program):
    """What a program on one leaf reports, once it was checked to be the same for both libraries."""
    mine, yours = program(ours(randn(3))), program(theirs(randn(3)))
    assert mine == yours
    return mine


@pytest.mark.parametrize("off", OFF)
def test_off_and_on_again(off):
    def program(x):
        seen = [(x * 2).requires_grad]
        with off():
            seen.append((x * 2).requires_grad)
        return [*seen, (x * 2).requires_grad]

    assert recorded(program) == [True, False, True]


def test_enable_grad_within_no_grad():
    def program(x):
        with torch.no_grad():
            h = x * 2
            with torch.enable_grad():
                y = (h * x).sum()
            z = y * 2
        y.backward()
        return [h.requires_grad, y.requires_grad, z.requires_grad, x.grad.tolist()]

    assert recorded(program)[:3] == [False, True, False]


def test_enable_grad_within_inference_mode_records_nothing_of_use():
    """torch has no way back from inference mode but to leave it."""

    def program(x):
        with torch.inference_mode(), torch.enable_grad():
            return (x.detach() * 2).requires_grad

    assert recorded(program) is False


def test_decorators():
    def program(x):
        @torch.no_grad()
        def off(t):
            return on(t), t * 2

        @torch.enable_grad()
        def on(t):
            return t * 2

        a, b = off(x)
        return [a.requires_grad, b.requires_grad, (x * 2).requires_grad]

    assert recorded(program) == [True, False, True]


def test_an_error_leaves_the_mode_as_it_was():
    x = ours(randn(3))
    with pytest.raises(RuntimeError), torch.no_grad():
        x.view(7)
    assert (x * 2).requires_grad


def test_results_of_no_grad_are_leaves_that_can_be_trained():
    def program(x):
        with torch.no_grad():
            w = x * 2
        w.requires_grad_()
        (w * x).sum().backward()
        return [w.is_leaf, w.grad.tolist(), x.grad.tolist()]

    recorded(program)


def test_requires_grad_counts_when_an_op_runs():
    def program(x):
        c = x.detach().clone()
        before = c * 2
        c.requires_grad_()
        during = c * 2
        c.requires_grad_(False)
        after = c * 2
        return [before.requires_grad, during.requires_grad, after.requires_grad]

    assert recorded(program) == [False, True, False]


def test_detach_cuts_and_shares():
    def program(x):
        h = x * 2
        d = h.detach()
        (h * d).sum().backward()
        return [d.requires_grad, d.is_leaf, d.data_ptr() == h.data_ptr(), x.grad.tolist()]

    assert recorded(program)[:3] == [False, True, True]


def test_a_gradient_is_added_to_in_place():
    """Whoever holds it sees the sum; an optimizer may hold it in a flat buffer."""

    def program(x):
        x.grad = flat = torch.zeros(3, dtype=torch.float64)
        (x * 2).sum().backward()
        (x * 3).sum().backward()
        return [x.grad is flat, flat.tolist()]

    assert recorded(program) == [True, [5, 5, 5]]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_backward_within_a_mode(mode):
    def program(x):
        y = (x * x).sum()
        with mode():
            y.backward()
        return [x.grad.tolist(), x.grad.requires_grad, x.grad.is_inference()]

    recorded(program)
