"""Kernels of the bilinear form: torch's own product of three factors."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import kernel
from tapegrad.rules.einsum import bilinear


def trilinear(a: Any, b: Any, c: Any, dims: Any, batch: Any = None) -> Any:
    """A product of three, over dimensions (n, o, i, j), of which the batch n may be several."""
    a, b, c = (x if k == 1 and batch is not None else x.reshape(-1, x.shape[-1]) for k, x in enumerate((a, b, c)))
    out = torch._trilinear(a, b, c, *dims)
    return out if batch is None else out.view(*batch[:-1], out.shape[-1])


# Dims: those that each of the three factors lacks, and those summed.
kernel(
    bilinear,
    input1=lambda g, input2, weight: trilinear(g, weight, input2, ([2, 3], [0], [1, 2], [1, 3]), input2.shape),
    input2=lambda g, input1, weight: trilinear(input1, weight, g, ([1, 3], [0], [2, 3], [1, 2]), input1.shape),
    weight=lambda g, input1, input2: trilinear(input1, g, input2, ([1, 3], [2, 3], [1, 2], [0])),
)
