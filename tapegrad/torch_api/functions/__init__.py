"""torch's functions that are said in terms of others; importing this package enters them in the table."""

from tapegrad.torch_api.functions import (
    factorizations,
    indexing,
    matmul,
    matrix_products,
    norms,
    reduction,
    shape,
    slicing,
    spectral,
    statistics,
)

__all__ = [
    "factorizations",
    "indexing",
    "matmul",
    "matrix_products",
    "norms",
    "reduction",
    "shape",
    "slicing",
    "spectral",
    "statistics",
]
