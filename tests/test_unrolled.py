"""Roads that are written out do what the walk does, on tapes of their structure and on no others."""

from __future__ import annotations

import itertools
import traceback
from weakref import ref

import pytest
import torch
from helpers import assert_same, ours, randn, theirs
from tapegrad.unrolled import structure, text
from torch.overrides import TorchFunctionMode

import tapegrad
from tapegrad import unrolled
from tapegrad.engine.op import Op
from tapegrad.engine.table import kernel, rule
from tapegrad.rules import activations, elementwise, reduction

FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def _nothing_written(monkeypatch):
    """Each test begins with nothing written, and writes on the third walk."""
    monkeypatch.setattr(unrolled, "MEETINGS", 2)
    unrolled.forget()
    yield
    unrolled.forget()


def written(op) -> int:
    """How many roads there are for tapes that end in an op."""
    roads = unrolled._roads.get(op)
    return len(roads.written) if roads else 0


@rule(x=lambda g: torch.zeros_like(g))
def stopped(x):
    """Its rule says zeros."""
    return x * 1


def two_rows(x, y, c):
    return x * c[0] + y * c[0] + x


def taken_apart(x, y, c):
    a, b = x.split(2)
    first, *_, last = y.unbind(0)
    return (a * b).sum() + (first * last * c[0]).sum() + x[:, :2].sum() + x[1:].sum() + x[:1].sum()


def joined(x, y, c):
    return torch.cat([x, c, y, x], 0).exp() * torch.stack([x, y]).sum()


def mixed(x, y, c):
    return (x.float() * y + c.double()).sum() * x.half().double().mean()


def stops(x, y, c):
    stop = stopped if isinstance(x, tapegrad.Tensor) else torch.Tensor.detach
    return stop(x * 2) + stop(y) * y + c + x**0 + stop(x) * stop(y)


def changed(x, y, c):
    z = x * 2
    z += y
    z[0] = c[0]
    return z * z


def indexed(x, y, c):
    return (x[[0, 0, 1]] * y[torch.tensor([1, 1, 2])]).max(1).values + c[:3, 0]


def passed_on(x, y, c):
    return (x + y) + c


PROGRAMS = [two_rows, taken_apart, joined, mixed, stops, changed, indexed, passed_on]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("retain", [False, True])
def test_a_road_gives_the_gradients_of_the_walk(program, retain):
    """The first two walks are walked, the others written out; all add to the same gradients."""
    data = [randn(4, 3, seed=i) for i in range(3)]
    mine, yours = [ours(d) for d in data], [theirs(d) for d in data]
    for i in range(5):
        out = program(*mine)
        v = randn(*out.shape, seed=i, dtype=out.dtype)
        out.backward(v, retain_graph=retain)
        program(*yours).backward(v)
        for x, y in zip(mine, yours, strict=True):
            assert_same(x.grad, y.grad, "gradient")
        if retain:
            out.backward(v)
            program(*yours).backward(v)
        with pytest.raises(tapegrad.FreedTape):
            out.backward(v)
        assert written(out.record.op) == (i >= (1 if retain else 2))


def walks(out, *leaves):
    """Gradients of the leaves, added to some that are there already, so that the order of a sum shows."""
    for i, x in enumerate(leaves):
        x.grad = randn(*x.shape, seed=50 + i)
    out().sum().backward()
    return [x.grad.clone() for x in leaves]


a, b, c = ours(randn(3)), ours(randn(3, seed=1)), ours(randn(3, seed=2))


PAIRS = {
    "the same leaf twice": (lambda: a * b, lambda: a * a),
    "the same record twice": (lambda: a.exp() * b.exp(), lambda: (e := a.exp()) * e),
    "two records for one": (lambda: (e := a.exp()) * e, lambda: a.exp() * a.exp()),
    "the same leaf twice, and once more": (lambda: a * b + c, lambda: a * a + a),
    "a constant": (lambda: a * b, lambda: a * b.detach()),
    "a leaf for a record": (lambda: a * b.exp(), lambda: a * b),
    "a record for a leaf": (lambda: a * b, lambda: a * b.exp()),
    "another op": (lambda: a.exp() * b, lambda: a.sin() * b),
    "more tensors": (lambda: torch.cat([a, b]), lambda: torch.cat([a, b, c])),
    "fewer tensors": (lambda: torch.cat([a, b, c]), lambda: torch.cat([a, b])),
    "other places among tensors": (lambda: torch.cat([a, b.detach()]), lambda: torch.cat([a.detach(), b])),
    "another shape": (lambda: a * 2 + b, lambda: a[:1] * 2 + b),
    "another number": (lambda: a**2, lambda: a**3),
    "a number for a tensor": (lambda: a * b.detach(), lambda: a * 2),
    "a deeper tape": (lambda: a.exp(), lambda: a.exp().exp()),
}


