"""Rules of eigenvalues, singular values and QR, and of the inverses and functions of matrices that go with them.

A factorization has several results that take a gradient, and an op has one: its factors, stacked. They are taken apart
by indexing, so a gradient for one of them arrives with zeros for the others.
"""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import rule
from tapegrad.engine.tensor import raw

# --- A = V diag(L) V^H ---


def eye(like: Any) -> torch.Tensor:
    """True on the diagonal."""
    return torch.eye(like.shape[-1], dtype=torch.bool, device=like.device)


def over_differences(x: Any, values: Any) -> Any:
    """x_ij / (v_j - v_i), and 0 where x is 0, so that equal values do no harm unless the vectors take a gradient."""
    differences = values.unsqueeze(-2) - values.unsqueeze(-1)
    return x / torch.where(eye(x) | (x == 0), 1.0, differences)


def skew(x: Any) -> Any:
    """x - x^H."""
    return x - x.mH


def refuse_phases(name: str, turns: Any) -> None:
    """Refuse a gradient with respect to the phases of vectors, which nothing determines where they are complex.

    Args:
        name: the function, for the message.
        turns: on its diagonal, how the loss changes as each vector is turned: in its imaginary parts.
    """
    imaginary = turns.diagonal(0, -2, -1).imag
    if not torch.allclose(raw(imaginary), torch.zeros_like(raw(imaginary)), rtol=1e-2, atol=1e-2):
        raise RuntimeError(
            f"{name}(): complex vectors are determined up to a factor of absolute value 1, on which the loss depends; "
            f"make it independent of that, as (V * V.conj()).real is"
        )


def eigh_gradient(L: Any, V: Any, gL: Any, gV: Any) -> Any:
    """conj(V) (diag(gL) + skew(V^T gV) / 2 (L_j - L_i)) V^T."""
    if V.is_complex():
        refuse_phases("eigh", V.mT @ gV)
    inner = torch.where(eye(V), gL.unsqueeze(-1), over_differences(0.5 * skew(V.mT @ gV), L))
    return V.conj() @ (inner @ V.mT)


@rule(A=lambda g, out: eigh_gradient(out[..., 0, :], out[..., 1:, :], g[..., 0, :], g[..., 1:, :]))
def eigh_stacked(A: Any, UPLO: str) -> Any:
    """The eigenvalues, as a row, above the eigenvectors."""
    L, V = torch.linalg.eigh(A, UPLO)
    return torch.cat([L.unsqueeze(-2), V], -2)


def eigenvalues_gradient(g: Any, V: Any) -> Any:
    """conj(V) diag(g) V^T."""
    return V.conj() @ (g.unsqueeze(-1) * V.mT)


@rule(aux=["V"], A=lambda g, A, UPLO: eigenvalues_gradient(g, torch.linalg.eigh(A, UPLO)[1]))
def eigenvalues(A: Any, UPLO: str) -> Any:
    """The eigenvalues alone; the eigenvectors serve their gradient."""
    L, V = torch.linalg.eigh(A, UPLO)
    return L, V


# --- A = U diag(S) V^H ---


def unstack_svd(x: Any, shape: torch.Size) -> tuple[Any, Any, Any]:
    """U, S and V."""
    m = shape[-2]
    return x[..., :m, :], x[..., m, :], x[..., m + 1 :, :]


def svd_gradient(U: Any, S: Any, V: Any, gU: Any, gS: Any, gV: Any) -> Any:
    """U (skew(U^H gU) / E S + S skew(V^H gV) / E + diag(gS)) V^H, E_ij = S_j^2 - S_i^2; then what leaves U and V.

    So for torch's gradients; here are their conjugates. Where numbers are complex, the diagonal has phases, too.
    """
    m, n, k = U.shape[-2], V.shape[-2], S.shape[-1]
    left, right = U.mT @ gU, V.mT @ gV
    if U.is_complex():
        refuse_phases("svd", left + right)
        gS = gS + 1j * left.diagonal(0, -2, -1).imag / S
    left, right = over_differences(skew(left), S * S), over_differences(skew(right), S * S)
    inner = left * S.unsqueeze(-2) + S.unsqueeze(-1) * right
    inner = torch.where(eye(inner), gS.unsqueeze(-1), inner)
    if m > k:
        outer = gU / S.unsqueeze(-2)
        return (U.conj() @ inner + (outer - U.conj() @ (U.mT @ outer))) @ V.mT
    if n > k:
        outer = gV / S.unsqueeze(-2)
        return U.conj() @ (inner @ V.mT + (outer - V.conj() @ (V.mT @ outer)).mH)
    return U.conj() @ (inner @ V.mT)


@rule(
    aux=["U", "Vh"],
    A=lambda g, out, A: svd_gradient(*unstack_svd(out, A.shape), *unstack_svd(g, A.shape)),
)
def svd_stacked(A: Any, full_matrices: bool, driver: Any) -> Any:
    """U, S as a row, and V, one above the other, as far as there are singular values; then all of U and V^H."""
    U, S, Vh = torch.linalg.svd(A, full_matrices, driver=driver)
    k = S.shape[-1]
    return torch.cat([U[..., :k], S.unsqueeze(-2), Vh[..., :k, :].mH], -2), U, Vh


def thin_svd(A: Any, driver: Any) -> tuple[Any, Any]:
    """U and V^H, as far as there are singular values."""
    U, _, Vh = torch.linalg.svd(A, False, driver=driver)
    return U, Vh


