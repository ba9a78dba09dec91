"""The rule table, a file per family; importing this package fills it."""

from tapegrad.rules import (
    attention,
    conv,
    dropout,
    einsum,
    elementwise,
    factor,
    indexing,
    linalg,
    loss,
    nn,
    normalization,
    pool,
    products,
    reduction,
    resize,
    shape,
)

__all__ = [
    "attention",
    "conv",
    "dropout",
    "einsum",
    "elementwise",
    "factor",
    "indexing",
    "linalg",
    "loss",
    "nn",
    "normalization",
    "pool",
    "products",
    "reduction",
    "resize",
    "shape",
]
