"""Factorizations: torch's functions said in terms of others."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import composition
from tapegrad.rules.factorizations import (
    cholesky,
    coefficient,
    det,
    inv,
    log_abs_det,
    sign_of_det,
    solve,
    solve_triangular,
)

# --- determinants: d(det A) = det(A) tr(A^-1 dA) ---


composition(torch.det)(lambda input: det(input))


def pair(name: str, *values: Any) -> Any:
    """torch's named tuple of two results."""
    return getattr(torch.return_types, name)(values)


@composition(torch.linalg.slogdet)
def slogdet(A: Any) -> Any:
    return pair("linalg_slogdet", sign_of_det(A), log_abs_det(A)[0])


@composition(torch.slogdet)
def _slogdet(input: Any) -> Any:
    return pair("slogdet", *slogdet(input))


@composition(torch.logdet)
def logdet(input: Any) -> Any:
    logabsdet, sign = log_abs_det(input)
    return torch.where(sign == -1, torch.nan, logabsdet)


# --- inverses: d(A^-1) = -A^-1 dA A^-1 ---


@composition(torch.linalg.solve_ex)
def solve_ex(A: Any, B: Any, *, left: bool = True, check_errors: bool = False) -> Any:
    info = torch.linalg.lu_factor_ex(A.data, check_errors=check_errors).info
    return pair("linalg_solve_ex", solve(A, B, left=left), info)


composition(torch.inverse)(lambda input: inv(input))


@composition(torch.linalg.inv_ex)
def inv_ex(A: Any, *, check_errors: bool = False) -> Any:
    info = torch.linalg.inv_ex(A.data, check_errors=check_errors).info
    return pair("linalg_inv_ex", inv(A), info)


@composition(torch.linalg.cholesky_ex)
def cholesky_ex(L: Any, *, upper: bool = False, check_errors: bool = False) -> Any:
    info = torch.linalg.cholesky_ex(L.data, check_errors=check_errors).info
    return pair("linalg_cholesky_ex", cholesky(L, upper=upper), info)


@composition(torch.triangular_solve)
def triangular_solve(
    input: Any, A: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    matrix = A.mT if transpose else A
    solution = solve_triangular(matrix, input, upper=upper != transpose, unitriangular=unitriangular)
    return pair("triangular_solve", solution, coefficient(input, A))


# --- Cholesky: A = L L^T ---


@composition(torch.cholesky)
def _cholesky(input: Any, upper: bool = False) -> Any:
    return cholesky(input, upper=upper)
