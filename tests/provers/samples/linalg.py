"""Sample calls of linear algebra: products, determinants, inverses, factorizations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tests.provers.samples.calls import Call, call, const, real, values

SAMPLES: dict[Callable[..., Any], list[Call]] = {}

# --- products ---

SAMPLES[torch.mm] = [
    call(real(2, 3), real(3, 2)), call(real(33, 17), real(17, 9)), call(real(2, 0), real(0, 3)),
    call(real(2, 3), const(3, 2)), call(input=real(2, 3), mat2=real(3, 1)), call(const(1, 2), real(2, 3)),
]  # fmt: skip
SAMPLES[torch.bmm] = [
    call(real(2, 2, 3), real(2, 3, 1)), call(real(5, 33, 17), real(5, 17, 9)), call(real(0, 2, 3), real(0, 3, 2)),
    call(const(2, 1, 3), real(2, 3, 2)),
]  # fmt: skip
SAMPLES[torch.mv] = [
    call(real(2, 3), real(3)),
    call(real(33, 17), real(17)),
    call(real(0, 3), real(3)),
    call(const(2, 3), real(3)),
]
for function in (torch.dot, torch.vdot):
    SAMPLES[function] = [
        call(real(3), real(3)),
        call(real(65), real(65)),
        call(real(0), real(0)),
        call(real(3), const(3)),
    ]
for function in (torch.outer, torch.ger):
    SAMPLES[function] = [
        call(real(3), real(2)),
        call(real(33), real(17)),
        call(real(0), real(2)),
        call(const(2), real(3)),
    ]
SAMPLES[torch.inner] = [
    call(real(3), real(3)), call(real(2, 3), real(3)), call(real(2, 3), real(2, 3)), call(real(), real(3)),
    call(real(2, 3), real()), call(real(33, 17), real(9, 17)), call(real(2, 0), real(3, 0)),
]  # fmt: skip
SAMPLES[torch.linalg.vecdot] = [
    call(real(3), real(3)), call(real(2, 3), real(2, 3)), call(real(2, 3), real(3)), call(real(2, 3), real(2, 3), dim=0),
    call(real(33, 17), real(33, 17)), call(real(0, 3), real(0, 3)), call(x=real(2, 3), y=real(2, 3)),
]  # fmt: skip
SCALED = [{}, {"beta": 0.5, "alpha": -2}, {"alpha": 0.7}]
for function, shapes in (
    (torch.addmm, [((2, 2), (2, 3), (3, 2)), ((2,), (2, 3), (3, 2)), ((33, 9), (33, 17), (17, 9)), ((), (2, 0), (0, 3))]),
    (torch.addmv, [((2,), (2, 3), (3,)), ((), (2, 3), (3,)), ((33,), (33, 17), (17,))]),
    (torch.addr, [((2, 3), (2,), (3,)), ((3,), (2,), (3,)), ((33, 17), (33,), (17,))]),
    (torch.addbmm, [((2, 2), (2, 2, 3), (2, 3, 2)), ((2,), (2, 2, 1), (2, 1, 2)), ((9, 7), (3, 9, 8), (3, 8, 7))]),
    (torch.baddbmm, [((2, 2, 2), (2, 2, 1), (2, 1, 2)), ((2, 1), (2, 2, 3), (2, 3, 1)), ((3, 9, 7), (3, 9, 8), (3, 8, 7))]),
):  # fmt: skip
    SAMPLES[function] = [call(*[real(*s) for s in three], **options) for three in shapes for options in SCALED]
    SAMPLES[function] += [call(const(*shapes[0][0]), real(*shapes[0][1]), const(*shapes[0][2]))]
SAMPLES[torch.Tensor.__rmatmul__] = [
    call(real(3, 2), real(2, 3)),
    call(real(3), real(2, 3)),
    call(real(2, 3, 2), real(3)),
]
SAMPLES[torch.einsum] = [
    call("ij,jk->ik", real(2, 3), real(3, 2)), call("bij,bjk->bik", real(2, 2, 1), real(2, 1, 3)), call("ij->ji", real(2, 3)),
    call("ij->", real(2, 3)), call("ij->i", real(2, 3)), call("ii->i", real(3, 3)), call("ii", real(3, 3)), call("i,j", real(3), real(2)),
    call("i,i->", real(3), real(3)), call("...ij,...jk->...ik", real(2, 2, 2), real(2, 1)), call("ij,ij->ij", real(2, 3), real(2, 3)),
    call("i,ij,j->", real(2), real(2, 3), real(3)).inexact("torch adds in another order", rtol=16), call("ij,jk", real(2, 3), const(3, 2)), call("b...,b->...", real(2, 3), real(2)),
    call("iij->ij", real(2, 2, 3)), call("ij,k->ik", real(2, 3), real(2)), call("ab,ab->a", real(1, 3), real(2, 3)),
    call(" ij , jk -> ik ", [real(2, 3), real(3, 2)]),
    call("blh,hd->bld", real(3, 9, 8), real(8, 17)), call("iii->i", real(2, 2, 2)), call("ij,jk->ik", real(0, 3), real(3, 2)),
]  # fmt: skip
SAMPLES[F.bilinear] = [
    call(real(2, 2), real(2, 3), real(1, 2, 3)), call(real(2), real(3), real(2, 2, 3), real(2)), call(real(9, 7), real(9, 5), real(4, 7, 5), real(4)),
    call(real(2, 2, 2), real(2, 2, 1), real(2, 2, 1), bias=real(2)), call(const(2, 2), real(2, 3), const(1, 2, 3)),
    call(real(2, 1), const(2, 3), real(2, 1, 3)),
]  # fmt: skip
SAMPLES[torch.tensordot] = [
    call(real(2, 3), real(3, 2), 1), call(real(2, 3), real(2, 3)), call(real(2, 3), real(2, 3), 2), call(real(2), real(3), 0),
    call(real(2, 3, 2), real(3, 2), ([1, 2], [0, 1])), call(real(2, 3), real(2, 3), dims=([0], [0])), call(real(1, 2), real(3, 2), ([0], [0])),
    call(real(3, 2), real(1, 2), ([0, 1], [0, 1])), call(real(5, 9, 7), real(7, 9, 4), ([1, 2], [1, 0])), call(real(2, 0), real(0, 3), 1),
]  # fmt: skip
SAMPLES[torch.kron] = [
    call(real(2, 2), real(2, 1)), call(real(2), real(3)), call(real(2), real(2, 3)), call(real(2, 1, 2), real(2)), call(real(), real(3)),
    call(real(9, 7), real(5, 3)), call(const(2, 2), real(2, 1)),
]  # fmt: skip
SAMPLES[torch.linalg.multi_dot] = [
    call([real(2, 3), real(3, 2)]), call([real(2, 1), real(1, 3), real(3, 1)]), call([real(3), real(3, 2), real(2)]), call([real(2), real(2, 3)]),
    call([real(2, 2), const(2, 2), real(2, 2)]), call([real(9, 7), real(7, 3), real(3, 8), real(8, 2)]), call([real(2, 3), real(3)]),
    call([real(9, 2), real(2, 9), real(9, 1), real(1, 9), real(9, 3)]),
]  # fmt: skip
SAMPLES[torch.chain_matmul] = [call(real(2, 3), real(3, 2)), call(real(2, 1), real(1, 3), real(3, 1)), call(real(2, 3))]
SAMPLES[torch.linalg.matrix_power] = [
    call(real(2, 2), n).inexact("a batch of small matrices", rtol=16) if n == 3 else call(real(2, 2), n) for n in (1, 2, 3, 4, 5, -1, -2)
] + [call(real(2, 2), 0).zeros("torch has zeros, not products with zero"), call(real(2, 2, 2), 2), call(real(9, 9, lo=-0.3, hi=0.3), 6)]  # fmt: skip
SAMPLES[torch.matrix_power] = [call(real(2, 2), 3).inexact("a batch of small matrices", rtol=16), call(real(3, 3), n=2)]
SAMPLES[torch.trace] = [call(real(3, 3)), call(real(2, 3)), call(real(33, 17)), call(real(0, 2))]
SAMPLES[torch.linalg.cross] = [
    call(real(3), real(3)), call(real(2, 3), real(2, 3)), call(real(3, 2), real(3, 2), dim=0), call(const(3), real(3)),
    call(real(33, 3), real(33, 3)), call(real(0, 3), real(0, 3)),
]  # fmt: skip
SAMPLES[torch.cross] = [
    call(real(2, 3), real(2, 3)),
    call(real(3, 2), real(3, 2)),
    call(real(2, 3), real(2, 3), -1),
    call(real(3, 3), real(3, 3), 1),
    call(real(3, 3), real(3, 3)),
]

# --- determinants and inverses ---

SQUARE = [
    call(real(2, 2)),
    call(real(1, 1)),
    call(real(2, 2, 2)),
    call(real(9, 9)),
    call(real(3, 3)),
    call(real(0, 2, 2)),
]
POSITIVE = values(2.0, 0.5, 0.5, 1.0, shape=(2, 2))  # definite, for a Cholesky factor
SAMPLES[torch.linalg.det] = [c for c in SQUARE if c.args[0].shape != (1, 1)]
SAMPLES[torch.det] = SAMPLES[torch.linalg.det]
SAMPLES[torch.linalg.slogdet] = SQUARE
SAMPLES[torch.slogdet] = SQUARE
SAMPLES[torch.logdet] = [call(POSITIVE), call(values(0.0, 1.0, 1.0, 0.0, shape=(2, 2))).kink("not a number")]
SAMPLES[torch.linalg.inv] = SQUARE
SAMPLES[torch.inverse] = SQUARE
SAMPLES[torch.linalg.inv_ex] = SQUARE
SAMPLES[torch.linalg.solve] = [
    call(real(2, 2), real(2, 3)), call(real(2, 2), real(2)), call(real(2, 2, 2), real(2, 2)), call(real(2, 2, 2), real(2, 2, 1)),
    call(real(2, 2), real(1, 2), left=False), call(real(2, 2), real(2, 2, 1)), call(real(9, 9), real(9, 4)), call(const(2, 2), real(2, 1)),
    call(real(2, 2), const(2)), call(real(2, 2), real(2, 0)).zeros("of nothing"),
]  # fmt: skip
SAMPLES[torch.linalg.solve_ex] = SAMPLES[torch.linalg.solve]
LOWER = values(1.5, 0.0, -0.7, 0.8, shape=(2, 2))
UPPER = values(1.5, -0.7, 0.0, 0.8, shape=(2, 2))
SAMPLES[torch.linalg.solve_triangular] = [
    call(LOWER, real(2, 3), upper=False), call(UPPER, real(2, 3), upper=True), call(LOWER, real(3, 2), upper=False, left=False),
    call(UPPER, real(2, 1), upper=True, unitriangular=True), call(real(2, 2, 2), real(2, 2, 1), upper=True), call(UPPER, const(2, 1), upper=True),
    call(const(2, 2), real(2, 2), upper=False),
]  # fmt: skip
SAMPLES[torch.triangular_solve] = [
    call(real(2, 3), UPPER), call(real(2, 1), LOWER, False), call(real(2, 1), UPPER, transpose=True), call(real(2, 1), UPPER, unitriangular=True),
]  # fmt: skip
SAMPLES[torch.linalg.cholesky] = [
    call(POSITIVE).kink("torch reads one triangle"),
    call(POSITIVE, upper=True).kink("torch reads one triangle"),
]
SAMPLES[torch.linalg.cholesky_ex] = SAMPLES[torch.linalg.cholesky]
if hasattr(torch, "cholesky"):  # deprecated by torch, and due to go
    SAMPLES[torch.cholesky] = [
        call(POSITIVE).kink("torch reads one triangle"),
        call(POSITIVE, True).kink("torch reads one triangle"),
    ]
SAMPLES[torch.cholesky_solve] = [
    call(real(2, 3), LOWER).kink("torch reads one triangle"), call(real(2, 1), UPPER, upper=True).kink("torch reads one triangle"),
    call(real(2, 1), const(2, 2)),
]  # fmt: skip
SAMPLES[torch.cholesky_inverse] = [
    call(LOWER).kink("torch reads one triangle"),
    call(UPPER, True).kink("torch reads one triangle"),
]


def cholesky_of_product(x: Any) -> Any:
    """Of a matrix that is symmetric however ``x`` is changed, for finite differences."""
    return torch.linalg.cholesky(x @ x.mT)


SAMPLES[cholesky_of_product] = [call(real(2, 3)), call(real(2, 2, 3)), call(real(7, 9))]

# --- eigenvalues, singular values, QR ---

SPECTRAL = "a product is rounded in another order"
TALL, WIDE, MANY = real(3, 2), real(2, 3), real(2, 2, 2)


def rounded(*calls: Call) -> list[Call]:
    return [c.inexact(SPECTRAL, rtol=64) for c in calls]


SAMPLES[torch.linalg.eigvalsh] = [
    c.kink("torch reads one triangle") for c in rounded(call(POSITIVE), call(real(2, 2), "U"), call(MANY))
]
SAMPLES[torch.linalg.eigh] = SAMPLES[torch.linalg.eigvalsh]
SAMPLES[torch.linalg.svdvals] = rounded(call(TALL), call(WIDE), call(MANY))
SAMPLES[torch.linalg.svd] = rounded(call(TALL, False), call(WIDE, full_matrices=False), call(MANY))
SAMPLES[torch.svd] = rounded(call(TALL), call(WIDE), call(TALL, compute_uv=False))
SAMPLES[torch.linalg.cond] = rounded(call(real(2, 2)), call(real(2, 2), -2), call(TALL))
SAMPLES[torch.linalg.qr] = rounded(call(TALL), call(WIDE), call(MANY), call(real(2, 2), mode="complete"))
if hasattr(torch, "qr"):  # likewise
    SAMPLES[torch.qr] = rounded(call(TALL), call(WIDE))
SAMPLES[torch.linalg.pinv] = rounded(
    call(TALL),
    call(WIDE),
    call(real(2, 2)),
    call(MANY),
    call(TALL, 1e-3),
    call(TALL, rtol=1e-3),
    call(POSITIVE, hermitian=True).kink("torch reads one triangle"),
)
SAMPLES[torch.pinverse] = rounded(call(TALL), call(WIDE))
SAMPLES[torch.linalg.matrix_exp] = rounded(call(real(2, 2)), call(MANY), call(real(1, 1)))
SAMPLES[torch.matrix_exp] = rounded(call(real(2, 2)))
SAMPLES[torch.linalg.tensorinv] = [call(real(1, 2, 2)), call(real(2, 1, 2), ind=1)]
SAMPLES[torch.linalg.tensorsolve] = [
    call(real(2, 2), real(2)),
    call(real(1, 2, 2), real(1, 2)),
    call(real(2, 2, 1), real(2), dims=(0,)),
]
# LAPACK's default, gelsy, has bits that depend on where in memory the matrices lie.
SAMPLES[torch.linalg.lstsq] = rounded(
    call(TALL, real(3, 2), driver="gels"),
    call(WIDE, real(2, 2), driver="gels"),
    call(POSITIVE, real(2, 1), driver="gelsd"),
    call(real(3, 2), real(3), driver="gelss"),
    call(real(2, 3, 2), real(2, 3), driver="gels"),
    call(TALL, real(3, 2), 1e-3, driver="gelsd"),
    call(TALL, const(3, 1), driver="gelss"),
)
SAMPLES[torch.linalg.vander] = [
    call(real(3)),
    call(real(2), N=4),
    call(real(2, 2), N=2),
    call(real(), N=2),
    call(x=real(3)),
]


def eigenvectors_of_sum(x: Any) -> Any:
    """Of a matrix that is symmetric however ``x`` is changed; squared, for their signs mean nothing."""
    L, V = torch.linalg.eigh(x + x.mT)
    return L.sum(-1) + (V**2)[..., 0, 0]


SAMPLES[eigenvectors_of_sum] = rounded(call(real(2, 2)), call(real(3, 3)))
