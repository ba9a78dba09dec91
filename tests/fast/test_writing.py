"""When a road is written, for how long it is kept, and how it reads."""

from __future__ import annotations

import gc
import traceback
from weakref import ref

import pytest
import torch

import tapegrad
from tapegrad.engine.table import kernel, rule
from tapegrad.fast import roads, walk_source
from tapegrad.fast.walk_source import structure, text
from tapegrad.rules import elementwise, reduction
from tests.fast.roads import written
from tests.helpers import ours, randn

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
    write = roads.Roads.write
    monkeypatch.setattr(roads.Roads, "write", lambda self, found: written.append(found) or write(self, found))
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
    ("program", "expected"),
    [
        (retained, 0),
        (hooked, 0),
        (with_a_hook_on_the_leaf, 0),
        (switched_off, 0),
        (by_turns, 1),
        (with_an_op_of_that_name, 1),
    ],
)
def test_nothing_is_written_in_vain(program, expected, monkeypatch):
    written = writes(monkeypatch)
    x = ours(randn(3))
    for i in range(50):
        x.requires_grad = True
        program(x, i).sum().backward()
    assert len(written) == expected


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
        for _ in range(i % (roads.MOST + 2)):
            y = y * 2
        y.sum().backward()
    assert len(written) == roads.MOST


def test_other_tapes_take_the_place_of_those_that_do_not_come_again(monkeypatch):
    monkeypatch.setattr(roads, "PATIENCE", 40)
    written = writes(monkeypatch)
    x = ours(randn(3))
    for n in range(roads.MOST + 1):
        for _ in range(4 if n < roads.MOST else 200):
            y = x
            for _ in range(n):
                y = y * 2
            y.sum().backward()
    assert len(written) == roads.MOST + 1


@pytest.mark.parametrize("structures", [3, roads.MOST, roads.MOST + 2])
def test_structures_in_turn_come_to_rest_after_many_that_differ(structures, monkeypatch):
    monkeypatch.setattr(roads, "PATIENCE", 30)
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
    assert len(written) == min(structures, roads.MOST)


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
    assert written(elementwise.mul) == roads.MOST


def test_long_tapes_are_not_written(monkeypatch):
    monkeypatch.setattr(walk_source, "LONGEST", 5)
    x = ours(randn(3))
    for _ in range(4):
        torch.stack([x, *[x.data] * 5]).exp().backward(torch.ones(6, 3, dtype=torch.float64))
    assert written(elementwise.exp) == 0  # for it is wide
    for n, expected in [(5, 1), (6, 1)]:
        for _ in range(4):
            y = x
            for _ in range(n):
                y = y.exp()
            y.backward(torch.ones(3, dtype=torch.float64))
        assert written(elementwise.exp) == expected


def test_looking_in_vain_comes_to_an_end(monkeypatch):
    """Where each tape is unlike the others, only one in sixteen is looked at."""
    looks = []
    look = roads.structure
    monkeypatch.setattr(roads, "PATIENCE", 10)
    monkeypatch.setattr(roads, "structure", lambda start: looks.append(start.rank) or look(start))
    x = tapegrad.tensor(1.0, requires_grad=True)
    for n in range(1, 100):
        y = x
        for _ in range(n):
            y = y * 2
        y.backward()
    assert 11 <= len(looks) <= 11 + 100 // 16
    for _ in range(64):  # then one structure keeps coming back
        (x * 2).backward()
    assert written(elementwise.mul) == 1


def test_ops_that_are_made_anew_are_forgotten():
    x = tapegrad.tensor(1.0, requires_grad=True)
    gc.collect()
    before = len(roads._met)
    for _ in range(300):
        rule(lambda x: x * 1, "x", x=lambda g: g)(x).backward()
    gc.collect()
    assert len(roads._met) <= before + 1


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


def test_an_error_in_a_rule_shows_the_line(monkeypatch):
    monkeypatch.setenv("TAPEGRAD_TRACEBACK", "full")

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
