"""Kernels of factorizations: the mathematics of the rules, on raw tensors."""

from __future__ import annotations

import torch

from tapegrad.engine.table import kernel
from tapegrad.rules.factorizations import det, diagonal, is_vector, log_abs_det, outer_gradient, solve

# --- determinants: d(det A) = det(A) tr(A^-1 dA) ---


def strided(A: torch.Tensor) -> bool:
    """Whether A is not stored row by row."""
    return not A.is_contiguous()


def factors(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The triangular factors that torch has for a backward pass: of A^T where A is stored row by row."""
    LU, pivots, _ = torch.linalg.lu_factor_ex(A if strided(A) else A.mT)
    return LU, pivots


def nudged(LU: torch.Tensor, pivots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors with the smallest step from 1 for each 0 on the diagonal."""
    zero = LU.diagonal(0, -2, -1) == 0
    return LU + torch.diag_embed(torch.where(zero, torch.finfo(LU.dtype).eps, 0.0)), pivots


# A singular matrix has a gradient too: torch nudges the zeros on the diagonal of its triangular factor.
kernel(det, A=lambda g, out, A: torch.linalg.lu_solve(*nudged(*factors(A)), diagonal(g * out, A), adjoint=strided(A)))
kernel(log_abs_det, A=lambda g, A: torch.linalg.lu_solve(*factors(A), diagonal(g, A), adjoint=strided(A)))


# --- inverses: d(A^-1) = -A^-1 dA A^-1 ---


def solved(A: torch.Tensor, g: torch.Tensor, B: torch.Tensor, left: bool) -> torch.Tensor:
    """dB, from the triangular factors of A itself, which torch has at hand."""
    if is_vector(A, B):
        return solved(A, g.unsqueeze(-1), A, left).squeeze(-1)
    LU, pivots, _ = torch.linalg.lu_factor_ex(A)
    dB: torch.Tensor = torch.linalg.lu_solve(LU, pivots, g, left=left, adjoint=True)
    return dB


kernel(
    solve,
    A=lambda g, out, A, B, left: outer_gradient(solved(A, g, B, left), out, A, B, left),
    B=lambda g, A, B, left: solved(A, g, B, left),
)