@pytest.mark.parametrize("name", PAIRS)
def test_another_tape_is_not_taken_for_the_one_that_is_written(name):
    one, other = PAIRS[name]
    expected = walks(other, a, b, c)
    unrolled.forget()
    for _ in range(4):
        walks(one, a, b, c)
    assert any(roads.written for roads in unrolled._roads.values())
    for found, right in zip(walks(other, a, b, c), expected, strict=True):
        assert_same(found, right, name)


def test_gradients_are_summed_in_the_order_of_the_tape_at_hand():
    """The same ops, but run in another order: three gradients of x, which do not add up to the same in any order."""
    data = torch.full((1,), 1.0, dtype=torch.float32)

    def program(x, order):
        made = {}
        for k in order:
            made[k] = x * (0.1, 1e8, -1e8)[k]
        return (made[0] + made[1]) + made[2]

    for order in [(0, 1, 2)] * 4 + [(2, 1, 0), (1, 0, 2), (0, 2, 1)]:
        x, y = ours(data), theirs(data)
        program(x, order).backward()
        program(y, order).backward()
        assert_same(x.grad, y.grad, f"order {order}")


def test_a_sequence_may_hold_what_stands_beside_it():
    @rule(xs=lambda g: [g, g * 2], y=lambda g: g * 3)
    def op(xs, y):
        return xs[0] + xs[1] * 2 + y * 3

    x, y = ours(randn(3)), ours(randn(3))
    h = lambda: x.exp()
    for program in (lambda: op([x, y], x), lambda: op([y, (e := h())], e), lambda: op([h(), y], h())):
        x.grad = y.grad = None
        program().sum().backward()
        expected = x.grad, y.grad
        for _ in range(4):
            x.grad = y.grad = None
            program().sum().backward()
            assert_same((x.grad, y.grad), expected, "gradients")


# --- what is for the walk ---


def test_hooks_run():
    x = ours(randn(3))
    seen = []
    for i in range(6):
        h = x.exp()
        out = (h * h).sum()
        if i > 3:
            h.register_hook(seen.append)
            x.register_hook(seen.append)
        out.backward()
    assert len(seen) == 2 + 3  # of the two records, and of the leaf, which keeps its first


def test_a_retained_gradient_is_left():
    x = ours(randn(3))
    for i in range(5):
        h = x.exp()
        if i == 4:
            h.retain_grad()
        (h * h).sum().backward()
    assert_same(h.grad, (2 * h).data, "h.grad")


def test_anomaly_mode_looks_on():
    x = tapegrad.tensor([0.0], requires_grad=True)
    for _ in range(4):
        x.sqrt().sum().backward()
    with pytest.raises(tapegrad.Anomaly, match="sqrt"), tapegrad.detect_anomaly():
        x.sqrt().sum().backward()


def test_inputs_are_the_walks_business():
    x, y = ours(randn(3)), ours(randn(3))
    for _ in range(4):
        (x * y).sum().backward()
    x.grad = y.grad = None
    (x * y).sum().backward(inputs=[x])
    assert y.grad is None


def test_a_change_in_place_is_noticed():
    x = ours(randn(3))
    for i in range(5):
        h = x * 2
        out = (h.exp() * h).sum()
        if i == 4:
            h.data += 1
            with pytest.raises(tapegrad.StaleTensor, match=r"mul needs its other, of shape \(3,\)"):
                out.backward()
        else:
            out.backward()


def test_a_leaf_that_takes_no_gradient_any_more_gets_none():
    x, y = ours(randn(3)), ours(randn(3))
    for i in range(5):
        x.grad = None
        out = (x * y).sum()
        x.requires_grad = i < 4
        out.backward()
        assert (x.grad is None) == (i == 4)
        x.requires_grad = True


def test_a_leaf_that_was_changed_in_place_is_refused():
    x, y = tapegrad.tensor(torch.ones(3), requires_grad=True), tapegrad.tensor(torch.ones(3), requires_grad=True)
    for i in range(5):
        out = (x * 2 + y).sum()
        if i == 4:
            x.requires_grad = False
            x += y
            with pytest.raises(RuntimeError, match="changed in place after it was used"):
                out.backward()
        else:
            out.backward()


