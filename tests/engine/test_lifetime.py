"""What is freed, and when: no cycles, no leaks, nothing held longer than it is needed."""

from __future__ import annotations

import gc
import resource
import sys
import tracemalloc
from weakref import ref

import pytest
import torch

import tapegrad
from tests.engine.networks import alive, leaves, network, watched
from tests.helpers import ours, randn

pytestmark = pytest.mark.usefixtures("road", "no_collector")


def test_a_dropped_graph_is_freed():
    x, w, b = leaves()
    loss = network(x, w, b)
    references = watched(loss)
    assert alive(references, x.data, w.data, b.data) > 10
    del loss
    assert alive(references, x.data, w.data, b.data) == 0


def test_backward_frees_the_saved_buffers():
    """The loss itself is still held, and nothing else is."""
    x, w, b = leaves()
    loss = network(x, w, b)
    references = watched(loss)
    loss.backward()
    assert alive(references, x.data, w.data, b.data, loss, loss.data) == 0


def test_backward_frees_as_it_goes():
    """When the walk reaches the first op, the buffers of the five later ones are gone."""
    seen = []

    @tapegrad.rule(x=lambda g: seen.append(alive(references)) or g)
    def first(x):
        return x * 1

    x = ours(randn(3))
    y = first(x)
    for _ in range(5):
        y = y.exp()
    references = [ref(record.saved[0]) for record in tapegrad.tape(y, names={}) if record.op.name == "exp"]
    loss = y.sum()
    del y
    assert len(references) == 5
    loss.backward()
    assert seen[0] <= 1  # the record that the walk has just finished


def test_retain_graph_keeps_the_buffers_until_the_graph_goes():
    x, w, b = leaves()
    loss = network(x, w, b)
    references = watched(loss)
    count = alive(references)
    loss.backward(retain_graph=True)
    assert alive(references) == count
    del loss
    assert alive(references, x.data, w.data, b.data) == 0


def test_create_graph_leaves_nothing_behind():
    x = ours(randn(3))
    (g,) = tapegrad.grad((x**3).exp().sum(), x, create_graph=True)
    (h,) = tapegrad.grad(g.sum(), x, create_graph=True)
    references = watched(g) + watched(h)
    del g, h
    assert alive(references, x.data) == 0


def test_retained_gradients_make_no_cycle():
    x = ours(randn(3))
    y = x * 2
    y.retain_grad()
    y.exp().sum().backward()
    reference = ref(y)
    del y
    assert reference() is None


def test_in_place_forms_make_no_cycle():
    x = ours(randn(3))
    y = x * 2
    y += x
    y[0] = 1.0
    reference = ref(y)
    del y
    assert reference() is None


def test_a_failed_backward_holds_nothing():
    x = ours(randn(3))
    loss = (x * x).sum()
    references = watched(loss)
    x.data.add_(1)
    with pytest.raises(tapegrad.StaleTensor):
        loss.backward()
    del loss
    assert alive(references, x.data) == 0


def test_tape_compare_and_gradcheck_hold_nothing():
    x = ours(randn(3))

    def look():
        loss = (x * x).exp().sum()
        str(tapegrad.tape(loss))
        tapegrad.compare(loss)
        return watched(loss)

    references = look()
    assert tapegrad.gradcheck(lambda x: (x * x).exp(), x)
    assert alive(references, x.data) == 0


def test_a_training_loop_does_not_grow():
    x, w, b = leaves()
    sizes = []
    for step in range(30):
        for p in (x, w, b):
            p.grad = None
        network(x, w, b).backward()
        if step >= 10:
            sizes.append(len(gc.get_objects()))
    assert max(sizes) - min(sizes) < 50


def test_a_thousand_steps_take_no_more_memory():
    """Objects of Python, what they allocate, tensors, and the process as a whole."""
    x, w, b = leaves()
    velocity = [torch.zeros_like(p.data) for p in (x, w, b)]

    def step():
        network(x, w, b).backward()
        for p, v in zip((x, w, b), velocity, strict=True):
            v.mul_(0.9).add_(p.grad)
            with torch.no_grad():
                p -= 0.001 * v
            p.grad = None

    tracemalloc.start()
    for _ in range(300):  # Python keeps freed small objects for reuse, and grows that stock at first
        step()
    objects, resident, allocated = len(gc.get_objects()), peak(), tracemalloc.get_traced_memory()[0]
    tensors = sum(type(o) is torch.Tensor for o in gc.get_objects())
    for _ in range(1000):
        step()
    grown = tracemalloc.get_traced_memory()[0] - allocated
    tracemalloc.stop()
    assert len(gc.get_objects()) - objects < 50  # a single record more per step would be 20,000
    assert grown < 200_000
    assert sum(type(o) is torch.Tensor for o in gc.get_objects()) - tensors < 50
    assert peak() - resident < 8 * 2**20


def peak() -> int:
    """The most bytes that this process has had in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize(
    ("program", "held"),
    [
        (lambda x, w: x + w, []),
        (lambda x, w: x - w, []),
        (lambda x, w: x.sum(), []),
        (lambda x, w: x.reshape(-1), []),
        (lambda x, w: torch.cat([x, w]), []),
        (lambda x, w: x.tanh(), ["out"]),
        (lambda x, w: x.exp(), ["out"]),
        (lambda x, w: x * w, ["input", "other"]),
        (lambda x, w: x * w.detach(), ["other"]),
        (lambda x, w: x.detach() * w, ["input"]),
        (lambda x, w: x.log(), ["input"]),
        (lambda x, w: x / w.detach(), ["other"]),
    ],
)
def test_a_record_holds_what_its_rule_needs_and_no_more(program, held):
    """Of intermediates: leaves are held by the user anyhow."""
    x, w = ours(randn(2, 3)).clone(), ours(randn(2, 3)).clone()
    record = program(x, w).record
    names = zip(record.op.saved_names, record.saved, strict=True)
    assert [n for n, v in names if isinstance(v, torch.Tensor)] == held


def test_what_no_rule_needs_is_freed_while_the_graph_lives():
    x = ours(randn(3))
    h = x * 2
    reference = ref(h.data)
    y = (h + 1).sum()
    del h
    assert reference() is None
    y.backward()
    assert x.grad.tolist() == [2, 2, 2]


def test_tensors_can_be_weakly_referenced():
    x = ours(randn(3))
    assert ref(x)() is x
