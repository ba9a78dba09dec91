"""The one road of the forward pass: unwrap, run the torch kernel, wrap, record.

``apply`` takes any op. ``one_tensor`` and ``two_tensors`` make the same road without its bends, for the calls that a
program makes most: of one tensor, with or without options such as ``dim``, and of two operands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from tapegrad.errors import MissingRule
from tapegrad.scalar import as_tensor
from tapegrad.tape import Record, Watched
from tapegrad.tensor import Tensor, foreign, wrap

if TYPE_CHECKING:
    from tapegrad.op import Op

is_grad_enabled = torch.is_grad_enabled
# Types that can carry a gradient.
_CONTINUOUS = {d for d in vars(torch).values() if isinstance(d, torch.dtype) and d.is_floating_point}
# Arguments that are no tensors, known by their type: asking isinstance(x, torch.Tensor) takes longer.
_SCALARS = {int, float, bool, str, type(None), torch.Size, slice, torch.dtype}


def apply(op: Op, args: tuple[Any, ...]) -> Any:
    """Run an op, and record it if a gradient may be asked for.

    Args:
        op: what to run.
        args: its arguments in canonical order: Tensors, torch tensors, sequences of them, and whatever else it takes.

    Returns:
        A Tensor; a plain torch tensor if the result is of integers or booleans, or if no argument is a Tensor. An op
        with auxiliary outputs returns a tuple, of which the first is the Tensor.

    Raises:
        ForeignTensor: an argument is a torch tensor that requires grad under torch.autograd.
        MissingRule: the op has no rule for the gradient of an argument that requires it.
    """
    raws: list[Any] = []
    parents: list[Any] = []
    tensors = False
    wanted = 0  # a bit for each argument that is to get a gradient
    for i, arg in enumerate(args):
        raw: Any = arg
        parent: Any = None
        if type(arg) is Tensor:
            tensors = True
            raw, parent = arg._data, node(arg)
        elif type(arg) in (tuple, list) and Tensor in map(type, arg):
            tensors = True
            raw = tuple([a._data if type(a) is Tensor else a for a in arg])
            parent = tuple([node(a) if type(a) is Tensor else None for a in arg])
            parent = parent if any(p is not None for p in parent) else None
        elif type(arg) is list:
            raw = tuple(arg)  # the caller may change the list
        raws.append(raw)
        parents.append(parent)
        if parent is not None:
            wanted |= 1 << i
    result = op.run(*raws)
    if not tensors:
        return result
    out, *aux = result if op.aux else (result,)
    if not op.own and any(out is raw for raw in raws):
        out = out.view_as(out)  # a result of its own, to be recorded
    if not wanted or not is_grad_enabled() or out.dtype not in _CONTINUOUS or out.requires_grad or out is raws[0]:
        t = _unrecorded(op, args, out)
    else:
        keep_out, *keep = op.plan(wanted)
        saved = (out if keep_out else None, *map(_saved, raws, keep, parents), *aux)
        t = wrap(out, Record(op, saved, tuple(parents), watch(op, saved, parents), out))
    return (t, *aux) if op.aux else t


def one_tensor(op: Op) -> Callable[..., Any]:
    """``apply`` for an op of one Tensor, whose other arguments are never Tensors."""
    run, aux_names, own = op.run, op.aux, op.own
    keep_out, keep, *_ = op.plan(1)
    constants = (None,) * (len(op.parameters) - 1)

    def call(x: Tensor, *options: Any) -> Any:
        a = x._data
        plain = _SCALARS.issuperset(map(type, options))
        if not plain and list in map(type, options):  # the caller may change the list
            options = tuple([tuple(o) if type(o) is list else o for o in options])
        out = run(a, *options)
        aux: Any = ()
        if aux_names:
            out, *aux = out
        parent = x.record or (x if x._requires_grad else None)
        if not own and out is a:
            out = out.view_as(out)  # a result of its own, to be recorded
        if (
            parent is None
            or not is_grad_enabled()
            or out is a
            or ((options or not own) and (out.requires_grad or out.dtype not in _CONTINUOUS))
        ):
            t = _unrecorded(op, (x, *options), out)
        else:
            saved = (out if keep_out else None, a if keep else None, *options, *aux)
            places = (parent, *constants)
            if aux or not plain:
                watched = watch(op, saved, places)
            else:  # the same, for what is most common
                watched = ((a, a._version),) if keep else ()
                if keep_out:
                    watched = (*watched, (out, out._version))
            t = wrap(out, Record(op, saved, places, watched, out))
        return (t, *aux) if aux_names else t

    return call


def two_tensors(op: Op, arithmetic: bool = False) -> Callable[[Tensor, Any], Any]:
    """``apply`` for an op of a Tensor and another operand: a Tensor, a torch tensor or a number.

    Args:
        op: what to run.
        arithmetic: whether the op treats a number and a tensor of one element alike, to the bit.
    """
    run = op.run
    plans = [(False, False, False), *[op.plan(wanted) for wanted in (1, 2, 3)]]

    def call(x: Tensor, y: Any) -> Any:
        a, b, q = x._data, y, None
        p = x.record or (x if x._requires_grad else None)
        if type(y) is Tensor:
            b = y._data
            q = y.record or (y if y._requires_grad else None)
            out = run(a, b)
        else:
            out = run(a, as_tensor(y, a) if arithmetic else y)
        if not is_grad_enabled() or (p is None and q is None):
            return _unrecorded(op, (x, y), out)
        if (p is None or q is None) and (out.requires_grad or out.dtype not in _CONTINUOUS):
            return _unrecorded(op, (x, y), out)
        keep_out, keep_a, keep_b = plans[(p is not None) + 2 * (q is not None)]
        saved = (out if keep_out else None, a if keep_a else None, b if keep_b else None)
        if keep_out or p is None or (q is None and type(y) not in _SCALARS):
            watched = watch(op, saved, (p, q))
        else:  # the same for what is most common: two operands that take a gradient, or one and a number
            watched = ((a, a._version),) if keep_a else ()
            if keep_b and q is not None:
                watched = (*watched, (b, b._version))
        return wrap(out, Record(op, saved, (p, q), watched, out))

    return call


def node(t: Tensor) -> Record | Tensor | None:
    """Where the gradient of a tensor goes: to its record, to the leaf itself, or nowhere."""
    return t.record or (t if t._requires_grad else None)


def _unrecorded(op: Op, args: Sequence[Any], out: torch.Tensor) -> Any:
    """Hand back a result that is not recorded."""
    if out.requires_grad:  # so torch.autograd recorded it: a tensor of its own is among the arguments
        raise foreign(op.name, op.parameters, args)
    if type(args[0]) is Tensor and out is args[0]._data:
        return args[0]  # there was nothing to do: like torch, hand back the tensor itself
    if out.is_complex() and is_grad_enabled() and any(type(a) is Tensor and a.requires_grad for a in args):
        raise MissingRule(
            f"{op.name}(): the result is complex, and the rules are for real numbers; compute with real and imaginary "
            f"parts, or under torch.no_grad()"
        )
    return wrap(out, None) if out.dtype in _CONTINUOUS or out.is_complex() else out


def watch(op: Op, saved: Sequence[Any], parents: Sequence[Any]) -> Watched:
    """The tensors among saved values, each with its version.

    Raises:
        RuntimeError: a rule needs one that was made in ``torch.inference_mode()``, which has no version.
    """
    watched: list[tuple[torch.Tensor, int]] = []
    try:
        for value in saved:
            kind = type(value)
            if kind is torch.Tensor:
                watched.append((value, value._version))
            elif kind is tuple:
                watched.extend([(v, v._version) for v in value if isinstance(v, torch.Tensor)])
            elif kind not in _SCALARS and isinstance(value, torch.Tensor):
                watched.append((value, value._version))
    except RuntimeError:
        return _some_watched(op, saved, parents)
    return tuple(watched)


def _some_watched(op: Op, saved: Sequence[Any], parents: Sequence[Any]) -> Watched:
    """As ``watch``, where some tensors were made in inference mode: no matter, unless a rule needs them."""
    needed = op.needed(parents)
    tensors = []
    for name, value in zip(op.saved, saved, strict=True):
        for v in value if type(value) is tuple else (value,):
            if isinstance(v, torch.Tensor) and v.is_inference():
                if name in needed:
                    raise RuntimeError(
                        f"{op.name}(): {name}, of shape {tuple(v.shape)}, was made in torch.inference_mode(), so that "
                        f"a later change of it could not be noticed; use a .clone() of it, or torch.no_grad() there"
                    )
            elif isinstance(v, torch.Tensor):
                tensors.append((v, v._version))
    return tuple(tensors)


def _saved(raw: Any, keep: bool, parent: Any) -> Any:
    """What a record holds of an argument; of a sequence that no rule needs, the tensors that take no gradient."""
    if keep:
        return raw
    return (
        tuple([v if p is None else None for v, p in zip(raw, parent, strict=True)]) if type(parent) is tuple else None
    )
