"""Sample calls with complex numbers, Fourier transforms, and factorizations whose parts may be complex."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.provers.samples.calls import Call, Spec, call, const, mask, real, values

SAMPLES: dict[Callable[..., Any], list[Call]] = {}
ORDER = "torch adds and multiplies in another order"
ONCE = "torch has no second gradient"


def z(*shape: int, leaf: bool = True) -> Spec:
    """Complex numbers whose real and imaginary parts are of the test's own dtype."""
    return Spec(shape, "complex", leaf)


def whole(*given: int, shape: tuple[int, ...] | None = None) -> Spec:
    """A torch tensor of these integers."""
    return Spec((len(given),) if shape is None else shape, "int", given=given, dtype=torch.int64)


def near(*calls: Call, rtol: float = 64) -> list[Call]:
    return [c.inexact(ORDER, rtol=rtol) for c in calls]


def _exact(*calls: Call) -> list[Call]:
    return list(calls)


# --- parts ---

SAMPLES[torch.complex] = [
    call(real(3), real(3)),
    call(real(2, 3), const(2, 3)),
    call(real(2, 1), real(3)),
    call(real(), real(0)),
]
SAMPLES[torch.polar] = near(
    call(real(3, lo=0.1, hi=2), real(3)), call(real(2, 3, lo=0.1, hi=2), const(3)), call(const(3), real(3))
)
SAMPLES[torch.view_as_complex] = [call(real(3, 2)), call(real(2, 3, 2)), call(real(0, 2))]
SAMPLES[torch.view_as_real] = [call(z(3)), call(z(2, 3)), call(z())]
SAMPLES[torch.imag] = [call(z(3)), call(z(2, 3)), call(z(0))]
SAMPLES[torch.real] = [call(z(3)), call(z(2, 3))]
SAMPLES[torch.Tensor.cfloat] = [call(x(3)).kink("rounded to single precision") for x in (real, z)]
SAMPLES[torch.Tensor.cdouble] = [call(real(3)), call(z(3))]
SAMPLES[torch.Tensor.chalf] = [call(real(3)).kink("rounded to half precision")]

# --- functions that are not holomorphic ---

SAMPLES[torch.abs] = [call(z(3)), call(z(2, 3))]
for _function in (torch.angle, torch.sgn):
    SAMPLES[_function] = near(*SAMPLES[torch.abs])
SAMPLES[torch.conj] = [call(z(3)), call(z(2, 3))]
SAMPLES[torch.vdot] = near(call(z(3), z(3)), call(z(3), z(3, leaf=False)))
SAMPLES[torch.linalg.vector_norm] = [call(z(3)), call(z(2, 3), 3, dim=1), call(z(2, 2), 1)]
SAMPLES[torch.var] = [call(z(4)), call(z(2, 3), 1)]
SAMPLES[torch.std] = SAMPLES[torch.var]
SAMPLES[torch.renorm] = near(call(z(2, 3), 2, 0, 0.5))
SAMPLES[torch.logcumsumexp] = [call(z(4), 0)]

# --- holomorphic ones ---

for _function in (torch.exp, torch.log, torch.sin, torch.sqrt, torch.reciprocal):
    SAMPLES[_function] = [call(z(3))]
SAMPLES[torch.cumsum] = [call(z(3), 0)]
for _function in (torch.tanh, torch.prod):
    SAMPLES[_function] = near(call(z(3)))
for _function in (torch.add, torch.sub, torch.mul, torch.div):
    SAMPLES[_function] = [call(z(2, 3), z(3)), call(z(3), real(3)), call(real(2, 3), z(3))]
SAMPLES[torch.pow] = [call(z(3), 2), call(z(3), z(3)), call(z(3), real(3))]
SAMPLES[torch.mm] = [call(z(2, 3), z(3, 2)), call(z(2, 3), z(3, 2, leaf=False))]
SAMPLES[torch.linalg.inv] = [call(z(2, 2))]
SAMPLES[torch.linalg.slogdet] = near(call(z(2, 2)))
SAMPLES[torch.linalg.lstsq] = near(call(z(3, 2), z(3, 2), driver="gels"), call(z(2, 3), z(2, 1), driver="gels"))

# --- Fourier transforms ---

for _name in ("fft", "ifft", "rfft", "ihfft", "irfft", "hfft"):
    _one, _two, _many = (getattr(torch.fft, _name + end) for end in ("", "2", "n"))
    _x = real if _name in ("rfft", "ihfft") else z
    _close = near if _name in ("hfft", "ihfft", "irfft") else _exact  # their gradients sum in another order
    SAMPLES[_one] = _close(call(_x(4)), call(_x(2, 3), n=5), call(_x(3, 2), n=2, dim=0, norm="ortho"), call(real(3)))
    SAMPLES[_two] = _close(call(_x(2, 3)), call(_x(3, 2), (2, 4), norm="forward"))
    SAMPLES[_many] = _close(call(_x(2, 3)), call(_x(2, 2, 2), dim=(0, 2)), call(_x(2, 3), s=(3, 4)))