def test_gradients_are_nobody_elses():
    x, y = ours(randn(3)), ours(randn(3))
    v = torch.ones(3, dtype=torch.float64)
    for _ in range(4):
        x.grad = y.grad = None
        (x + y).backward(v)
        x.grad += 1
        y.grad += 1
        assert v.tolist() == [1, 1, 1]
        assert x.grad.tolist() == y.grad.tolist() == [2, 2, 2]


@pytest.mark.parametrize("program", [torch.sum, torch.t])
def test_gradients_are_contiguous(program):
    x = ours(randn(3, 2))
    for _ in range(4):
        x.grad = None
        out = program(x)
        out.backward(torch.ones(out.shape, dtype=out.dtype))
        assert x.grad.is_contiguous()


def test_all_are_copied_before_any_is_left():
    x, y = ours(randn(2)), ours(randn(2))
    for _ in range(4):
        x.grad, y.grad = torch.ones(2, dtype=torch.float64), None
        (x + y).backward(x.grad)
        assert (x.grad.tolist(), y.grad.tolist()) == ([2, 2], [1, 1])


def test_nothing_is_copied_without_need():
    class Counting(TorchFunctionMode):
        clones = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.clones += func is torch.Tensor.clone
            return func(*args, **(kwargs or {}))

    @rule(xs=lambda g: [g * 2, g * 3])
    def op(xs):
        return xs[0] * 2 + xs[1] * 3

    x, y = ours(randn(3)), ours(randn(3))
    for _ in range(4):
        x.grad = y.grad = None
        out = (op([x, y]) + x * y).sum()
        with Counting() as counting:
            out.backward()
        assert counting.clones == 0


# --- when it is written, and for how long ---


def test_a_new_kernel_is_used():
    @rule(x=lambda g: g * 2)
    def doubled(x):
        return x * 2

    x = ours(randn(3))
    for _ in range(4):
        doubled(x).sum().backward()
    kernel(doubled, x=lambda g: g * 3)
    x.grad = None
    doubled(x).sum().backward()
    assert x.grad.tolist() == [3, 3, 3]


def writes(monkeypatch):
    """A list that grows whenever a road is written."""
    written = []
    write = unrolled.Roads.write
    monkeypatch.setattr(unrolled.Roads, "write", lambda self, found: written.append(found) or write(self, found))
    return written


def retained(x, i):
    h = x.exp()
    h.retain_grad()
    return h * h


def hooked(x, i):
    h = x.exp()
    h.register_hook(lambda g: None)
    return h * h


def with_a_hook_on_the_leaf(x, i):
    x.hooks or x.register_hook(lambda g: None)
    return x.exp()


def switched_off(x, i):
    out = x * x.exp()
    x.requires_grad = False
    return out


def by_turns(x, i):
    return retained(x, i) if i % 2 else x.exp() * 2


@rule(op=lambda g: g * 2)
def named(op):
    """Its argument has the name of a thing that roads speak of."""
    return op * 2


def with_an_op_of_that_name(x, i):
    return named(x)


@pytest.mark.parametrize(
    ("program", "roads"),
    [
        (retained, 0),
        (hooked, 0),
        (with_a_hook_on_the_leaf, 0),
        (switched_off, 0),
        (by_turns, 1),
        (with_an_op_of_that_name, 1),
    ],
)
def test_nothing_is_written_in_vain(program, roads, monkeypatch):
    written = writes(monkeypatch)
    x = ours(randn(3))
    for i in range(50):
        x.requires_grad = True
        program(x, i).sum().backward()
    assert len(written) == roads


def test_nothing_is_written_for_a_leaf_that_is_none_any_more(monkeypatch):
    written = writes(monkeypatch)
    for _ in range(10):
        x, y = tapegrad.tensor([1.0], requires_grad=True), tapegrad.tensor([1.0], requires_grad=True)
        out = x * 2
        x.requires_grad = False
        x += y
        with pytest.raises(RuntimeError, match="changed in place after it was used"):
            out.backward()
    assert written == []


def test_more_structures_than_are_kept_are_not_written_in_turn(monkeypatch):
    written = writes(monkeypatch)
    x = ours(randn(3))
    for i in range(1000):
        y = x
        for _ in range(i % (unrolled.MOST + 2)):
            y = y * 2
        y.sum().backward()
    assert len(written) == unrolled.MOST


def test_other_tapes_take_the_place_of_those_that_do_not_come_again(monkeypatch):
    monkeypatch.setattr(unrolled, "PATIENCE", 40)
    written = writes(monkeypatch)
    x = ours(randn(3))
    for n in range(unrolled.MOST + 1):
        for _ in range(4 if n < unrolled.MOST else 200):
            y = x
            for _ in range(n):
                y = y * 2
            y.sum().backward()
    assert len(written) == unrolled.MOST + 1


