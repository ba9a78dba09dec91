"""``torch.autocast``: the casts that torch makes inside a function, made and recorded before it.

Torch casts below the functions that we run, so that a result would be of another dtype than the arguments that were
saved. Once a program enters ``torch.autocast``, the functions it concerns get roads that cast by torch's own lists, and
then run with it switched off. Programs that never do pay nothing.

The lists are those of https://docs.pytorch.org/docs/stable/amp.html#autocast-op-reference, and
``tests/provers/autocast.py`` finds by program what they lack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import torch

from tapegrad.engine import backward
from tapegrad.engine.op import Op
from tapegrad.engine.signature import name_of
from tapegrad.engine.table import TABLE, listeners, ops
from tapegrad.engine.tensor import Tensor, adopted
from tapegrad.engine.walk import walk
from tapegrad.nn import quiet
from tapegrad.torch_api import methods
from tapegrad.torch_api.dispatch import tensors_in
from tapegrad.tracebacks import trim

# In the lower precision, on any device; what has products of matrices inside is cast as a whole.
LOWER = set(
    """
    linear matmul __matmul__ __rmatmul__ mm bmm addmm addbmm baddbmm linalg_vecdot prelu scaled_dot_product_attention
    conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d convolution
    einsum tensordot inner chain_matmul linalg_multi_dot rnn_tanh rnn_relu rnn_tanh_cell rnn_relu_cell
    """.split()
)
# In float32, on any device.
FULL = set(
    """
    cross_entropy nll_loss mse_loss l1_loss smooth_l1_loss huber_loss kl_div binary_cross_entropy
    binary_cross_entropy_with_logits cosine_embedding_loss hinge_embedding_loss margin_ranking_loss multi_margin_loss
    multilabel_margin_loss poisson_nll_loss soft_margin_loss triplet_margin_loss ctc_loss linear_cross_entropy
    cdist prod
    """.split()
)
ALONE = {  # on one device only
    "cpu": (
        set(),
        set(
            """
            avg_pool3d max_pool3d adaptive_avg_pool3d adaptive_max_pool3d fractional_max_pool2d fractional_max_pool3d
            lp_pool3d max_unpool1d max_unpool2d max_unpool3d grid_sample grid_sampler quantile nanquantile trace
            cholesky cholesky_inverse cholesky_solve inverse qr svd triangular_solve linalg_cholesky linalg_cholesky_ex
            linalg_cond linalg_eigh linalg_eigvalsh linalg_householder_product linalg_inv linalg_inv_ex linalg_qr
            linalg_solve linalg_svd linalg_svdvals linalg_tensorinv linalg_tensorsolve pinverse
            """.split()
        ),
    ),
    "cuda": (
        set("addmv addr mv gru_cell lstm_cell".split()),
        set(
            """
            pow __pow__ __rpow__ reciprocal __rtruediv__ __rdiv__ acos asin cosh cosine_similarity cumprod cumsum dist
            erfinv exp expm1 group_norm layer_norm log log10 log_softmax log1p log2 norm normalize pdist renorm rsqrt
            sinh softmax softmin softplus sum tan
            """.split()
        ),
    ),
}
PROMOTED = {"cat", "stack", "index_copy"}  # to the widest dtype among the arguments
# Torch runs parts of these in the lower precision; here they run as they are given, which is more precise.
AS_GIVEN = {"linalg_pinv", "linalg_matrix_power", "matrix_power", "cov", "corrcoef", "affine_grid", "lstm", "gru"}

_set_enabled, _is_any_enabled = torch.set_autocast_enabled, torch._C._is_any_autocast_enabled


def policy(name: str, device: str) -> str:
    """What becomes of the arguments of a function: "lower", "full", "promoted", "as given", or nothing."""
    lower, full = ALONE.get(device, (set(), set()))
    for kind, names in (
        ("lower", LOWER | lower), ("full", FULL | full), ("promoted", PROMOTED), ("as given", AS_GIVEN),
    ):  # fmt: skip
        if name in names:
            return kind
    return ""


def _floats(value: Any, device: str) -> Iterator[Any]:
    """The tensors that autocast casts."""
    for t in tensors_in(value):
        if t.is_floating_point() and t.dtype is not torch.float64 and t.device.type == device:
            yield t


def _cast(value: Any, dtype: torch.dtype, device: str) -> Any:
    if isinstance(value, (Tensor, torch.Tensor)):
        return value.to(dtype) if any(True for _ in _floats(value, device)) else value
    if type(value) is tuple or type(value) is list:
        return type(value)([_cast(v, dtype, device) for v in value])
    return {k: _cast(v, dtype, device) for k, v in value.items()} if type(value) is dict else value


def casting(run: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A function that casts its arguments inside autocast, and runs with it switched off."""

    @wraps(run)
    def cast_first(*args: Any, **kwargs: Any) -> Any:
        if not _is_any_enabled():
            try:
                return run(*args, **kwargs)
            except Exception as error:
                trim(error)
                raise
        device = next((t.device.type for t in tensors_in((args, kwargs))), "")
        if not device or not torch.is_autocast_enabled(device) or not (kind := policy(name, device)):
            return run(*args, **kwargs)
        args, kwargs = adopted((args, kwargs), name, "an argument")
        dtype = torch.get_autocast_dtype(device) if kind == "lower" else torch.float32
        if kind == "promoted":
            dtype = max([t.dtype for t in _floats((args, kwargs), device)], key=lambda d: d.itemsize, default=dtype)
        if kind != "as given":
            args, kwargs = _cast(args, dtype, device), _cast(kwargs, dtype, device)
        try:
            _set_enabled(device, False)
            return run(*args, **kwargs)
        finally:
            _set_enabled(device, True)

    cast_first.casts = True  # type: ignore[attr-defined]  # a mark
    return cast_first


