"""The mathematics of the rules for raw tensors: for the bits, or for speed."""

from tapegrad.kernels import (
    factorizations,
    indexing,
    matmul,
    matrix_products,
    reduction,
    slicing,
    spectral,
)

__all__ = [
    "factorizations",
    "indexing",
    "matmul",
    "matrix_products",
    "reduction",
    "slicing",
    "spectral",
]