SAMPLES[torch.stft] = _exact(
    call(real(12), 4, return_complex=True, window=const(4)), call(real(2, 9), 4, 2, center=False, return_complex=True, window=const(4)),
    call(z(8), 4, window=const(4), return_complex=True), call(real(8), 4, 2, 2, window=const(2), normalized=True, return_complex=True),
)  # fmt: skip
SAMPLES[torch.istft] = _exact(
    call(z(3, 5), 4, window=const(4, lo=0.5, hi=1)), call(z(2, 3, 4), 4, 2, window=const(4, lo=0.5, hi=1), length=5),
    call(z(4, 4), 4, window=const(4, lo=0.5, hi=1), return_complex=True), call(z(4, 4), 4, window=const(4, lo=0.5, hi=1), onesided=False),
)  # fmt: skip

# --- factorizations ---

SQUARE = [call(real(2, 2)), call(real(2, 2, 2)), call(z(2, 2))]
OTHERS = [call(real(3, 2)), call(real(2, 3)), call(z(3, 2))]
SAMPLES[torch.linalg.eigvals] = SQUARE
for _function in (
    torch.linalg.lu,
    torch.linalg.lu_factor,
    torch.linalg.lu_factor_ex,
    torch.lu,
    torch.Tensor.lu,
    torch._lu_with_info,
):
    SAMPLES[_function] = [*SQUARE, *near(*OTHERS)]
LU = values(2.0, -1.0, 0.5, 1.5, shape=(2, 2))
PIVOTS = whole(2, 2)
PIVOTS = Spec(PIVOTS.shape, "int", given=PIVOTS.given, dtype=torch.int32)
SAMPLES[torch.lu_unpack] = _exact(
    call(LU, PIVOTS), call(real(3, 2), PIVOTS), call(z(2, 2), PIVOTS, unpack_pivots=False)
)
SAMPLES[torch.linalg.lu_solve] = near(
    call(LU, PIVOTS, real(2, 3)), call(LU, PIVOTS, real(3, 2), left=False), call(LU, PIVOTS, real(2, 1), adjoint=True),
    call(z(2, 2), PIVOTS, z(2, 1), adjoint=True),
)  # fmt: skip
SAMPLES[torch.lu_solve] = near(call(real(2, 3), LU, PIVOTS), call(z(2, 1), z(2, 2), PIVOTS))
SAMPLES[torch.ormqr] = [
    c.torch_once("torch gives a second gradient for other arguments")
    for c in near(
        call(real(3, 2), real(2), real(3, 2)), call(real(3, 2), real(2), real(2, 3), left=False),
        call(real(3, 2), real(2), real(3, 1), transpose=True), call(z(2, 1), z(1), z(2, 2), transpose=True),
    )
]  # fmt: skip
SAMPLES[torch.svd_lowrank] = near(
    call(real(4, 3), q=3), call(real(2, 4), q=2), call(real(3, 3), q=3, M=real(3, 3)), rtol=64
)
SAMPLES[torch.pca_lowrank] = near(call(real(4, 3), q=3), call(real(4, 2), center=False), rtol=64)


def sizes_of_eigenvectors(A: Any) -> Any:
    """What does not depend on their phases, which mean nothing."""
    L, V = torch.linalg.eig(A)
    return L.abs().sum(-1) + V.abs()[..., 0, :].square().sum(-1)


SAMPLES[sizes_of_eigenvectors] = near(*SQUARE, rtol=64)

# --- torch's functions behind its functions ---

SAMPLES[torch.native_layer_norm] = near(
    call(real(2, 3), (3,), real(3), real(3), 1e-5), call(real(2, 3), (3,), None, None, 1e-5)
)
STATISTICS = (const(2), const(2, lo=0.5, hi=2))
SAMPLES[torch.native_batch_norm] = near(
    call(real(3, 2), real(2), real(2), *STATISTICS, True, 0.1, 1e-5), call(real(3, 2), real(2), None, *STATISTICS, False, 0.1, 1e-5)
)  # fmt: skip
SAMPLES[torch._native_batch_norm_legit] = near(
    call(real(3, 2), real(2), real(2), *STATISTICS, True, 0.1, 1e-5), call(real(3, 2), real(2), real(2), True, 0.1, 1e-5)
)  # fmt: skip
SAMPLES[torch._softmax_backward_data] = near(call(real(2, 3), real(2, 3), 1, torch.float64))
SAMPLES[torch._log_softmax_backward_data] = near(call(real(2, 3), real(2, 3), 1, torch.float64))
SAMPLES[torch.ops.aten.native_dropout_backward.default] = [call(real(2, 3), mask(2, 3), 2.0)]
SAMPLES[torch.ops.aten.max_pool2d_with_indices_backward.default] = [
    call(real(1, 1, 2, 2), real(1, 1, 4, 4), [2, 2], [2, 2], [0, 0], [1, 1], False, whole(0, 3, 9, 15, shape=(1, 1, 2, 2)))
]  # fmt: skip
INDICES = [whole(0, 1, 0), whole(2, 0, 2)]
INSIDE = Spec((3,), "bool", given=(True, False, True), dtype=torch.bool)
SAMPLES[torch._unsafe_masked_index] = [call(real(2, 3), INSIDE, INDICES, 0.0)]
SAMPLES[torch._unsafe_masked_index_put_accumulate] = [call(real(2, 3), INSIDE, INDICES, real(3))]
