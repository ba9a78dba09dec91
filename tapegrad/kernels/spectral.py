"""Kernels of eigenvalues and singular values: the vectors are known from the forward pass, and not computed again."""

from __future__ import annotations

from tapegrad.engine.table import kernel
from tapegrad.rules.spectral import eigenvalues, eigenvalues_gradient, singular_values, singular_values_gradient

# --- A = V diag(L) V^T ---


kernel(eigenvalues, A=eigenvalues_gradient)


# --- A = U diag(S) V^T ---


kernel(singular_values, A=singular_values_gradient)
