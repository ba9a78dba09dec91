"""Rules of A = P L U, and of A = V diag(L) V^-1."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import rule
from tapegrad.engine.tensor import raw
from tapegrad.rules.spectral import eye, over_differences, refuse_phases

# --- A = P L U ---


def permutation(LU: Any, pivots: Any) -> Any:
    """P, as a matrix."""
    return torch.lu_unpack(raw(LU), pivots, unpack_data=False)[0]


def lu_gradient(g: Any, out: Any, pivots: Any) -> Any:
    """P L^-T (strictly lower(L^T gL) + upper(gU U^T)) U^-T of the leading square.

    ``out`` has L below its diagonal, and U. What a wide or a tall matrix has beyond its square became L^-1 A or A U^-1:
    its gradient is solved for, and what went that way is taken from those of L and U.
    """
    k = min(out.shape[-2:])
    square, right, below = out[..., :k, :k], out[..., :k, k:], out[..., k:, :k]
    g_square, g_right, g_below = g[..., :k, :k], g[..., :k, k:], g[..., k:, :k]
    L = torch.where(eye(square), 1.0, square.tril())
    U = square.triu()
    lower = L.mT @ g_square.tril(-1) - g_right @ right.mT
    upper = g_square.triu() @ U.mT - below.mT @ g_below
    inner = torch.linalg.solve_triangular(U.mT, lower.tril(-1) + upper.triu(), upper=False, left=False)
    top = torch.linalg.solve_triangular(L.mT, torch.cat([inner, g_right], -1), upper=True, unitriangular=True)
    rest = torch.linalg.solve_triangular(U.mT, g_below, upper=False, left=False)
    bottom = torch.cat([rest, torch.zeros_like(out[..., k:, k:])], -1)
    return permutation(out, pivots).to(out.dtype) @ torch.cat([top, bottom], -2)


@rule(aux=["pivots", "info"], A=lu_gradient)
def lu_factors(A: Any, pivot: Any) -> Any:
    """L, below the diagonal, and U in one matrix; the exchanges of rows; and where a pivot is 0."""
    return torch.linalg.lu_factor_ex(A, pivot=pivot)


# --- A = V diag(L) V^-1 ---


def eig_gradient(L: Any, V: Any, gL: Any, gV: Any) -> Any:
    """V^-T (diag(gL) + (V^T gV - V^T conj(V) diag(Re(V^T gV))) / (L_j - L_i)) V^T, for vectors of length 1."""
    turns = V.mT @ gV
    refuse_phases("eig", turns)
    stretch = turns.diagonal(0, -2, -1).real.unsqueeze(-2)
    inner = torch.where(eye(V), gL.unsqueeze(-1), over_differences(turns - (V.mT @ V.conj()) * stretch, L))
    return torch.linalg.solve(V.mT, inner @ V.mT)


@rule(A=lambda g, out: eig_gradient(out[..., 0, :], out[..., 1:, :], g[..., 0, :], g[..., 1:, :]))
def eig_stacked(A: Any) -> Any:
    """The eigenvalues, as a row, above the eigenvectors."""
    L, V = torch.linalg.eig(A)
    return torch.cat([L.unsqueeze(-2), V], -2)


def eigenvalues_gradient(g: Any, V: Any) -> Any:
    """V^-T diag(g) V^T."""
    return torch.linalg.solve(V.mT, g.unsqueeze(-1) * V.mT)


@rule(A=lambda g, A: eigenvalues_gradient(g, torch.linalg.eig(A)[1]))
def eigenvalues_alone(A: Any) -> Any:
    """The eigenvalues, which may be complex where A is real."""
    return torch.linalg.eigvals(A)
