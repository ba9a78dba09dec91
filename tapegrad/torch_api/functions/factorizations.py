"""Determinants, inverses and solvers as torch returns them: its named tuples, its ``_ex`` forms, its older names."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.rules.factorizations import (
    cholesky,
    coefficient,
    det,
    inv,
    log_abs_det,
    sign_of_det,
    solve_triangular,
    unchecked_cholesky,
    unchecked_inv,
    unchecked_solve,
)
from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.raw import raw

# --- determinants: d(det A) = det(A) tr(A^-1 dA) ---


composition(torch.det)(lambda input: det(input))


def named_tuple(name: str, *values: Any) -> Any:
    """torch's named tuple of several results."""
    return getattr(torch.return_types, name)(values)


@composition(torch.linalg.slogdet)
def slogdet(A: Any) -> Any:
    return named_tuple("linalg_slogdet", sign_of_det(A), log_abs_det(A)[0])


@composition(torch.slogdet)
def _slogdet(input: Any) -> Any:
    return named_tuple("slogdet", *slogdet(input))


@composition(torch.logdet)
def logdet(input: Any) -> Any:
    logabsdet, sign = log_abs_det(input)
    if input.is_complex():
        return logabsdet + sign_of_det(input).log()
    return torch.where(sign == -1, torch.nan, logabsdet)


# --- inverses: d(A^-1) = -A^-1 dA A^-1 ---


@composition(torch.linalg.solve_ex)
def solve_ex(A: Any, B: Any, *, left: bool = True, check_errors: bool = False) -> Any:
    return named_tuple("linalg_solve_ex", *unchecked_solve(A, B, left, check_errors))


composition(torch.inverse)(lambda input: inv(input))


@composition(torch.linalg.inv_ex)
def inv_ex(A: Any, *, check_errors: bool = False) -> Any:
    return named_tuple("linalg_inv_ex", *unchecked_inv(A, check_errors))


@composition(torch.linalg.cholesky_ex)
def cholesky_ex(L: Any, *, upper: bool = False, check_errors: bool = False) -> Any:
    return named_tuple("linalg_cholesky_ex", *unchecked_cholesky(L, upper, check_errors))


@composition(torch.triangular_solve)
def triangular_solve(
    input: Any, A: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    matrix = A.mT if transpose else A
    solution = solve_triangular(matrix, input, upper=upper != transpose, unitriangular=unitriangular)
    return named_tuple("triangular_solve", solution, coefficient(input, A.expand(*solution.shape[:-2], *A.shape[-2:])))


# --- Cholesky: A = L L^T ---


@composition(*[torch.cholesky] if hasattr(torch, "cholesky") else [])  # deprecated by torch, and due to go
def _cholesky(input: Any, upper: bool = False) -> Any:
    return cholesky(input, upper=upper)


@composition(torch.linalg.householder_product, torch.orgqr)
def householder_product(A: Any, tau: Any) -> Any:
    """The first columns of the product of reflections I - tau v v^H; each v is a column of A below its diagonal."""
    m, n = A.shape[-2:]
    if not m >= n >= tau.shape[-1]:
        raise RuntimeError(
            f"linalg.householder_product(): A, of shape {tuple(A.shape)}, must have as many columns as tau, of shape "
            f"{tuple(tau.shape)}, has elements, or more, and as many rows as columns, or more"
        )
    eye = torch.eye(m, n, dtype=A.dtype, device=A.device)
    below = A.tril(-1) + eye
    product = torch.where(torch.ones_like(raw(A), dtype=torch.bool), eye, A)  # recorded, even without a reflection
    for i in reversed(range(tau.shape[-1])):
        v = below[..., i : i + 1]
        product = product - tau[..., i : i + 1, None] * v @ (v.mH @ product)
    return product
