"""The rule table, a file per family; importing this package fills it."""

from tapegrad.rules import einsum, elementwise, factor, indexing, linalg, nn, reduction, shape

__all__ = ["einsum", "elementwise", "factor", "indexing", "linalg", "nn", "reduction", "shape"]
