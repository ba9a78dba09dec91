"""What is derived of random programs is true; ``python -m tests.provers.derivations 5000`` tries more of them."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

import tapegrad
from docs.derivations import CASES
from tapegrad.algebra import sums, terms
from tapegrad.algebra.definitions import Definitions
from tests.provers.derivations import run


def test_random_programs():
    assert run(150, seed=10_000) == []


EXERCISE_2, EXERCISE_3 = CASES[0], CASES[1]


def derived(case):
    return case.derive(case.run(torch.Generator().manual_seed(0)))


def test_a_onehot_that_sums_to_too_much_is_caught(monkeypatch):
    assert "each row of onehot(Yb) sums to 1\n" in f"{derived(EXERCISE_2)}\n"
    monkeypatch.setattr(sums, "ONEHOT_SUM", Fraction(1001, 1000))
    found = derived(EXERCISE_2)
    assert "1.001" not in str(found)
    assert "1001" not in str(found)
    assert "since each row of onehot(Yb)" not in str(found)
    assert found.check()


def test_a_sum_of_ones_that_is_one_too_few_is_caught(monkeypatch):
    assert "bnraw sums to 0" in str(derived(EXERCISE_3))
    monkeypatch.setattr(sums, "size_of", lambda index: index[1] - 1)
    found = derived(EXERCISE_3)
    assert "sums to 0" not in str(found)
    assert found.formula != EXERCISE_3.formula
    assert found.check()


def test_a_rule_that_is_read_wrongly_is_not_printed(monkeypatch):
    def off_by_one(self, record):
        for node, p in pulled_back(self, record):
            yield node, terms.scale(p, Fraction(1001, 1000))

    pulled_back = Definitions._pulled_back
    monkeypatch.setattr(Definitions, "_pulled_back", off_by_one)
    with pytest.raises(ValueError, match="does not give the engine's gradient, so it is not printed"):
        derived(EXERCISE_3)


def test_what_is_caught_leaves_a_true_gradient(monkeypatch):
    monkeypatch.setattr(sums, "ONEHOT_SUM", Fraction(1001, 1000))
    variables = EXERCISE_2.run(torch.Generator().manual_seed(0))
    found = EXERCISE_2.derive(variables)
    space: dict[str, object] = {}
    exec(found.source(), space)
    (truth,) = tapegrad.grad(variables["loss"], [variables["logits"]], retain_graph=True)
    torch.testing.assert_close(space["gradient"](**found.bindings()), truth.data)


@pytest.mark.parametrize("seed", [203, 78576, 79145, 88585])
def test_what_was_wrong_once(seed):
    assert run(1, seed) == []