def _without(run: Callable[..., Any]) -> Callable[..., Any]:
    """A function that runs as outside autocast: the walk works in the dtypes that were recorded."""

    @wraps(run)
    def outside(*args: Any, **kwargs: Any) -> Any:
        on = [device for device in ALONE if _is_any_enabled() and torch.is_autocast_enabled(device)]
        try:
            for device in on:
                _set_enabled(device, False)
            return run(*args, **kwargs)
        finally:
            for device in on:
                _set_enabled(device, True)

    return outside


_NAMES = LOWER | FULL | PROMOTED | AS_GIVEN | {name for sets in ALONE.values() for names in sets for name in names}


def _concerned(entry: Any, name: str) -> bool:
    return name in _NAMES and not hasattr(entry, "casts")


def _renew(entry: Any) -> None:
    """An op of the table is new or has another road."""
    if isinstance(entry, Op) and _concerned(entry.road, entry.name):
        entry.road = casting(entry.road, entry.name)


def install() -> None:
    """Give the functions that autocast concerns roads that cast, and have the walk run without it."""
    if _renew in listeners:
        return
    for op in list(ops):
        _renew(op)
    for function, entry in list(TABLE.items()):
        if not isinstance(entry, Op) and _concerned(entry, name_of(function)):
            TABLE[function] = casting(entry, name_of(function))
    listeners.append(_renew)
    methods.install()
    for name in ("__matmul__", "__rmatmul__", "__pow__", "__rpow__", "__rtruediv__"):
        setattr(Tensor, name, casting(getattr(Tensor, name), name))
    backward.walk = _without(walk)  # type: ignore[attr-defined]  # which it imports
    if backward.written_walk is not None:
        backward.written_walk = _without(backward.written_walk)
    quiet.renew()


def watch() -> None:
    """Install at the first ``with torch.autocast``, and have GradScaler scale Tensors."""
    enter, scale = torch.autocast.__enter__, torch.amp.GradScaler.scale

    @wraps(enter)
    def first_enter(self: Any) -> Any:
        install()
        torch.autocast.__enter__ = enter  # type: ignore[method-assign]
        return enter(self)  # type: ignore[no-untyped-call]  # torch has not typed it

    @wraps(scale)
    def scale_ours(self: Any, outputs: Any) -> Any:
        if type(outputs) is not Tensor or not self.is_enabled():
            return scale(self, outputs)
        return outputs * scale(self, torch.ones((), device=outputs.device))

    torch.autocast.__enter__ = first_enter  # type: ignore[method-assign]
    torch.amp.GradScaler.scale = scale_ours  # type: ignore[method-assign]
