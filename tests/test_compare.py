"""compare: every node beside torch.autograd, and a wrong rule is caught."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers import ours, randn

import tapegrad
from tapegrad.check import Row


def network():
    x, w, b = ours(randn(4, 3)), ours(randn(3, 2, seed=1)), ours(randn(2, seed=2))
    h = torch.tanh(x @ w + b)
    return x, w, b, h, (h * h).sum() + F.cross_entropy(h, torch.tensor([0, 1, 1, 0]))


# --- rows ---


def test_by_default_every_node_has_a_row_by_its_name():
    x, w, b, h, loss = network()
    rows = tapegrad.compare(loss)
    assert rows.exact
    assert rows.approximate
    names = [row.name for row in rows]
    assert {"x", "w", "b", "h", "loss"} <= set(names)
    assert len(rows) == 3 + len(tapegrad.tape(loss))
    assert len(set(names)) == len(names)
    assert all(row.maxdiff == 0.0 for row in rows)
    assert {row.name: row.shape for row in rows}["w"] == (3, 2)


def test_names_choose_the_rows_and_their_order():
    x, w, b, h, loss = network()
    rows = tapegrad.compare(loss, names={"h": h, "weights": w})
    assert [row.name for row in rows] == ["h", "weights"]


def test_the_table():
    x, w, b, h, loss = network()
    text = str(tapegrad.compare(loss, names={"h": h, "w": w}))
    assert text.splitlines() == [
        "h               | exact: True  | approximate: True  | maxdiff: 0.0",
        "w               | exact: True  | approximate: True  | maxdiff: 0.0",
    ]
    assert repr(tapegrad.compare(loss, names={"h": h, "w": w})) == text


def test_gradients_and_tape_are_left_alone():
    x, w, b, h, loss = network()
    h.retain_grad()
    x.grad = torch.full((4, 3), 5.0, dtype=torch.float64)
    tapegrad.compare(loss)
    assert x.grad.unique().tolist() == [5.0]
    assert w.grad is None
    assert h.grad is None
    assert not x.data.requires_grad
    loss.backward()
    assert w.grad is not None
    assert h.grad is not None


def test_a_loss_of_any_shape_counts_as_its_sum():
    x = ours(randn(3, 2))
    assert tapegrad.compare(x.exp() * 2).exact


def test_after_a_backward_that_kept_the_tape():
    x, w, b, h, loss = network()
    loss.backward(retain_graph=True)
    assert tapegrad.compare(loss).exact


def test_under_no_grad():
    x, w, b, h, loss = network()
    with torch.no_grad():
        assert tapegrad.compare(loss).exact


def test_a_leaf_is_its_own_loss():
    x = tapegrad.tensor(2.0, requires_grad=True)
    assert tapegrad.compare(x).exact


def test_a_node_that_the_loss_does_not_use_compares_as_zeros():
    x, w, b, h, loss = network()
    unused = ours(randn(2))
    rows = tapegrad.compare(loss, names={"w": w, "unused": unused})
    assert rows.exact


def test_sequences_constants_and_state_are_replayed():
    """Tuples of tensors, constants within them, masks, running statistics."""
    x = ours(randn(6, 3))
    mean, var = torch.zeros(3).double(), torch.ones(3).double()
    y = F.batch_norm(x, mean, var, None, None, True)
    kept = mean.clone()
    out = torch.cat([x, torch.ones(1, 3).double(), y])[[0, 0, 5]].sum() + torch.stack([x[0], y[1]]).max(0).values.sum()
    rows = tapegrad.compare(out, names={"x": x, "y": y})
    assert rows.approximate
    assert torch.equal(mean, kept)


def test_a_changed_leaf_is_noticed():
    x = ours(randn(3))
    loss = (x + 1).sum()
    x.data.add_(1)
    with pytest.raises(RuntimeError, match="changed since"):
        tapegrad.compare(loss)


def test_nan_equals_nan_and_infinity_itself():
    x = tapegrad.tensor(torch.tensor([0.0, -1.0, 1.0]), requires_grad=True)
    rows = tapegrad.compare(x.sqrt() * 2 + x.log())
    assert rows.exact
    assert all(row.maxdiff == 0.0 for row in rows)


# --- rows of numbers ---


def test_a_row_of_a_small_difference():
    a, b = torch.ones(3), torch.tensor([1.0, 1.0, 1.0 + 2**-22])
    row = Row.of("x", a, b)
    assert (row.name, row.shape, row.exact, row.approximate) == ("x", (3,), False, True)
    assert row.maxdiff == 2**-22
    assert str(row) == "x               | exact: False | approximate: True  | maxdiff: 2.384185791015625e-07"


def test_a_row_of_a_large_difference():
    row = Row.of("x", torch.zeros(2), torch.tensor([0.0, 3.0]))
    assert (row.exact, row.approximate, row.maxdiff) == (False, False, 3.0)


@pytest.mark.parametrize("nothing", ["ours", "theirs", "both"])
def test_a_row_with_no_gradient(nothing):
    g = torch.ones(2)
    row = Row.of("x", None if nothing != "theirs" else g, None if nothing != "ours" else g)
    assert row.exact is (nothing == "both")
    assert row.maxdiff == (0.0 if nothing == "both" else 1.0)


def test_a_row_of_nothing():
    assert Row.of("x", torch.zeros(0, 3), torch.zeros(0, 3)).exact


def test_rows_of_nan_and_infinity():
    inf, nan = float("inf"), float("nan")
    assert Row.of("x", torch.tensor([inf, nan, -inf]), torch.tensor([inf, nan, -inf])).exact
    assert not Row.of("x", torch.tensor([1.0, nan]), torch.tensor([1.0, 1.0])).approximate
    assert not Row.of("x", torch.tensor([inf]), torch.tensor([-inf])).approximate
    assert not Row.of("x", torch.tensor([inf]), torch.tensor([1.0])).exact
