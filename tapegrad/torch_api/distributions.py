"""torch.distributions on Tensors: where its Python asks for torch's own type, and not for what its functions take."""

from __future__ import annotations

from functools import wraps
from typing import Any

import torch
from torch.distributions import (
    Distribution,
    ExponentialFamily,
    gamma,
    half_cauchy,
    kl,
    lowrank_multivariate_normal,
    utils,
)

from tapegrad.engine.backward import grad
from tapegrad.engine.tensor import Tensor, raw, wrap


class _Torch:
    """What a module of torch's finds under the name torch: some things of ours, and else its own."""

    def __init__(self, **ours: Any) -> None:
        vars(self).update(ours)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def _as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Any:
    """``torch.as_tensor``, which would take a Tensor for a list of numbers, or refuse it."""
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype)
    return torch.as_tensor(data, dtype=dtype, device=device)


def _broadcast_tensors(*parameters: Any) -> Any:
    """Beside a Tensor, constants are Tensors as well: some distributions write others into a copy of a parameter."""
    if any(isinstance(p, Tensor) for p in parameters):
        parameters = tuple([p if isinstance(p, Tensor) or p.requires_grad else wrap(p, None) for p in parameters])
    return torch.broadcast_tensors(*parameters)


_torchs_divergence = kl._KL_REGISTRY[ExponentialFamily, ExponentialFamily]


def _divergence(p: Any, q: Any) -> Any:
    """Two distributions of one exponential family, by the gradient of its log normalizer: a Bregman divergence.

    As in torch, the result takes no gradient with respect to the parameters of ``p``.
    """
    own, other = p._natural_params, q._natural_params
    if type(p) is not type(q) or not any(isinstance(t, Tensor) for t in (*own, *other)):
        return _torchs_divergence(p, q)
    own = [Tensor(raw(t).detach(), True) for t in own]
    log_normalizer = p._log_normalizer(*own)
    slopes = grad(log_normalizer.sum(), own, create_graph=True)
    terms = [utils._sum_rightmost((b - a) * g, len(q.event_shape)) for a, b, g in zip(own, other, slopes, strict=True)]
    return q._log_normalizer(*other) - log_normalizer - sum(terms)


_capacitance_tril = lowrank_multivariate_normal._batch_capacitance_tril


def _batch_capacitance_tril(W: Any, D: Any) -> Any:
    """The Cholesky factor of ``I + W.T @ inv(D) @ W``; torch's adds the identity to a view of a view."""
    if not isinstance(W, Tensor) and not isinstance(D, Tensor):
        return _capacitance_tril(W, D)  # type: ignore[no-untyped-call]  # torch has not typed it
    K = W.mT / D.unsqueeze(-2) @ W
    return torch.linalg.cholesky(K + torch.eye(W.shape[-1], dtype=K.dtype, device=K.device))


def adopt() -> None:
    """Let distributions take Tensors wherever they take torch's."""
    validate = Distribution._validate_sample
    if hasattr(validate, "__wrapped__"):
        return

    @wraps(validate)
    def validated(self: Any, value: Any) -> None:
        validate(self, value._data if isinstance(value, Tensor) else value)

    Distribution._validate_sample = validated  # type: ignore[method-assign]
    names: dict[Any, _Torch] = {
        gamma: _Torch(as_tensor=_as_tensor),
        half_cauchy: _Torch(as_tensor=_as_tensor),
        utils: _Torch(Tensor=(torch.Tensor, Tensor), broadcast_tensors=_broadcast_tensors),
    }
    for module, ours in names.items():
        module.torch = ours
    lowrank_multivariate_normal._batch_capacitance_tril = _batch_capacitance_tril
    kl._KL_REGISTRY[ExponentialFamily, ExponentialFamily] = _divergence
