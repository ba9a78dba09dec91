"""In-place forms: ``x += y``, ``x.mul_(y)``, ``x[i] = v``.

Recorded, an in-place form computes a fresh result and makes the same Tensor object stand for it: every name of
the object sees the change, and no buffer that a rule has saved is touched. Unrecorded, it changes the torch tensor in
place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import TABLE
from tapegrad.engine.tensor import Tensor, adopted
from tapegrad.errors import InPlaceError, MissingRule
from tapegrad.mistakes import explain
from tapegrad.rules import indexing
from tapegrad.torch_api.composition import asking
from tapegrad.torch_api.index import canonical
from tapegrad.torch_api.keywords import torch_names
from tapegrad.torch_api.plain import PLAIN
from tapegrad.torch_api.raw import raw
from tapegrad.torch_api.reasons import reason_for
from tapegrad.torch_api.temporaries import seen_by_others

# What these draw takes nothing from the tensor but its shape.
RANDOM = {"bernoulli_", "normal_", "uniform_", "exponential_", "cauchy_", "log_normal_", "geometric_", "random_"}
# These change no element.
RESHAPING = {"squeeze_", "unsqueeze_", "t_", "transpose_", "swapaxes_", "swapdims_", "as_strided_"}


def update(
    t: Tensor,
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    temporary: Sequence[Any] = (),
    item: bool = False,
) -> Tensor:
    """Run a torch method that changes its tensor.

    Args:
        t: the tensor to change.
        name: the method, such as ``add_`` or ``__setitem__``.
        args: its further arguments.
        kwargs: its keyword arguments.
        temporary: those of ``args`` that nobody holds after the statement.
        item: whether ``t`` is such a temporary item itself, to which the result is then assigned: ``h[0] += y``.

    Returns:
        ``t`` itself.

    Raises:
        InPlaceError: ``t`` is a leaf that requires grad, or shares its memory with another tensor.
        MissingRule: the function has no rule.
    """
    try:
        if not torch.is_grad_enabled():
            torchs(name)(t._data, *raw(args), **raw(kwargs))
            return t
        args, kwargs = adopted((args, kwargs), name, "an argument")
        values = (t, *args, *kwargs.values())
        if not takes_gradient(t) or not any(isinstance(v, Tensor) and v.requires_grad for v in values):
            torchs(name)(t._data, *raw(args), **raw(kwargs))
            return t
        if (reason := reason_for(name)) is not None:
            raise MissingRule(f"{name}(): {reason}")
        if name == "elu_" and len(args) > 1:
            raise MissingRule(
                "elu_(): there is no rule with scale and input_scale, which F.elu has not; multiply the result"
            )
        if name == "detach_" and not seen_by_others(t, args, temporary):
            t.record, t._requires_grad = None, False
            return t
        if t.is_leaf and t.requires_grad:
            raise InPlaceError(
                f"{name}(): a leaf that requires grad cannot be changed in place, its gradient would have no place to "
                f"go; use p.data or torch.no_grad() for an update, or x = x.clone() first"
            )
        if name not in RESHAPING and not item and seen_by_others(t, args, temporary):
            raise InPlaceError(
                f"{name}(): this tensor, of shape {tuple(t.shape)}, shares its memory with another (it is a view, or "
                f"has one), and torch would change both; change a copy of it, after x = x.clone(), and for a part of a "
                f"tensor write h[i] += value or h[i] = value"
            )
        if name in RANDOM:
            result = written(t, ..., getattr(torch.empty_like(t._data), name)(*raw(args), **raw(kwargs)))
        elif name[:-1] in PLAIN:  # a comparison, say, of which truth values remain
            result = written(t, ..., torchs(name[:-1])(t._data, *raw(args), **raw(kwargs)))
        elif name == "__setitem__":
            index, value = args
            result = written(t, canonical(index, t._data), without_leading_ones(value))
        elif name in ("copy_", "fill_", "zero_"):
            value = (*args, *kwargs.values(), 0.0)[0]
            result = written(t, ..., value.expand(t.shape) if name == "copy_" and hasattr(value, "shape") else value)
        elif name == "fill_diagonal_":
            value, *wrap = (*args, *kwargs.values())
            result = t.masked_fill(torch.zeros_like(t._data, dtype=torch.bool).fill_diagonal_(True, *wrap), value)
        else:
            entry = TABLE.get(torchs(name[:-1]))
            if entry is None or (
                name == "float_power_" and t.dtype != torch.float64
            ):  # its result is always of float64
                reason = (
                    reason_for(name[:-1]) or "tapegrad has no rule for it; compute a new tensor by recorded functions"
                )
                raise MissingRule(f"{name}(): {reason}")
            result = entry(t, *args, **torch_names(kwargs)).to(t.dtype)
            if not isinstance(result, Tensor):
                raise RuntimeError(f"{name}(): the result cannot be cast to {t.dtype}, which takes no gradient")
        if (
            result.shape != t.shape and name not in RESHAPING and (name != "addbmm_" or t.ndim == result.ndim)
        ):  # which torch resizes for
            raise RuntimeError(
                f"{name}(): the result has shape {tuple(result.shape)}, which does not fit in {tuple(t.shape)}"
            )
        _refusal(name)(t, *args, **kwargs)
        retained = t.retains_grad
        if retained and t.record is not None and t.record.hooks is not None:
            t.record.hooks.retained = None  # as torch: the gradient retained is that of the value after the change
        if t.record is not None and result.shape == t.shape:
            result._data.grad = t._data.grad
        t._data = t._holder = result._data
        t.record = result.record
        if retained:
            t.retain_grad()
        return t
    except Exception as error:
        explain(error, name, None, (t, *args), kwargs)
        raise


@cache
def torchs(name: str) -> Any:
    """Torch's function of that name: a method, or if there is none, of torch or torch.nn.functional; or None."""
    return next(filter(None, (getattr(place, name, None) for place in (torch.Tensor, torch, F))), None)


@cache
def _refusal(name: str) -> Callable[..., None]:
    """Raises what torch's function of that name would raise, and does nothing else."""
    return asking(torchs(name), lambda *args, **kwargs: None)


def takes_gradient(t: Any) -> bool:
    """Whether what is written to a tensor could get a gradient: not into integers."""
    return bool(t.dtype.is_floating_point or t.dtype.is_complex)


def written(t: Tensor, index: Any, value: Any) -> Any:
    """A copy of ``t`` with ``value`` at ``index``; as in torch, cast to its type where no tensor is an index."""
    if isinstance(value, (Tensor, torch.Tensor)) and indexing.gives_view(index):
        value = value.to(t.dtype)
    return indexing.setitem(t, index, value)


def without_leading_ones(value: Any) -> Any:
    """What is assigned to items may have dimensions of size 1 too many in front, as in torch."""
    while isinstance(value, (Tensor, torch.Tensor)) and value.ndim and value.shape[0] == 1:
        value = value.squeeze(0)
    return value
