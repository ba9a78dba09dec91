"""Random programs agree with torch, and a fault planted anywhere is found. ``fuzz.py`` says how."""

from __future__ import annotations

import heapq
from functools import cache

import pytest
import torch

from tapegrad.engine import gradients, walk
from tapegrad.engine.table import kernel
from tapegrad.engine.tape import Record, parents_of
from tapegrad.engine.unbroadcast import unbroadcast
from tapegrad.rules import elementwise
from tests.provers import fuzz
from tests.provers.fuzz import Disagreement, Programs

PROGRAMS = 300


def test_random_programs_agree_with_torch(road):
    before = fuzz.counts.copy()
    fuzz.run(PROGRAMS)
    made = fuzz.counts - before
    assert made["walks"] > PROGRAMS  # the programs are not idle: more than one walk each
    assert made["errors in both"] > PROGRAMS


# --- what it found once ---


def narrow_of_a_number(s):
    s.view(name="narrow", x=s.first(shape=(), key=0))


def narrow_beyond_the_end(s):
    s.view(name="narrow", x=s.first(shape=(0, 3), key=0))


def a_number_indexed_by_a_mask(s):
    y = s.unary(name="positive", x=s.first(shape=(), key=0))
    s.backward(x=y, key=1, retain=False, inputs=None)


def fill_with_a_vector(s):
    x = s.first(shape=(1,), key=0)
    s.change_with(name="fill_", x=s.unary(name="doubled", x=x), y=x)


def a_leaf_changed_in_place_after_its_use(s):
    x = s.first(shape=(), key=0)
    y = s.unary(name="neg", x=x)
    s.requires_grad(x=x, value=False)
    s.change_with(name="add_", x=x, y=s.unary(name="neg", x=y))
    s.backward(x=y, key=1, retain=False, inputs=None)


def requires_grad_switched_off_after_the_use(s):
    x = s.first(shape=(3,), key=0)
    y = s.unary(name="sum", x=x)
    s.requires_grad(x=x, value=False)
    s.backward(x=y, key=1, retain=False, inputs=None)


def a_backward_that_fails_before_it_begins_retains_nothing(s):
    y = s.unary(name="neg", x=s.first(shape=(3,), key=0))
    z = s.unary(name="sum", x=s.leaf(shape=(3,), dtype=torch.float64, key=0, requires_grad=False, whole=False))
    s.backward(x=z, key=1, retain=False, inputs=[y])


def inputs_before_the_one_that_fails_retain_their_gradient(s):
    c = s.leaf(shape=(), dtype=torch.float64, key=0, requires_grad=False, whole=False)
    y = s.unary(name="neg", x=s.first(shape=(), key=0))
    s.backward(x=y, key=1, retain=False, inputs=[y, c])


def a_computed_input_keeps_its_gradient_from_then_on(s):
    x = s.first(shape=(3,), key=0)
    h = s.unary(name="exp", x=x)
    loss = s.unary(name="sum", x=h)
    s.backward(x=loss, key=1, retain=True, inputs=[h])
    s.backward(x=loss, key=1, retain=True, inputs=None)


def hooks_of_a_leaf_that_is_start_and_no_target(s):
    x = s.first(shape=(), key=0)
    s.hook(x=x, name="watch")
    s.backward(x=x, key=1, retain=False, inputs=[s.unary(name="neg", x=x)])


def a_start_among_several_that_leads_nowhere(s):
    x = s.first(shape=(), key=0)
    s.hook(x=x, name="watch")
    y = s.unary(name="neg", x=x)
    s.grad(outputs=[y, x], inputs=[y], key=1, retain=None, allow_unused=False)


def what_lies_behind_a_target_is_not_freed(s):
    x = s.first(shape=(3,), key=0)
    h = s.unary(name="exp", x=x)
    s.grad(outputs=[s.unary(name="sum", x=h)], inputs=[h], key=1, retain=None, allow_unused=False)
    s.backward(x=h, key=1, retain=False, inputs=None)


def a_hooked_target_on_the_way_to_another(s):
    x = s.first(shape=(3,), key=0)
    h = s.unary(name="exp", x=x)
    s.hook(x=h, name="double")
    s.retain_grad(x=h)
    s.grad(outputs=[s.unary(name="sum", x=h)], inputs=[h, x], key=1, retain=None, allow_unused=False)


