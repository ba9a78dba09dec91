"""Forward: unwrap, run the torch kernel, wrap, record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tapegrad.engine.op import Op
from tapegrad.engine.tape import parents_of
from tapegrad.engine.tensor import Tensor, adopted, node, recorded, wrap
from tapegrad.engine.versions import watch
from tapegrad.errors import whole_result
from tapegrad.mistakes import explain
from tapegrad.numbers import COPIED, NUMPYS, constant, reflected

# Types that can carry a gradient.
CONTINUOUS = {d for d in vars(torch).values() if isinstance(d, torch.dtype) and (d.is_floating_point or d.is_complex)}


def apply(op: Op, args: tuple[Any, ...]) -> Any:
    """Run an op, and record it if a gradient may be asked for.

    Args:
        op: what to run.
        args: its arguments in canonical order: Tensors, torch tensors, sequences of them, and whatever else it takes.

    Returns:
        A Tensor; a plain torch tensor if the result is of integers or booleans, or if no argument is a Tensor. An op
        with auxiliary outputs returns a tuple, of which the first is the Tensor.

    Raises:
        ForeignTensor: an argument is a torch tensor that torch.autograd has computed.
        MissingRule: the op has no rule for the gradient of an argument that requires it.
    """
    try:
        return _applied(op, args)
    except Exception as error:
        if type(error) is TypeError and (result := reflected(op, args)) is not NotImplemented:
            return result
        explain(error, op.name, op.signature, args)
        raise


def _applied(op: Op, args: tuple[Any, ...]) -> Any:
    raws, parents = [], []
    tensors, wanted = False, 0  # wanted: a bit for each argument that is to get a gradient
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
        elif type(arg) in COPIED or isinstance(arg, NUMPYS):
            raw = constant(op, args, i)
        raws.append(raw)
        parents.append(parent)
        if parent is not None:
            wanted |= 1 << i
    result = op.run(*raws)
    if not tensors:
        return result
    out, *aux = result if op.aux else (result,)
    if not op.trusted and any(out is raw for raw in raws):
        out = out.view_as(out)  # a new tensor, as the argument itself cannot be recorded as a result
    if not wanted or not torch.is_grad_enabled() or out.dtype not in CONTINUOUS or out.requires_grad or out is raws[0]:
        t: Any = _unrecorded(op, args, out, bool(wanted))
    else:
        keep_out, *keep = op.plan(wanted)
        saved = (out if keep_out else None, *map(_saved, raws, keep, parents), *aux)
        t = recorded(op, saved, tuple(parents), watch(op, saved, parents), out)
        if op.complex_formulas is not None and any(p.dtype.is_complex for p in parents_of(t.record)):
            t.record.op = op.in_complex
    return (t, *aux) if op.aux else t


def _unrecorded(op: Op, args: Sequence[Any], out: torch.Tensor, wanted: bool) -> Any:
    """Hand back a result that is not recorded."""
    if out.requires_grad:  # torch.autograd recorded it, so an argument is a torch tensor that requires grad
        return op.road(*[adopted(arg, op.name, name) for name, arg in zip(op.parameters, args, strict=True)])
    if type(args[0]) is Tensor and out is args[0]._data:
        return args[0]  # there was nothing to do: like torch, hand back the tensor itself
    if out.dtype in CONTINUOUS:
        return wrap(out, None)
    if wanted and op.trusted and torch.is_grad_enabled():
        raise whole_result(op, out)
    return out


def _saved(raw: Any, keep: bool, parent: Any) -> Any:
    """What a record holds of an argument; of a sequence that no rule needs, the tensors that take no gradient."""
    if keep or type(parent) is not tuple:
        return raw if keep else None
    return tuple([v if p is None else None for v, p in zip(raw, parent, strict=True)])
