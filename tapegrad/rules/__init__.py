"""The rule table, a file per family; importing this package fills it."""

from tapegrad.rules import (
    attention,
    conv,
    einsum,
    elementwise,
    factor,
    indexing,
    linalg,
    loss,
    nn,
    norm,
    pool,
    products,
    reduction,
    resize,
    shape,
)

__all__ = [
    "attention",
    "conv",
    "einsum",
    "elementwise",
    "factor",
    "indexing",
    "linalg",
    "loss",
    "nn",
    "norm",
    "pool",
    "products",
    "reduction",
    "resize",
    "shape",
]
