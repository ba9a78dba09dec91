"""Rules of determinants, inverses and factorizations of square matrices."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import rule

# --- determinants: d(det A) = det(A) tr(A^-1 dA) ---


def diagonal(g: Any, A: Any) -> Any:
    """A matrix with ``g`` all along its diagonal, for each matrix of a batch."""
    return g.unsqueeze(-1).unsqueeze(-1) * torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)


det = rule(
    torch.linalg.det,
    "A",
    A=lambda g, out, A: torch.linalg.solve(A.mT, diagonal(g * out, A)),
)


@rule(aux=["sign"], A=lambda g, A: torch.linalg.solve(A.mT, diagonal(g, A)))
def log_abs_det(A: Any) -> Any:
    """The logarithm of the determinant's absolute value; its sign is constant."""
    sign, logabsdet = torch.linalg.slogdet(A)
    return logabsdet, sign


@rule(A=lambda g, A_shape: g.new_zeros(A_shape))
def sign_of_det(A: Any) -> Any:
    """The sign of the determinant: a step function."""
    return torch.linalg.slogdet(A).sign


# --- inverses: d(A^-1) = -A^-1 dA A^-1 ---


inv = rule(torch.linalg.inv, "A", A=lambda g, out: -out.mT @ (g @ out.mT))


def product(dB: Any, X: Any, left: bool) -> Any:
    """dA = -dB X^T, or with the unknown on the left of A, -X^T dB."""
    return -dB @ X.mT if left else -X.mT @ dB


def is_vector(A: Any, B: Any) -> bool:
    """Whether the right-hand sides are vectors: torch goes by the shape."""
    return bool(B.ndim == 1 or B.shape == A.shape[:-1])


def outer_gradient(dB: Any, X: Any, A: Any, B: Any, left: bool) -> Any:
    """``product``, where the right-hand sides may be vectors."""
    return -dB.unsqueeze(-1) * X.unsqueeze(-2) if is_vector(A, B) else product(dB, X, left)


# AX = B: dB = A^-T dX, and dA = -dB X^T.
solve = rule(
    torch.linalg.solve,
    "A, B, *, left=True",
    A=lambda g, out, A, B, left: outer_gradient(torch.linalg.solve(A.mT, g, left=left), out, A, B, left),
    B=lambda g, A, left: torch.linalg.solve(A.mT, g, left=left),
)


def triangle(x: Any, upper: bool, unit: bool) -> Any:
    """The part of a matrix that a triangular one has; a diagonal of ones is given."""
    return x.triu(1 if unit else 0) if upper else x.tril(-1 if unit else 0)


def solved_backwards(g: Any, A: Any, upper: bool, left: bool, unitriangular: bool) -> Any:
    """A^-T g: the transpose of an upper triangular matrix is a lower one."""
    return torch.linalg.solve_triangular(A.mT, g, upper=not upper, left=left, unitriangular=unitriangular)


# The same, of which only the triangle is seen.
solve_triangular = rule(
    torch.linalg.solve_triangular,
    "A, B, *, upper, left=True, unitriangular=False",
    A=lambda g, out, A, upper, left, unitriangular: triangle(
        product(solved_backwards(g, A, upper, left, unitriangular), out, left), upper, unitriangular
    ),
    B=solved_backwards,
)


@rule(input=lambda g, input_shape: g.new_zeros(input_shape), A=lambda g: g)
def coefficient(input: Any, A: Any) -> Any:
    """What torch.triangular_solve returns beside the solution; formally it depends on both arguments."""
    return A.clone()


# --- Cholesky: A = L L^T ---


def cholesky_gradient(g: Any, L: Any, upper: bool) -> Any:
    """dA from dL: see above."""
    if upper:
        g, L = g.mT, L.mT
    P = (L.mT @ g).tril()
    P = 0.5 * (P + P.tril(-1).mT)
    P = torch.linalg.solve_triangular(L.mT, P, upper=True)
    return torch.linalg.solve_triangular(L, P, upper=False, left=False)


# With P the lower triangle of L^T dL, its diagonal halved: dA = L^-T (P + P^T) L^-1 / 2.
cholesky = rule(torch.linalg.cholesky, "A, *, upper=False", A=lambda g, out, upper: cholesky_gradient(g, out, upper))


def of_factor(S: Any, L: Any, upper: bool) -> Any:
    """dL from S = -dA - dA^T."""
    return -L @ S if upper else -S @ L


def symmetric(x: Any) -> Any:
    return x + x.mT


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
