"""The rule table, a file per family; importing this package fills it."""

from tapegrad.rules import elementwise, indexing, linalg, nn, pieces, reduction, shape, windows

__all__ = ["elementwise", "indexing", "linalg", "nn", "pieces", "reduction", "shape", "windows"]
