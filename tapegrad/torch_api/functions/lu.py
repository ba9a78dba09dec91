"""LU factors, eigenvalues of any matrix, and products with reflections, as torch returns them."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import TABLE
from tapegrad.rules.factorizations import solve_triangular
from tapegrad.rules.lu import eig_stacked, eigenvalues_alone, lu_factors
from tapegrad.torch_api.composition import asking, composition
from tapegrad.torch_api.functions.factorizations import named_tuple
from tapegrad.torch_api.raw import raw

# --- A = P L U ---


@composition(torch.linalg.lu_factor)
def lu_factor(A: Any, *, pivot: bool = True) -> Any:
    return named_tuple("linalg_lu_factor", *lu_factors(A, pivot)[:2])


@composition(torch.linalg.lu_factor_ex)
def lu_factor_ex(A: Any, *, pivot: bool = True, check_errors: bool = False) -> Any:
    if check_errors:
        torch.linalg.lu_factor_ex(raw(A), pivot=pivot, check_errors=True)  # raises torch's own error
    return named_tuple("linalg_lu_factor_ex", *lu_factors(A, pivot))


def triangles(LU: Any) -> tuple[Any, Any]:
    """L, with ones on its diagonal, and U."""
    m, n = LU.shape[-2:]
    k = min(m, n)
    return LU[..., :k].tril(-1) + torch.eye(m, k, dtype=LU.dtype, device=LU.device), LU[..., :k, :].triu()


@composition(torch.linalg.lu)
def lu(A: Any, *, pivot: bool = True) -> Any:
    LU, pivots, _ = lu_factors(A, pivot)
    # torch pivots always where it has no other way, and says nothing of P where it did not.
    P = torch.lu_unpack(raw(LU), pivots, unpack_data=False)[0] if pivot else raw(LU).new_empty(0)
    return named_tuple("linalg_lu", P, *triangles(LU))


@composition(torch.lu)
def _lu(A: Any, pivot: bool = True, get_infos: bool = False, out: Any = None) -> Any:
    factors = lu_factors(A, pivot)
    return named_tuple("_lu_with_info", *factors) if get_infos else factors[:2]


# The method returns a plain tuple.
TABLE[torch.Tensor.lu] = asking(
    torch.Tensor.lu, lambda input, pivot=True, get_infos=False: lu_factors(input, pivot)[: 3 if get_infos else 2]
)


@composition(torch._lu_with_info)
def _lu_with_info(input: Any, pivot: bool = True, check_errors: bool = True) -> Any:
    return named_tuple("_lu_with_info", *lu_factors(input, pivot))


@composition(torch.lu_unpack)
def lu_unpack(LU_data: Any, LU_pivots: Any, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
    P, L, U = torch.lu_unpack(raw(LU_data), raw(LU_pivots), unpack_data, unpack_pivots)
    return named_tuple("lu_unpack", P, *(triangles(LU_data) if unpack_data else (L, U)))


@composition(torch.linalg.lu_solve)
def lu_solve(LU: Any, pivots: Any, B: Any, *, left: bool = True, adjoint: bool = False) -> Any:
    """A = P L U, so that A^-1 = U^-1 L^-1 P^T."""
    P = torch.lu_unpack(raw(LU), raw(pivots), unpack_data=False)[0]
    if not left:  # X A = B is A^H X^H = B^H
        return lu_solve(LU, pivots, B.mH, adjoint=not adjoint).mH
    if adjoint:
        X = solve_triangular(LU.mH, B, upper=False)
        return P @ solve_triangular(LU.mH, X, upper=True, unitriangular=True)
    X = solve_triangular(LU, P.mT @ B, upper=False, unitriangular=True)
    return solve_triangular(LU, X, upper=True)


@composition(torch.lu_solve)
def _lu_solve(input: Any, LU_data: Any, LU_pivots: Any) -> Any:
    return lu_solve(LU_data, LU_pivots, input)


# --- A = V diag(L) V^-1 ---


@composition(torch.linalg.eig)
def eig(A: Any) -> Any:
    both = eig_stacked(A)
    return named_tuple("linalg_eig", both[..., 0, :], both[..., 1:, :])


@composition(torch.linalg.eigvals)
def eigvals(A: Any) -> Any:
    return eigenvalues_alone(A)


# --- Q, a product of reflections I - tau v v^H ---


@composition(torch.ormqr)
def ormqr(input: Any, tau: Any, other: Any, left: bool = True, transpose: bool = False) -> Any:
    if not left:  # other Q is (Q^H other^H)^H
        return ormqr(input, tau, other.mH, True, not transpose).mH
    m, k = input.shape[-2:]
    v = input.tril(-1) + torch.eye(m, k, dtype=input.dtype, device=input.device)
    order = range(tau.shape[-1]) if transpose else reversed(range(tau.shape[-1]))
    factors = tau.conj() if transpose and tau.is_complex() else tau
    for i in order:
        column = v[..., i : i + 1]
        other = other - factors[..., i : i + 1, None] * column @ (column.mH @ other)
    return other
