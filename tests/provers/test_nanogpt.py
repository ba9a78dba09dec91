"""nanoGPT's functions: values in torch's bits, and gradients too, or within a bound."""

from __future__ import annotations

import pytest
import torch

from tests.provers.nanogpt import FUNCTIONS, measure

EXACT = {"linear", "embedding", "cross_entropy"}
# torch has the others' gradients from fused kernels, which sum and round within registers.
BOUNDS = {torch.float32: 4e-6, torch.float64: 1e-14}


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_are_exact_and_gradients_within_the_bound(name, dtype):
    found = measure(name, 20, dtype)
    assert found.values == found.inputs
    assert found.difference <= BOUNDS[dtype]
    if name in EXACT:
        assert found.gradients == found.inputs
