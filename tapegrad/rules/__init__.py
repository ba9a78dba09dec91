"""The rule table, a file per family; importing this package fills it."""

from tapegrad.rules import conv, einsum, elementwise, factor, indexing, linalg, loss, nn, pool, reduction, resize, shape

__all__ = ["conv", "einsum", "elementwise", "factor", "indexing", "linalg", "loss", "nn", "pool", "reduction", "resize", "shape"]
