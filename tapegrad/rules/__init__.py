"""The rule table, a file per family; importing this package fills it."""

from tapegrad.rules import einsum, elementwise, indexing, linalg, nn, reduction, shape

__all__ = ["einsum", "elementwise", "indexing", "linalg", "nn", "reduction", "shape"]
