"""The one road of the forward pass: unwrap, run the torch kernel, wrap, record.

``apply`` takes any op. ``apply_one`` and ``apply_two`` are the same road without its bends, for the calls that a
program makes most: one tensor, with or without options such as ``dim``, and two operands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from tapegrad.tape import Record, Watched
from tapegrad.tensor import Tensor, foreign, wrap

if TYPE_CHECKING:
    from tapegrad.op import Op

is_grad_enabled = torch.is_grad_enabled
# Types that can carry a gradient.
_CONTINUOUS = {d for d in vars(torch).values() if isinstance(d, torch.dtype) and (d.is_floating_point or d.is_complex)}
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
        raws.append(raw)
        parents.append(parent)
        if parent is not None:
            wanted |= 1 << i
    result = op.run(*raws)
    if not tensors:
        return result
    out, *aux = result if op.aux else (result,)
    if not wanted or not recordable(args[0], out):
        t = _unrecorded(op, args, out)
    else:
        keep_out, *keep = op.plan(wanted)
        saved = (out if keep_out else None, *map(_saved, raws, keep, parents), *aux)
        t = wrap(out, Record(op, saved, tuple(parents), watch(saved), out))
    return (t, *aux) if op.aux else t


def apply_one(op: Op, x: Tensor, *options: Any) -> Any:
    """``apply`` for a function of one Tensor, whose other arguments are no Tensors."""
    a = x._data
    parent = x.record or (x if x._requires_grad else None)
    out = op.run(a, *options)
    aux: Any = ()
    if op.aux:
        out, *aux = out
    if parent is None or not recordable(x, out):
        t = _unrecorded(op, (x, *options), out)
    else:
        keep_out, keep, *_ = op.plan(1)
        saved = (out if keep_out else None, a if keep else None, *options, *aux)
        t = wrap(out, Record(op, saved, (parent, *[None] * len(options)), watch(saved), out))
    return (t, *aux) if op.aux else t


def apply_two(op: Op, x: Tensor, y: Any) -> Any:
    """``apply`` for a function of two operands, of which the second may be a torch tensor or a number."""
    a, b, q = x._data, y, None
    p = x.record or (x if x._requires_grad else None)
    if type(y) is Tensor:
        b = y._data
        q = y.record or (y if y._requires_grad else None)
    out = op.function(a, b)
    if (p is None and q is None) or not recordable(x, out):
        return _unrecorded(op, (x, y), out)
    keep_out, keep_a, keep_b = op.plan((p is not None) + 2 * (q is not None))
    saved = (out if keep_out else None, a if keep_a else None, b if keep_b else None)
    return wrap(out, Record(op, saved, (p, q), watch(saved), out))


def node(t: Tensor) -> Record | Tensor | None:
    """Where the gradient of a tensor goes: to its record, to the leaf itself, or nowhere."""
    return t.record or (t if t._requires_grad else None)


def recordable(first: Any, out: torch.Tensor) -> bool:
    """Whether a result is to be recorded, given that an argument requires grad."""
    return (
        is_grad_enabled()
        and out.dtype in _CONTINUOUS
        and not out.requires_grad
        and out is not getattr(first, "_data", None)
    )


def _unrecorded(op: Op, args: Sequence[Any], out: torch.Tensor) -> Any:
    """Hand back a result that is not recorded."""
    if out.requires_grad:  # so torch.autograd recorded it: a tensor of its own is among the arguments
        raise foreign(op.name, op.parameters, args)
    if type(args[0]) is Tensor and out is args[0]._data:
        return args[0]  # there was nothing to do: like torch, hand back the tensor itself
    return wrap(out, None) if out.dtype in _CONTINUOUS else out


def watch(saved: Sequence[Any]) -> Watched:
    """The tensors among saved values, each with its version."""
    watched = []
    for value in saved:
        kind = type(value)
        if kind is torch.Tensor:
            watched.append((value, value._version))
        elif kind is tuple:
            watched.extend(watch(value))
        elif kind not in _SCALARS and isinstance(value, torch.Tensor):
            watched.append((value, value._version))
    return tuple(watched)


def _saved(raw: Any, keep: bool, parent: Any) -> Any:
    """What a record holds of an argument; of a sequence that no rule needs, the tensors that take no gradient."""
    if keep:
        return raw
    return (
        tuple([v if p is None else None for v, p in zip(raw, parent, strict=True)]) if type(parent) is tuple else None
    )