@pytest.mark.parametrize("structures", [3, unrolled.MOST, unrolled.MOST + 2])
def test_structures_in_turn_come_to_rest_after_many_that_differ(structures, monkeypatch):
    monkeypatch.setattr(unrolled, "PATIENCE", 30)
    x = tapegrad.tensor(1.0, requires_grad=True)

    def walk_chain(n):
        y = x
        for _ in range(n):
            y = y * 2
        y.backward()

    for n in range(100):
        walk_chain(20 + n)
    written = writes(monkeypatch)
    for i in range(3000):
        walk_chain(1 + i % structures)
    assert len(written) == min(structures, unrolled.MOST)


def test_a_leaf_whose_hook_was_taken_away_is_as_any_other():
    x = ours(randn(3))
    x.register_hook(lambda g: None).remove()
    for _ in range(4):
        x.exp().backward(torch.ones(3, dtype=torch.float64))
    assert written(elementwise.exp) == 1


def test_a_leaf_in_place_of_a_sequence_is_not_taken_apart():
    shapes = lambda g, xs: [g.expand(v.shape) for v in xs] if type(xs) is tuple else g.expand(xs.shape)

    @rule(xs=shapes)
    def op(xs):
        return torch.stack([v.sum() for v in xs]).sum()

    x, y = ours(randn(3)), ours(randn(3))
    for _ in range(4):
        op([x, y]).backward()
    z = ours(randn(2, 3))
    calls = []
    z_iter = tapegrad.Tensor.__iter__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tapegrad.Tensor, "__iter__", lambda t: calls.append(t) or z_iter(t))
        op(z).backward()
    assert calls == []
    assert z.grad.tolist() == [[1.0] * 3] * 2


def test_only_so_many_are_kept():
    x = ours(randn(3))
    for n in range(1, 10):
        for _ in range(4):
            y = x
            for _ in range(n):
                y = y * 2
            y.backward(torch.ones(3, dtype=torch.float64))
    assert written(elementwise.mul) == unrolled.MOST


def test_long_tapes_are_not_written(monkeypatch):
    monkeypatch.setattr(unrolled, "LONGEST", 5)
    x = ours(randn(3))
    for _ in range(4):
        torch.stack([x, *[x.data] * 5]).exp().backward(torch.ones(6, 3, dtype=torch.float64))
    assert written(elementwise.exp) == 0  # for it is wide
    for n, roads in [(5, 1), (6, 1)]:
        for _ in range(4):
            y = x
            for _ in range(n):
                y = y.exp()
            y.backward(torch.ones(3, dtype=torch.float64))
        assert written(elementwise.exp) == roads


def test_looking_in_vain_comes_to_an_end(monkeypatch):
    """Where each tape is unlike the others, only one in sixteen is looked at."""
    looks = []
    look = unrolled.structure
    monkeypatch.setattr(unrolled, "PATIENCE", 10)
    monkeypatch.setattr(unrolled, "structure", lambda start: looks.append(start.rank) or look(start))
    x = tapegrad.tensor(1.0, requires_grad=True)
    for n in range(1, 100):
        y = x
        for _ in range(n):
            y = y * 2
        y.backward()
    assert 11 <= len(looks) <= 11 + 100 // 16
    for _ in range(64):  # and then one comes again and again
        (x * 2).backward()
    assert written(elementwise.mul) == 1


def test_ops_that_are_made_anew_are_forgotten():
    x = tapegrad.tensor(1.0, requires_grad=True)
    for _ in range(300):
        rule(lambda x: x * 1, "x", x=lambda g: g)(x).backward()
    assert len(unrolled._roads) <= 256


def test_a_road_keeps_nothing_alive():
    x = ours(randn(3))
    for _ in range(4):
        h = x.exp()
        out = (h * x).sum()
        out.backward()
    references = [ref(v) for v in (x, x.grad, h, h.data, out, out.data)]
    del x, h, out
    assert written(elementwise.mul) == 0  # it ends in sum
    assert not any(r() is not None for r in references)


def test_it_frees_as_it_goes():
    """When it reaches the first op, the buffers of the five later ones are gone."""
    seen = []

    @rule(x=lambda g: seen.append(sum(r() is not None for r in references)) or g)
    def first(x):
        return x * 1

    x = ours(randn(3))
    for _ in range(4):
        y = first(x)
        references = []
        for _ in range(5):
            y = y.exp()
            references.append(ref(y.data))
        y = y.sum()
        y.backward()
    assert seen[2:] == [0, 0]


