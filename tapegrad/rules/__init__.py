"""The rule table, a file per family; importing this package fills it."""

from tapegrad.rules import activations, cumulative, elementwise, indexing, linalg, nn, norm, reduction, shape, special

__all__ = [
    "activations",
    "cumulative",
    "elementwise",
    "indexing",
    "linalg",
    "nn",
    "norm",
    "reduction",
    "shape",
    "special",
]
