"""Rules said again for raw tensors, for torch's bits or for speed; importing this package hands them to the ops."""

from tapegrad.kernels import (
    activations,
    convolution,
    crossentropy,
    cumulative,
    einsum,
    elementwise,
    factorizations,
    half_precision,
    indexing,
    losses,
    matmul,
    matrix_products,
    normalization,
    reduction,
    slicing,
    spectral,
)

__all__ = [
    "activations",
    "convolution",
    "crossentropy",
    "cumulative",
    "einsum",
    "elementwise",
    "factorizations",
    "half_precision",
    "indexing",
    "losses",
    "matmul",
    "matrix_products",
    "normalization",
    "reduction",
    "slicing",
    "spectral",
]