def singular_values_gradient(g: Any, U: Any, Vh: Any) -> Any:
    """The conjugate of U diag(g) V^H; the smaller of the two factors is scaled."""
    U, Vh = U.conj(), Vh.conj()
    return U @ (g.unsqueeze(-1) * Vh) if U.shape[-2] >= Vh.shape[-1] else (U * g.unsqueeze(-2)) @ Vh


@rule(aux=["U", "Vh"], A=lambda g, A, driver: singular_values_gradient(g, *thin_svd(A, driver)))
def singular_values(A: Any, driver: Any) -> Any:
    """The singular values alone; U and V^H serve their gradient."""
    U, S, Vh = torch.linalg.svd(A, False, driver=driver)
    return S, U, Vh


values_alone = rule(torch.linalg.svdvals, "A, *, driver=None")  # without a gradient, torch's quicker way


# --- A = Q R ---


def unstack_qr(x: Any, m: int) -> tuple[Any, Any]:
    """Q and R."""
    return x[..., :m, :], x[..., m:, :].mT


def qr_gradient(Q: Any, R: Any, gQ: Any, gR: Any) -> Any:
    """(gQ + Q sym(triu(gR R^H - Q^H gQ))) R^-H; for a wide A, of its leading square, with the rest's gradient in gR.

    So for torch's gradients; here are their conjugates.
    """
    k, n = R.shape[-2:]
    if k < n:
        inner = Q.mT @ gQ - gR @ R.mT
        inner = torch.where(eye(inner), inner - inner.real, skew(inner).tril())
        square = torch.linalg.solve_triangular(R[..., :k].mT, inner, upper=False, left=False)
        return Q.conj() @ (gR + torch.cat([square, torch.zeros_like(R[..., k:])], -1))
    inner = (gR @ R.mT - Q.mT @ gQ).triu()
    inner = torch.where(eye(inner), inner.real, inner + inner.triu(1).mH)
    return torch.linalg.solve_triangular(R.mT, gQ + Q.conj() @ inner, upper=False, left=False)


@rule(A=lambda g, out, A: qr_gradient(*unstack_qr(out, A.shape[-2]), *unstack_qr(g, A.shape[-2])))
def qr_stacked(A: Any, mode: str) -> Any:
    """Q above R^T."""
    Q, R = torch.linalg.qr(A, mode)
    return torch.cat([Q, R.mT], -2)


# --- inverses and functions of a matrix ---


def pinv_gradient(gH: Any, P: Any, A: Any) -> Any:
    """The adjoint of dA -> dP, which stands below, at the gradient whose transposed conjugate is ``gH``."""
    return -(P @ gH @ P).mH + (gH - A @ (P @ gH)) @ P @ P.mH + P.mH @ P @ (gH - (gH @ P) @ A)


# P = A^+ (Golub & Pereyra 1973): dP = -P dA P + P P^H dA^H (1 - A P) + (1 - P A) dA^H P^H P.
@rule(A=lambda g, out, A: pinv_gradient(g.mH, out.conj(), A.conj()))
def pseudoinverse(A: Any, rcond: Any, atol: Any, rtol: Any, hermitian: bool) -> Any:
    """A^+, with torch's two ways to say which singular values count as 0."""
    if rcond is not None:
        return torch.linalg.pinv(A, rcond, hermitian)
    return torch.linalg.pinv(A, atol=atol, rtol=rtol, hermitian=hermitian)


def least_squares_gradient(g: Any, out: Any, A: Any, B: Any) -> Any:
    """That of X = P B, by dP: conj(B - A X) (P P^H c)^T - P^T g X^T + P^T conj(X) ((1 - P A) c)^T, for c = conj(g)."""
    P, c = torch.linalg.pinv(A), g.conj()
    missed = (B - A @ out).conj() @ (P @ P.mH @ c).mT
    return missed - P.mT @ g @ out.mT + P.mT @ out.conj() @ (c - P @ (A @ c)).mT


@rule(
    aux=["rank", "singular_values"],
    A=least_squares_gradient,
    B=lambda g, A: torch.linalg.pinv(A).mT @ g,
)
def least_squares(A: Any, B: Any, rcond: Any, driver: Any) -> Any:
    """The X of least |A X - B|; of several, the least."""
    X, _, *others = torch.linalg.lstsq(A, B, rcond, driver=driver)
    return X, *others


def miss(A: Any, B: Any) -> tuple[Any, Any]:
    """A X - B, and X."""
    X = torch.linalg.pinv(A) @ B
    return A @ X - B, X


def squared_miss_gradient(g: Any, A: Any, B: Any) -> Any:
    """2 g conj(A X - B) X^T: X moves as well, but the sum of squares does not change by that, for it is the least."""
    difference, X = miss(A, B)
    return 2 * g.unsqueeze(-2) * difference.conj() @ X.mT


@rule(A=squared_miss_gradient, B=lambda g, A, B: -2 * g.unsqueeze(-2) * miss(A, B)[0].conj())
def squared_miss(A: Any, B: Any, rcond: Any, driver: Any) -> Any:
    """|A X - B|^2 of each column."""
    return torch.linalg.lstsq(A, B, rcond, driver=driver).residuals


def exp_derivative(A: Any, E: Any) -> Any:
    """The derivative of exp at A in the direction E."""
    n = A.shape[-1]
    blocks = torch.cat([torch.cat([A, E], -1), torch.cat([torch.zeros_like(A), A], -1)], -2)
    return torch.linalg.matrix_exp(blocks)[..., :n, n:]


# exp of the block matrix [[A, E], [0, A]] has the derivative of exp in the direction E in its corner.
matrix_exp = rule(torch.linalg.matrix_exp, "A", A=lambda g, A: exp_derivative(A.mT, g))
