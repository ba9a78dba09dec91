"""Products of matrices in any layout: torch's bits, for it computes some gradients by columns."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.helpers import assert_program_agrees, randn

PRODUCTS = {
    "matmul": (lambda x, y, b: x @ y.mT, 2),
    "mm": (lambda x, y, b: torch.mm(x, y.t()), 2),
    "addmm": (lambda x, y, b: torch.addmm(b, x, y.t()), 2),
    "linear": (lambda x, y, b: F.linear(x, y), 2),
    "linear with a bias": (F.linear, 2),
    "linear of a batch": (lambda x, y, b: F.linear(x, y), 3),
    "linear of a batch, with a bias": (F.linear, 3),
    "linear of a vector": (F.linear, 1),
}


def laid_out(layout: str, *shape: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    if layout == "by columns":
        return randn(*reversed(shape), dtype=dtype, seed=seed).permute(*reversed(range(len(shape))))
    if layout == "with gaps":
        return randn(*[2 * n for n in shape], dtype=dtype, seed=seed)[(slice(None, None, 2),) * len(shape)]
    return randn(*shape, dtype=dtype, seed=seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("right", ["by rows", "by columns", "with gaps"])
@pytest.mark.parametrize("left", ["by rows", "by columns", "with gaps"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_gradients_are_torchs_in_any_layout(name, left, right, dtype):
    product, ndim = PRODUCTS[name]
    x = laid_out(left, *(4, 32, 30)[-ndim:], dtype=dtype, seed=1)
    y = laid_out(right, 64, 30, dtype=dtype, seed=2)
    assert_program_agrees(product, x, y, randn(64, dtype=dtype, seed=3))
