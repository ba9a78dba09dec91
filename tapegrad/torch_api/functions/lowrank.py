"""Singular values of what a matrix does to a few random directions: Halko, Martinsson & Tropp 2011, algorithm 5.1."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.torch_api.composition import composition


def approximate_basis(A: Any, q: int, niter: int) -> Any:
    """Orthonormal columns that nearly span the range of A: algorithm 4.4."""
    R = torch.randn(A.shape[-1], q, dtype=A.dtype, device=A.device)
    Q = torch.linalg.qr(A @ R).Q
    for _ in range(niter):
        Q = torch.linalg.qr(A.mH @ Q).Q
        Q = torch.linalg.qr(A @ Q).Q
    return Q


@composition(torch.svd_lowrank)
def svd_lowrank(A: Any, q: int | None = 6, niter: int | None = 2, M: Any = None) -> tuple[Any, Any, Any]:
    A = A if M is None else A - M.broadcast_to(A.shape)
    wide = A.shape[-2] < A.shape[-1]
    A = A.mH if wide else A
    Q = approximate_basis(A, 6 if q is None else q, 2 if niter is None else niter)
    U, S, Vh = torch.linalg.svd(Q.mH @ A, full_matrices=False)
    U, V = Q @ U, Vh.mH
    return (V, S, U) if wide else (U, S, V)


@composition(torch.pca_lowrank)
def pca_lowrank(A: Any, q: int | None = None, center: bool = True, niter: int = 2) -> Any:
    q = min(6, *A.shape[-2:]) if q is None else q
    if not 0 <= q <= min(A.shape[-2:]):
        raise ValueError(f"pca_lowrank(): q must be from 0 to min(m, n), {min(A.shape[-2:])} for this A, not {q}")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)
