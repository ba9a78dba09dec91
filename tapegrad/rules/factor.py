"""Rules of determinants, inverses and factorizations of square matrices."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import kernel, rule
from tapegrad.torch_api.composition import composition


def pair(name: str, *values: Any) -> Any:
    """torch's named tuple of two results."""
    return getattr(torch.return_types, name)(values)


# --- determinants: d(det A) = det(A) tr(A^-1 dA) ---

det = rule(
    torch.linalg.det,
    "A",
    A=lambda g, out, A: torch.linalg.solve(A.mT, diagonal(g * out, A)),
)
# A singular matrix has a gradient too: torch nudges the zeros on the diagonal of its triangular factor.
kernel(det, A=lambda g, out, A: torch.linalg.lu_solve(*nudged(*factors(A)), diagonal(g * out, A), adjoint=strided(A)))


@rule(aux=["sign"], A=lambda g, A: torch.linalg.solve(A.mT, diagonal(g, A)))
def log_abs_det(A: Any) -> Any:
    """The logarithm of the determinant's absolute value; its sign is constant."""
    sign, logabsdet = torch.linalg.slogdet(A)
    return logabsdet, sign


kernel(log_abs_det, A=lambda g, A: torch.linalg.lu_solve(*factors(A), diagonal(g, A), adjoint=strided(A)))


def diagonal(g: Any, A: Any) -> Any:
    """A matrix with ``g`` all along its diagonal, for each matrix of a batch."""
    return g.unsqueeze(-1).unsqueeze(-1) * torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)


def factors(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The triangular factors that torch has for a backward pass: of A^T where A is stored row by row."""
    LU, pivots, _ = torch.linalg.lu_factor_ex(A if strided(A) else A.mT)
    return LU, pivots


def strided(A: torch.Tensor) -> bool:
    """Whether A is not stored row by row."""
    return not A.is_contiguous()


def nudged(LU: torch.Tensor, pivots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors with the smallest step from 1 for each 0 on the diagonal."""
    zero = LU.diagonal(0, -2, -1) == 0
    return LU + torch.diag_embed(torch.where(zero, torch.finfo(LU.dtype).eps, 0.0)), pivots


composition(torch.det)(lambda input: det(input))


@rule(A=lambda g, A_shape: g.new_zeros(A_shape))
def sign_of_det(A: Any) -> Any:
    """The sign of the determinant: a step function."""
    return torch.linalg.slogdet(A).sign


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

inv = rule(torch.linalg.inv, "A", A=lambda g, out: -out.mT @ (g @ out.mT))
# AX = B: dB = A^-T dX, and dA = -dB X^T.
solve = rule(
    torch.linalg.solve,
    "A, B, *, left=True",
    A=lambda g, out, A, B, left: outer_gradient(torch.linalg.solve(A.mT, g, left=left), out, A, B, left),
    B=lambda g, A, left: torch.linalg.solve(A.mT, g, left=left),
)
kernel(
    solve,
    A=lambda g, out, A, B, left: outer_gradient(solved(A, g, B, left), out, A, B, left),
    B=lambda g, A, B, left: solved(A, g, B, left),
)
# The same, of which only the triangle is seen.
solve_triangular = rule(
    torch.linalg.solve_triangular,
    "A, B, *, upper, left=True, unitriangular=False",
    A=lambda g, out, A, upper, left, unitriangular: triangle(
        product(
            torch.linalg.solve_triangular(A.mT, g, upper=not upper, left=left, unitriangular=unitriangular), out, left
        ),
        upper,
        unitriangular,
    ),
    B=lambda g, A, upper, left, unitriangular: torch.linalg.solve_triangular(
        A.mT, g, upper=not upper, left=left, unitriangular=unitriangular
    ),
)


def product(dB: Any, X: Any, left: bool) -> Any:
    """dA = -dB X^T, or with the unknown on the left of A, -X^T dB."""
    return -dB @ X.mT if left else -X.mT @ dB


def triangle(x: Any, upper: bool, unit: bool) -> Any:
    """The part of a matrix that a triangular one has; a diagonal of ones is given."""
    return x.triu(1 if unit else 0) if upper else x.tril(-1 if unit else 0)


def outer_gradient(dB: Any, X: Any, A: Any, B: Any, left: bool) -> Any:
    """``product``, where the right-hand sides may be vectors."""
    return -dB.unsqueeze(-1) * X.unsqueeze(-2) if is_vector(A, B) else product(dB, X, left)


def solved(A: torch.Tensor, g: torch.Tensor, B: torch.Tensor, left: bool) -> torch.Tensor:
    """dB, from the triangular factors of A itself, which torch has at hand."""
    if is_vector(A, B):
        return solved(A, g.unsqueeze(-1), A, left).squeeze(-1)
    LU, pivots, _ = torch.linalg.lu_factor_ex(A)
    dB: torch.Tensor = torch.linalg.lu_solve(LU, pivots, g, left=left, adjoint=True)
    return dB


def is_vector(A: Any, B: Any) -> bool:
    """Whether the right-hand sides are vectors: torch goes by the shape."""
    return bool(B.ndim == 1 or B.shape == A.shape[:-1])


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


@rule(input=lambda g, input_shape: g.new_zeros(input_shape), A=lambda g: g)
def coefficient(input: Any, A: Any) -> Any:
    """What torch.triangular_solve returns beside the solution; formally it depends on both arguments."""
    return A.clone()


@composition(torch.triangular_solve)
def triangular_solve(
    input: Any, A: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    matrix = A.mT if transpose else A
    solution = solve_triangular(matrix, input, upper=upper != transpose, unitriangular=unitriangular)
    return pair("triangular_solve", solution, coefficient(input, A))


# --- Cholesky: A = L L^T ---

# With P the lower triangle of L^T dL, its diagonal halved: dA = L^-T (P + P^T) L^-1 / 2.
cholesky = rule(torch.linalg.cholesky, "A, *, upper=False", A=lambda g, out, upper: cholesky_gradient(g, out, upper))


def cholesky_gradient(g: Any, L: Any, upper: bool) -> Any:
    """dA from dL: see above."""
    if upper:
        g, L = g.mT, L.mT
    P = (L.mT @ g).tril()
    P = 0.5 * (P + P.tril(-1).mT)
    P = torch.linalg.solve_triangular(L.mT, P, upper=True)
    return torch.linalg.solve_triangular(L, P, upper=False, left=False)


@composition(torch.cholesky)
def _cholesky(input: Any, upper: bool = False) -> Any:
    return cholesky(input, upper=upper)


# A = L L^T, X = A^-1 B or A^-1. As in torch, the gradient of L is not cut to its triangle.
cholesky_solve = rule(
    torch.cholesky_solve,
    "input, L, upper=False",
    input=lambda g, L, upper: torch.cholesky_solve(g, L, upper),
    L=lambda g, out, L, upper: of_factor(symmetric(torch.cholesky_solve(g, L, upper) @ out.mT), L, upper),
)
cholesky_inverse = rule(
    torch.cholesky_inverse,
    "L, upper=False",
    L=lambda g, out, L, upper: of_factor(out @ (symmetric(g) @ out), L, upper),
)


def of_factor(S: Any, L: Any, upper: bool) -> Any:
    """dL from S = -dA - dA^T."""
    return -L @ S if upper else -S @ L


def symmetric(x: Any) -> Any:
    return x + x.mT
