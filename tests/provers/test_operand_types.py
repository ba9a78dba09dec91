"""Mixed dtypes, 0-d tensors and NumPy's numbers do as in torch; ``operand_types.py`` says how."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from tapegrad.rules import elementwise, reduction
from tests.provers.operand_types import differences, plain, runs, variants
from tests.provers.planted import planted
from tests.provers.samples.calls import call, real

pytestmark = pytest.mark.filterwarnings("ignore")  # strange arguments are their trade


@pytest.mark.parametrize("part", range(4))
def test_every_sixteenth_run(part):
    """The program makes them all."""
    assert [text for run in islice(runs(), part * 16, None, 64) for text in differences(*run)] == []


def test_numbers_that_numpy_has_exactly():
    assert [*map(repr, variants(2, np.uint8))] == ["np.uint8(2)"]
    assert not [*variants(-2, np.uint8)]
    assert not [*variants(True, np.int64)]
    assert len([*variants((1, 2), np.int64)]) == 2


@pytest.mark.parametrize("dim", [np.int64(0), np.uint8(0)])
def test_a_planted_fault_is_found(dim):
    """A mean over dim 0 that divides by the number of all elements, since NumPy's 0 is no int."""
    wrong = {"input": lambda g, input_shape: torch.ones(input_shape, dtype=g.dtype) * g / input_shape.numel()}
    with planted(reduction.mean, **wrong):
        assert [*differences(torch.mean, call(real(2, 3), dim, True), plain)]
    assert not [*differences(torch.mean, call(real(2, 3), dim, True), plain)]


def test_a_negated_unsigned_number_is_found():
    with planted(elementwise.scaled_sub, other=lambda g, alpha: g * -np.uint8(alpha)):
        assert [*differences(torch.sub, call(real(2, 3), real(3), alpha=np.uint8(2)), plain)]