def a_backward_that_fails_before_one_that_torch_refuses(s):
    x = s.first(shape=(), key=0)
    y = s.tangle(x=x, y=x, knots=[("add", 0, 0), ("add", 0, 0), ("tanh", 0, 0)])
    s.change(name="add_ 1", x=y)
    c = s.view(name="detach", x=y)
    s.change(name="add_ 1", x=c)
    z = s.tangle(x=y, y=c, knots=[("add", 0, 0), ("add", 0, 0), ("add", 0, 0)])
    s.backward(x=z, key=1, retain=True, inputs=[z, c])
    s.backward(x=z, key=1, retain=True, inputs=None)


def items_assigned_with_a_dimension_too_many(s):
    x = s.first(shape=(1, 3), key=0)
    row = s.unary(name="sum 0", x=s.unary(name="neg", x=x))
    s.change_with(name="[...] =", x=row, y=x)
    s.backward(x=row, key=2, retain=False, inputs=None)


def a_number_assigned_to_where_a_mask_says(s):
    x = s.first(shape=(3,), key=0)
    s.no_grad(steps=1)
    y = s.unary(name="sum", x=x)
    s.change_with(name="[mask] =", x=y, y=x)


def one_of_several_that_were_joined(s):
    x = s.first(shape=(1,), key=0)
    y = s.unary(name="neg", x=x)
    s.backward(x=s.binary(name="cat", x=y, y=x), key=1, retain=True, inputs=[y])


def a_mean_whose_gradient_meets_a_transposed_tensor(s):
    x = s.view(name="transpose", x=s.first(shape=(2, 3), key=0))
    y = s.tangle(knots=[("add", 0, 0), ("add", 0, 0), ("share", 0, 0)], x=x, y=x)
    z = s.unary(name="neg", x=y)
    s.data(x=z)
    s.learn(knots=[("add", 0, 0)] * 6 + [("mul", 0, 0), ("share", 1, 8)], x=y, y=z)


CORPUS = [
    a_mean_whose_gradient_meets_a_transposed_tensor,
    one_of_several_that_were_joined,
    a_number_assigned_to_where_a_mask_says,
    narrow_of_a_number,
    narrow_beyond_the_end,
    a_number_indexed_by_a_mask,
    fill_with_a_vector,
    a_leaf_changed_in_place_after_its_use,
    requires_grad_switched_off_after_the_use,
    a_backward_that_fails_before_it_begins_retains_nothing,
    inputs_before_the_one_that_fails_retain_their_gradient,
    a_computed_input_keeps_its_gradient_from_then_on,
    hooks_of_a_leaf_that_is_start_and_no_target,
    a_start_among_several_that_leads_nowhere,
    what_lies_behind_a_target_is_not_freed,
    a_hooked_target_on_the_way_to_another,
    items_assigned_with_a_dimension_too_many,
]


@pytest.mark.parametrize("program", CORPUS)
def test_corpus(program):
    machine = Programs()
    program(machine)
    machine.compare_all()
    assert machine.history


# --- faults that are planted ---


def find() -> None:
    """Run the same programs as above, which agree but for the fault that is planted."""
    with pytest.raises(Disagreement, match=r"gradient of tensor|grad\(\)|what hook"):
        fuzz.run(PROGRAMS, shrink=False)


def test_a_fault_of_one_bit_in_one_rule_is_found(road):
    right = elementwise.mul.kernels["other"]
    kernel(elementwise.mul, other=lambda g, input: torch.nextafter(right(g, input), torch.tensor(torch.inf)))
    try:
        find()
    finally:
        kernel(elementwise.mul, other=right)


def test_a_fault_in_unbroadcast_is_found(road, monkeypatch):
    def wrong(g, shape):
        """The first of the copies in place of their sum, along dimensions of size 1."""
        return unbroadcast(g, shape) if 1 not in shape else g.flatten()[: shape.numel()].view(shape)

    monkeypatch.setattr(gradients, "unbroadcast", wrong)  # for both roads: they fit a gradient in one place
    find()


def test_a_fault_in_the_order_of_accumulation_is_found(monkeypatch):
    """The walk stays right (users before what they use), but gradients are summed in the order of depth, not of age.

    A road that is written out takes no tape of another order: tests/fast/test_unrolled.py.
    """

    @cache
    def depth(record: Record) -> int:
        return 1 + max((depth(p) for p in parents_of(record) if type(p) is Record), default=0)

    def push(queue, item):
        heapq.heappush(queue, (-depth(item[1]), *item))

    monkeypatch.setattr(walk, "heappush", push)
    monkeypatch.setattr(walk, "heappop", lambda queue: heapq.heappop(queue)[1:])
    find()
