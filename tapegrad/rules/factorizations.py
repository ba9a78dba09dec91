"""Rules of determinants, inverses and factorizations of square matrices."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import rule

# --- determinants: d(det A) = det(A) tr(A^-1 dA) ---


def diagonal(g: Any, A: Any) -> Any:
    """A matrix with ``g`` all along its diagonal, for each matrix of a batch."""
    return torch.diag_embed(g.unsqueeze(-1).expand(A.shape[:-1]))


MOST_MINORS = 64  # rows of a matrix; its minors take 128 MB


def minors(A: Any) -> Any:
    """For each element, the matrix without its row and its column."""
    n = A.shape[-1]
    others = torch.tensor([[k for k in range(n) if k != i] for i in range(n)], dtype=torch.long, device=A.device)
    return A[..., others[:, None, :, None], others[None, :, None, :]]


def cofactors(A: Any) -> Any:
    """The minors' determinants, in a checkerboard of signs: the derivative of the determinant of any matrix."""
    n = A.shape[-1]
    if n > MOST_MINORS:
        raise RuntimeError(
            f"det(): a singular matrix of {n} rows and columns has {n * n} minors, too many to record its gradient; "
            f"leave create_graph out"
        )
    place = torch.arange(n, device=A.device)
    return torch.linalg.det(minors(A)) * (1 - 2 * ((place.unsqueeze(-1) + place) % 2))


def det_gradient(g: Any, out: Any, A: Any) -> Any:
    """g det(A) A^-T; if a matrix is singular, by the cofactors."""
    if (out == 0).any():
        return g.unsqueeze(-1).unsqueeze(-1) * cofactors(A)
    return torch.linalg.solve(A.mT, diagonal(g * out, A))


det = rule(torch.linalg.det, "A", A=det_gradient)


@rule(aux=["sign"], A=lambda g, A: torch.linalg.solve(A.mT, diagonal(g, A)))
def log_abs_det(A: Any) -> Any:
    """The logarithm of the determinant's absolute value; its sign is constant."""
    sign, logabsdet = torch.linalg.slogdet(A)
    return logabsdet, sign


@rule(A=lambda g, out, A: torch.zeros_like(A))
def sign_of_det(A: Any) -> Any:
    """The sign of the determinant: a step function."""
    return torch.linalg.slogdet(A).sign


# --- inverses: d(A^-1) = -A^-1 dA A^-1 ---


inv = rule(torch.linalg.inv, "A", A=lambda g, out: -out.mT @ (g @ out.mT))


@rule(aux=["info"], A=inv.formulas["A"])
def unchecked_inv(A: Any, check_errors: Any) -> Any:
    """The inverse, or whatever torch makes of a singular matrix, and whether A is one."""
    return torch.linalg.inv_ex(A, check_errors=check_errors)


def matrix_gradient(dB: Any, X: Any, left: bool) -> Any:
    """dA = -dB X^T, or with the unknown on the left of A, -X^T dB."""
    return -dB @ X.mT if left else -X.mT @ dB


def is_vector(A: Any, B: Any) -> bool:
    """Whether the right-hand sides are vectors: torch goes by the shape."""
    return bool(B.ndim == 1 or B.shape == A.shape[:-1])


def outer_gradient(dB: Any, X: Any, A: Any, B: Any, left: bool) -> Any:
    """``matrix_gradient``, where the right-hand sides may be vectors."""
    return -dB.unsqueeze(-1) * X.unsqueeze(-2) if is_vector(A, B) else matrix_gradient(dB, X, left)


# AX = B: dB = A^-T dX, and dA = -dB X^T.
solve = rule(
    torch.linalg.solve,
    "A, B, *, left=True",
    A=lambda g, out, A, B, left: outer_gradient(torch.linalg.solve(A.mT, g, left=left), out, A, B, left),
    B=lambda g, A, left: torch.linalg.solve(A.mT, g, left=left),
)


@rule(aux=["info"], **solve.formulas)
def unchecked_solve(A: Any, B: Any, left: Any, check_errors: Any) -> Any:
    """The solution, or whatever torch makes of a singular matrix, and whether A is one."""
    return torch.linalg.solve_ex(A, B, left=left, check_errors=check_errors)


def triangle(x: Any, upper: bool, unit: bool) -> Any:
    """The triangle of a matrix that is read; with ``unit``, without its diagonal, which is taken to be 1."""
    return x.triu(1 if unit else 0) if upper else x.tril(-1 if unit else 0)


def solve_transposed(g: Any, A: Any, upper: bool, left: bool, unitriangular: bool) -> Any:
    """A^-T g: the transpose of an upper triangular matrix is a lower one."""
    return torch.linalg.solve_triangular(A.mT, g, upper=not upper, left=left, unitriangular=unitriangular)


# The same, for a matrix of which only the triangle is read.
solve_triangular = rule(
    torch.linalg.solve_triangular,
    "A, B, *, upper, left=True, unitriangular=False",
    A=lambda g, out, A, upper, left, unitriangular: triangle(
        matrix_gradient(solve_transposed(g, A, upper, left, unitriangular), out, left), upper, unitriangular
    ),
    B=solve_transposed,
)


@rule(input=lambda g, input_shape: g.new_zeros(input_shape), A=lambda g: g)
def coefficient(input: Any, A: Any) -> Any:
    """What torch.triangular_solve returns beside the solution; formally it depends on both arguments."""
    return A.clone()


# --- Cholesky: A = L L^H ---


def cholesky_gradient(g: Any, out: Any, upper: bool) -> Any:
    """L^-H (P + P^H) L^-1 / 2, where P is the lower triangle of L^H dL, its diagonal halved; here conjugated."""
    g, L = (g.mH, out.mH) if upper else (g, out)
    P = (L.mT @ g).tril()
    P = 0.5 * (P + P.tril(-1).mH)
    P = torch.linalg.solve_triangular(L.mT, P, upper=True)
    return torch.linalg.solve_triangular(L.conj(), P, upper=False, left=False)


cholesky = rule(torch.linalg.cholesky, "A, *, upper=False", A=cholesky_gradient)


@rule(aux=["info"], A=cholesky.formulas["A"])
def unchecked_cholesky(A: Any, upper: Any, check_errors: Any) -> Any:
    """The factor as far as it goes, and where A ceases to be positive-definite."""
    return torch.linalg.cholesky_ex(A, upper=upper, check_errors=check_errors)


def factor_gradient(S: Any, L: Any, upper: bool) -> Any:
    """dL from S = -dA - dA^H."""
    return -L.conj() @ S if upper else -S @ L.conj()


def hermitian_sum(x: Any) -> Any:
    """x + x^H."""
    return x + x.mH


# A = L L^H, X = A^-1 B or A^-1. As in torch, the gradient of L is not cut to its triangle.
cholesky_solve = rule(
    torch.cholesky_solve,
    "input, L, upper=False",
    input=lambda g, L, upper: torch.cholesky_solve(g, L.conj(), upper),
    L=lambda g, out, L, upper: factor_gradient(
        hermitian_sum(torch.cholesky_solve(g, L.conj(), upper) @ out.mT), L, upper
    ),
)
cholesky_inverse = rule(
    torch.cholesky_inverse,
    "L, upper=False",
    L=lambda g, out, L, upper: factor_gradient(out.conj() @ (hermitian_sum(g) @ out.conj()), L, upper),
)
