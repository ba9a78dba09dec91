"""Kernels of spectral: the mathematics of the rules, on raw tensors."""

from __future__ import annotations

from tapegrad.engine.table import kernel
from tapegrad.rules.spectral import eigenvalues, singular_gradient, singular_values, values_gradient

# --- A = V diag(L) V^T ---


kernel(eigenvalues, A=lambda g, V: values_gradient(g, V))


# --- A = U diag(S) V^T ---


kernel(singular_values, A=lambda g, U, Vh: singular_gradient(g, U, Vh))