def test_no_gradient_outlives_its_use():
    """Not those of second uses, nor the pieces for a sequence."""
    seen, given = [], []

    def noted(*parts):
        given.extend(map(ref, parts))
        return parts

    @rule(x=lambda g: noted(g * 1)[0])
    def one(x):
        return x * 1

    @rule(xs=lambda g: noted(g * 1, g * 1))
    def both(xs):
        return xs[0] * xs[1]

    @rule(x=lambda g: seen.append(sum(r() is not None for r in given)) or g * 1)
    def first(x):
        return x * 1

    x = ours(randn(3))
    for _ in range(4):
        given.clear()
        h = first(first(x).exp())
        both([h.exp(), h.exp()]).sum().backward()
        assert seen[-2:] == [0, 0] or not written(reduction.sum)
        h = first(first(x).exp())
        (one(h).exp() * one(h).exp()).mean().backward()
    assert seen[-4:] == [0, 0, 0, 0]


def test_an_error_in_a_rule_shows_the_line():
    def fails(g):
        raise ValueError("on purpose")

    @rule(x=fails)
    def op(x):
        return x * 1

    x = ours(randn(3))
    for _ in range(4):
        with pytest.raises(ValueError, match="on purpose") as caught:
            op(x).backward(torch.ones(3, dtype=torch.float64))
    lines = [frame.line for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "g_x0 = r0_x(g_r0)" in lines


def test_a_rule_of_the_wrong_shape_is_refused():
    @rule(x=lambda g: g[:2])
    def op(x):
        return x * 1

    x = ours(randn(3))
    for _ in range(4):
        with pytest.raises(RuntimeError, match=r"returned a gradient of shape \(2,\)"):
            op(x).backward(torch.ones(3, dtype=torch.float64))


# --- what is known of some gradients ---

OPS = {v for module in (activations, elementwise) for v in vars(module).values() if isinstance(v, Op)}
ELEMENTWISE = sorted([op for op in OPS if op.elementwise], key=lambda op: op.name)
VALUES = [
    *[torch.rand(shape, dtype=dtype) + 0.5 for shape in [(), (1,), (3, 1), (2, 3, 4)] for dtype in FLOATS],
    *[torch.ones(shape, dtype=dtype) for shape in [(), (4,)] for dtype in (torch.int64, torch.bool)],
    *[2, 2.5, 0, -1, True],
]


@pytest.mark.parametrize("op", ELEMENTWISE)
def test_the_gradients_of_elementwise_ops_are_like_the_cotangent(op):
    """Whatever the shapes and dtypes of the arguments, and which of them take a gradient."""
    seen = 0
    for values in itertools.product(VALUES, repeat=len(op.formulas)):
        tensors = [isinstance(v, torch.Tensor) and v.is_floating_point() for v in values]
        for wanted in itertools.product([False, True], repeat=len(values)):
            if not any(wanted) or not all(t for t, w in zip(tensors, wanted, strict=True) if w):
                continue
            arguments = [tapegrad.tensor(v, w) if w else v for v, w in zip(values, wanted, strict=True)]
            try:
                record = op(*arguments).record
                g = torch.ones(record.shape, dtype=record.dtype)
                pairs = zip(op.pullbacks, record.parents, strict=True)
                parts = [pullback(g, record.saved, parent) for pullback, parent in pairs if parent is not None]
            except (RuntimeError, TypeError):  # torch refuses it
                continue
            for part in parts:
                assert (type(part), part.shape, part.dtype) == (torch.Tensor, g.shape, g.dtype), arguments
                seen += 1
    assert seen >= len(FLOATS) * 4 * (10 if len(op.formulas) == 2 else 1)


def test_the_commonest_ops_are_among_them():
    assert {elementwise.add, elementwise.mul, activations.tanh} <= set(ELEMENTWISE)


# --- the text ---


def test_the_text_can_be_read():
    x, y = ours(randn(3)), ours(randn(3))
    source = text((x * y).sum().record)
    assert "g_r1 = r0_input(g_r0, r1.shape, saved[2], saved[3])" in source
    assert "g_x0 = r1_input(g_r1, saved[2])" in source
    compile(source, "road", "exec")


def test_a_freed_tape_has_no_structure():
    x = ours(randn(3))
    out = x.exp().sum()
    out.backward()
    assert structure(out.record) is None
    with pytest.raises(ValueError, match="ask before backward"):
        text(out.record)
