"""Kernels of mm and addmm: a matrix stored by columns gets its gradient by columns, as in torch."""

from __future__ import annotations

from tapegrad.engine.table import kernel
from tapegrad.kernels.matmul import by_columns
from tapegrad.rules.matrix_products import addmm, mm

# --- products of fixed dimensions ---


kernel(
    mm,
    input=lambda g, input, mat2: (mat2 @ g.t()).t() if by_columns(input) else g @ mat2.t(),
    mat2=lambda g, input, mat2: (g.t() @ input).t() if by_columns(mat2) else input.t() @ g,
)


# --- a product added to something ---


kernel(
    addmm,
    mat1=lambda g, mat1, mat2, alpha: ((mat2 @ g.t()).t() if by_columns(mat1) else g @ mat2.t()) * alpha,
    mat2=lambda g, mat1, mat2, alpha: ((g.t() @ mat1).t() if by_columns(mat2) else mat1.t() @ g) * alpha,
)
