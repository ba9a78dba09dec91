"""Memory: a graph that nobody holds is gone at once, without the garbage collector and however deep."""

from __future__ import annotations

import gc
import resource
import sys
import threading
import time
import tracemalloc
from weakref import ref

import pytest
import torch
import torch.nn.functional as F
from helpers import ours, randn

import tapegrad

pytestmark = pytest.mark.usefixtures("road")


@pytest.fixture(autouse=True)
def _no_collector():
    """Only reference counts may free anything here."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def network(x, w, b):
    h = torch.tanh(x @ w + b)
    h = (h - h.mean(0, keepdim=True)) / (h.var(0, keepdim=True) + 1e-5).sqrt()
    return F.cross_entropy(h, torch.tensor([0, 1, 1])) + h.max(1).values.sum() + torch.cat([h, h * 2])[[0, 0, 1]].sum()


def leaves():
    return ours(randn(3, 4)), ours(randn(4, 2)), ours(randn(2))


def watched(loss) -> list[ref]:
    """Weak references to what a graph is made of: its tensor and the buffers that it saved."""
    found = [ref(loss), ref(loss.data)]
    for record in tapegrad.tape(loss, names={}):
        found += [ref(v) for v in record.saved if isinstance(v, torch.Tensor)]
    return found


def alive(references: list[ref], *excepted: torch.Tensor) -> int:
    return sum(r() is not None and all(r() is not e for e in excepted) for r in references)


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
    assert seen[0] <= 1  # the one that the walk has just put down


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
    for _ in range(300):  # Python keeps small objects for use again, and its stock grows at first
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
    names = zip(record.op.saved, record.saved, strict=True)
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


# --- depth ---


@pytest.mark.parametrize("walk", [True, False])
def test_a_chain_of_a_hundred_thousand(walk):
    """Walking and dropping it recurse nowhere, also under a low recursion limit."""
    limit = sys.getrecursionlimit()
    x = tapegrad.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y * 1.0
    references = [ref(y), ref(y.data)]
    sys.setrecursionlimit(150)
    try:
        if walk:
            y.backward()
            assert x.grad.item() == 1.0
        del y
        assert alive(references) == 0
    finally:
        sys.setrecursionlimit(limit)


def test_a_chain_of_a_million():
    """Forward, back and gone, by reference counts alone; ten times the ops take about ten times the time."""

    def seconds(ops):
        x = tapegrad.tensor(1.0, requires_grad=True)
        started = time.process_time()
        y = x
        for _ in range(ops):
            y = y * 1.0
        y.backward()
        assert x.grad.item() == 1.0
        return time.process_time() - started

    short = seconds(100_000)
    assert seconds(1_000_000) <= 12 * short


def test_a_fan_out_of_ten_thousand():
    x = ours(randn(3))
    h = x * 2
    total = sum((h * float(i % 7)).sum() for i in range(10_000))
    total.backward()
    assert torch.allclose(x.grad, torch.full_like(x.grad, 2.0 * sum(i % 7 for i in range(10_000))))


def test_a_ladder_of_diamonds():
    """2**500 paths, 1,000 records."""
    x = tapegrad.tensor(torch.tensor(1.0, dtype=torch.float64), requires_grad=True)
    y = x
    for _ in range(500):
        y = y * 0.5 + y * 0.5
    y.backward()
    assert x.grad.item() == 1.0


# --- threads ---


def test_graphs_of_different_threads_do_not_touch():
    results = {}

    def work(k):
        with torch.no_grad() if k == 0 else torch.enable_grad():
            x = ours(torch.full((5,), float(k)))
            for _ in range(20):
                y = (x * x).sum()
            results[k] = y.requires_grad
            if k:
                y.backward()
                results[k] = x.grad.tolist()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == {0: False} | {k: [2.0 * k] * 5 for k in range(1, 6)}


def train(seed):
    """A few steps of a network; the bits of what comes out."""
    x, w, b = (ours(randn(*shape, seed=seed + i)) for i, shape in enumerate([(3, 4), (4, 2), (2,)]))
    for _ in range(5):
        network(x, w, b).backward()
        with torch.no_grad():
            for p in (x, w, b):
                p -= 0.01 * p.grad
                p.grad = None
    return [p.data for p in (x, w, b)]


def test_threads_give_the_same_bits_as_one_after_another():
    alone = [train(10 * k) for k in range(8)]
    together: list = [None] * 8
    barrier = threading.Barrier(8)

    def work(k):
        barrier.wait()
        together[k] = train(10 * k)

    previous = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # take turns as often as can be
    try:
        threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(previous)
    for one, other in zip(alone, together, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_grad_mode_belongs_to_a_thread():
    """Off here, it is on in a thread that begins, and what that one does to it is not felt here."""
    x, seen = ours(randn(3)), []

    def work():
        seen.append((x * 2).requires_grad)
        torch.set_grad_enabled(False)
        seen.append((x * 2).requires_grad)

    with torch.no_grad():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        seen.append((x * 2).requires_grad)
    seen.append((x * 2).requires_grad)
    assert seen == [True, False, False, True]


def test_two_walks_at_once_over_graphs_that_share_a_leaf():
    """Each adds to the leaf's gradient; none is lost where each has its own leaf object."""
    x = randn(1000)
    leaves = [ours(x) for _ in range(4)]

    def work(leaf):
        for _ in range(20):
            (leaf * leaf).sum().backward()

    threads = [threading.Thread(target=work, args=(leaf,)) for leaf in leaves]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for leaf in leaves:
        assert torch.equal(leaf.grad, leaves[0].grad)
        assert torch.allclose(leaf.grad, 40 * x)


def test_a_backward_in_another_thread():
    x = ours(randn(3))
    loss = (x * x).sum()
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join()
    assert torch.equal(x.grad, 2 * x.data)
