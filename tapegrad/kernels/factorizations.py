"""Kernels of determinants and linear systems: from the LU factors that torch's own backward pass uses."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import kernel
from tapegrad.rules.factorizations import (
    det,
    diagonal,
    is_vector,
    log_abs_det,
    outer_gradient,
    solve,
    unchecked_solve,
)
from tapegrad.rules.reduction import product_of_others

# --- determinants: d(det A) = det(A) tr(A^-1 dA) ---


def strided(A: torch.Tensor) -> bool:
    """Whether A is not stored row by row."""
    return not A.is_contiguous()


def lu_factors(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The triangular factors that torch has for a backward pass: of A^T where A is stored row by row."""
    LU, pivots, _ = torch.linalg.lu_factor_ex(A if strided(A) else A.mT)
    return LU, pivots


def singular_cofactors(A: torch.Tensor) -> Any:
    """The cofactors of U S V^T: det(U V^T) U S' V^T, where S' has the products of all other values of S."""
    if A.shape[-1] == 1:
        return torch.ones_like(A)
    U, S, Vh = torch.linalg.svd(A)
    return torch.linalg.det(U @ Vh).unsqueeze(-1).unsqueeze(-1) * (U * product_of_others(S, -1).unsqueeze(-2)) @ Vh


def det_gradient(g: torch.Tensor, out: torch.Tensor, A: torch.Tensor) -> Any:
    """By the triangular factors, as in torch; but of a singular matrix larger than 1 by 1, torch's gradient is 0."""
    LU, pivots = lu_factors(A)
    regular = torch.linalg.lu_solve(LU, pivots, diagonal(g * out, A), adjoint=strided(A))
    singular = (out == 0).unsqueeze(-1).unsqueeze(-1)
    if not singular.any():
        return regular
    of_singular = g.unsqueeze(-1).unsqueeze(-1) * singular_cofactors(torch.where(singular, A, 0.0))
    return torch.where(singular, of_singular, regular)


kernel(det, A=det_gradient)
kernel(log_abs_det, A=lambda g, A: torch.linalg.lu_solve(*lu_factors(A), diagonal(g, A), adjoint=strided(A)))


# --- inverses: d(A^-1) = -A^-1 dA A^-1 ---


def solve_transposed(g: torch.Tensor, A: torch.Tensor, B: torch.Tensor, left: bool) -> torch.Tensor:
    """dB, from the triangular factors of A itself, which torch has at hand."""
    if is_vector(A, B):
        return solve_transposed(g.unsqueeze(-1), A, A, left).squeeze(-1)
    LU, pivots, _ = torch.linalg.lu_factor_ex(A)
    dB: torch.Tensor = torch.linalg.lu_solve(LU, pivots, g, left=left, adjoint=True)
    return dB


for _op in (solve, unchecked_solve):
    kernel(
        _op,
        A=lambda g, out, A, B, left: outer_gradient(solve_transposed(g, A, B, left), out, A, B, left),
        B=solve_transposed,
    )
