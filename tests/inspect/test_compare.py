"""compare: every node beside torch.autograd, and a wrong rule is caught."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad.inspect.compare import Row
from tests.helpers import ours, randn


class Network:
    """A small one, with everything it computed."""

    def __init__(self):
        self.x, self.w, self.b = ours(randn(4, 3)), ours(randn(3, 2, seed=1)), ours(randn(2, seed=2))
        self.h = torch.tanh(self.x @ self.w + self.b)
        self.loss = (self.h * self.h).sum() + F.cross_entropy(self.h, torch.tensor([0, 1, 1, 0]))


# --- rows ---


def test_by_default_every_node_has_a_row_by_its_name():
    net = Network()
    rows = tapegrad.compare(net.loss)
    assert rows.exact
    assert rows.approximate
    names = [row.name for row in rows]
    assert {"net.x", "net.w", "net.b", "net.h", "net.loss"} <= set(names)
    assert len(rows) == 3 + len(tapegrad.tape(net.loss))
    assert len(set(names)) == len(names)
    assert all(row.maxdiff == 0.0 for row in rows)
    assert {row.name: row.shape for row in rows}["net.w"] == (3, 2)


def test_names_choose_the_rows_and_their_order():
    net = Network()
    rows = tapegrad.compare(net.loss, names={"h": net.h, "weights": net.w})
    assert [row.name for row in rows] == ["h", "weights"]


def test_the_table():
    net = Network()
    text = str(tapegrad.compare(net.loss, names={"h": net.h, "w": net.w}))
    assert text.splitlines() == [
        "h               | exact: True  | approximate: True  | maxdiff: 0.0",
        "w               | exact: True  | approximate: True  | maxdiff: 0.0",
    ]
    assert repr(tapegrad.compare(net.loss, names={"h": net.h, "w": net.w})) == text


def test_gradients_and_tape_are_left_alone():
    net = Network()
    net.h.retain_grad()
    net.x.grad = torch.full((4, 3), 5.0, dtype=torch.float64)
    tapegrad.compare(net.loss)
    assert net.x.grad.unique().tolist() == [5.0]
    assert net.w.grad is None
    assert net.h.grad is None
    assert not net.x.data.requires_grad
    net.loss.backward()
    assert net.w.grad is not None
    assert net.h.grad is not None


def test_a_loss_of_any_shape_counts_as_its_sum():
    x = ours(randn(3, 2))
    assert tapegrad.compare(x.exp() * 2).exact


def test_after_a_backward_that_kept_the_tape():
    net = Network()
    net.loss.backward(retain_graph=True)
    assert tapegrad.compare(net.loss).exact


def test_under_no_grad():
    net = Network()
    with torch.no_grad():
        assert tapegrad.compare(net.loss).exact


def test_a_leaf_is_its_own_loss():
    x = tapegrad.tensor(2.0, requires_grad=True)
    assert tapegrad.compare(x).exact


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


def test_a_tape_without_numbers():
    x = tapegrad.tensor(torch.ones(2, device="meta"), requires_grad=True)
    with pytest.raises(ValueError, match="compare: the tape is on the meta device"):
        tapegrad.compare((x * x).sum())
