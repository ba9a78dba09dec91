"""Eigenvalues, singular values and QR in torch's named tuples, and the functions that are made of them."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.errors import MissingRule
from tapegrad.rules.factorizations import inv
from tapegrad.rules.spectral import (
    eigenvalues,
    eigh_stacked,
    least_squares,
    matrix_exp,
    pseudoinverse,
    qr_stacked,
    singular_values,
    squared_miss,
    svd_stacked,
    unstack_qr,
    unstack_svd,
    values_alone,
)
from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.functions.factorizations import named_tuple

# --- A = V diag(L) V^H ---


@composition(torch.linalg.eigh)
def eigh(A: Any, UPLO: str = "L") -> Any:
    both = eigh_stacked(A, UPLO)
    return named_tuple("linalg_eigh", both[..., 0, :].real, both[..., 1:, :])


@composition(torch.linalg.eigvalsh)
def eigvalsh(A: Any, UPLO: str = "L") -> Any:
    return eigenvalues(A, UPLO)[0]


# --- A = U diag(S) V^H ---


@composition(torch.linalg.svd)
def svd(A: Any, full_matrices: bool = True, *, driver: Any = None) -> Any:
    stacked, U_full, Vh_full = svd_stacked(A, full_matrices, driver)
    U, S, V = unstack_svd(stacked, A.shape)
    S, Vh, k = S.real, V.mH, S.shape[-1]
    if U_full.shape[-1] > k:  # what completes the bases takes no gradient, as in torch
        U = torch.cat([U, U_full[..., k:]], -1)
    if Vh_full.shape[-2] > k:
        Vh = torch.cat([Vh, Vh_full[..., k:, :]], -2)
    return named_tuple("linalg_svd", U, S, Vh)


@composition(torch.svd)
def _svd(input: Any, some: bool = True, compute_uv: bool = True) -> Any:
    if not compute_uv:
        *batch, m, n = input.shape
        return named_tuple("svd", input.new_zeros(*batch, m, m), svdvals(input), input.new_zeros(*batch, n, n))
    U, S, Vh = svd(input, not some)
    return named_tuple("svd", U, S, Vh.mH)


@composition(torch.linalg.svdvals)
def svdvals(A: Any, *, driver: Any = None) -> Any:
    recorded = torch.is_grad_enabled() and A.requires_grad
    return singular_values(A, driver)[0] if recorded else values_alone(A, driver=driver)


@composition(torch.linalg.cond)
def cond(A: Any, p: Any = None) -> Any:
    if not A.numel():
        return A.detach().sum((-2, -1))  # 0, as in torch a constant
    if p in (None, 2, -2):
        S = svdvals(A)
        return S[..., -1] / S[..., 0] if p == -2 else S[..., 0] / S[..., -1]
    return torch.linalg.matrix_norm(A, p) * torch.linalg.matrix_norm(inv(A), p)


# --- A = Q R ---


@composition(torch.linalg.qr)
def qr(A: Any, mode: str = "reduced") -> Any:
    if mode == "r" or (mode == "complete" and A.shape[-2] > A.shape[-1]):
        raise MissingRule(f"qr(): there is no gradient with mode={mode!r}; use mode='reduced'")
    return named_tuple("linalg_qr", *unstack_qr(qr_stacked(A, mode), A.shape[-2]))


@composition(*[torch.qr] if hasattr(torch, "qr") else [])  # deprecated by torch, and due to go
def _qr(input: Any, some: bool = True) -> Any:
    return named_tuple("qr", *qr(input, "reduced" if some else "complete"))


# --- inverses and functions of a matrix ---


@composition(torch.linalg.pinv)
def pinv(A: Any, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Any:
    return pseudoinverse(A, rcond, atol, rtol, hermitian)


@composition(torch.pinverse)
def pinverse(input: Any, rcond: float = 1e-15) -> Any:
    return pseudoinverse(input, rcond, None, None, False)


@composition(torch.linalg.lstsq)
def lstsq(A: Any, B: Any, rcond: Any = None, *, driver: Any = None) -> Any:
    if B.ndim == 1 or B.shape == A.shape[:-1]:  # a vector, or one for each matrix
        columns = lstsq(A, B.unsqueeze(-1), rcond, driver=driver)
        return named_tuple("linalg_lstsq", columns[0].squeeze(-1), *columns[1:])
    driver = driver or ("gels" if A.is_cuda else "gelsy")
    X, rank, singular_values = least_squares(A, B, rcond, driver)
    given = driver != "gelsy" and A.shape[-2] > A.shape[-1] and (driver == "gels" or bool((rank == A.shape[-1]).all()))
    misses = squared_miss(A, B, rcond, driver) if given else X.real.reshape(-1)[:0]
    return named_tuple("linalg_lstsq", X, misses, rank, singular_values)


composition(torch.matrix_exp)(lambda input: matrix_exp(input))


@composition(torch.linalg.tensorinv)
def tensorinv(A: Any, ind: int = 2) -> Any:
    rows, columns = A.shape[:ind], A.shape[ind:]
    if ind <= 0 or rows.numel() != columns.numel():
        raise RuntimeError(f"tensorinv(): expected a square of shape, got {tuple(rows)} by {tuple(columns)}")
    return inv(A.reshape(rows.numel(), columns.numel())).reshape(*columns, *rows)


@composition(torch.linalg.tensorsolve)
def tensorsolve(A: Any, B: Any, dims: Any = None) -> Any:
    if dims is not None:
        dims = [d % A.ndim for d in dims]
        A = A.permute([*[d for d in range(A.ndim) if d not in dims], *dims])
    shape = A.shape[B.ndim :]
    if shape.numel() != B.numel():
        raise RuntimeError(f"tensorsolve(): {tuple(A.shape)} does not fit {tuple(B.shape)}")
    return torch.linalg.solve(A.reshape(B.numel(), B.numel()), B.reshape(-1)).reshape(shape)


@composition(torch.linalg.vander)
def vander(x: Any, *, N: int | None = None) -> Any:
    x = x.view(1) if x.ndim == 0 else x
    n = x.shape[-1] if N is None else N
    powers = x.unsqueeze(-1).expand(*x.shape, n - 1).cumprod(-1)
    return torch.cat([torch.ones_like(x).unsqueeze(-1), powers], -1)
