"""The rule table, a file per family; importing this package fills it."""

from tapegrad.rules import (
    activations,
    cumulative,
    elementwise,
    indexing,
    linalg,
    nn,
    norm,
    pieces,
    reduction,
    shape,
    special,
    statistics,
    windows,
)

__all__ = [
    "activations",
    "cumulative",
    "elementwise",
    "indexing",
    "linalg",
    "nn",
    "norm",
    "pieces",
    "reduction",
    "shape",
    "special",
    "statistics",
    "windows",
]
