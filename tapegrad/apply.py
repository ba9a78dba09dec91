"""The one road of the forward pass: unwrap, run the torch kernel, wrap, record."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.errors import MissingRule
from tapegrad.op import Op
from tapegrad.tape import Record
from tapegrad.tensor import Tensor, native, wrap

is_grad_enabled = torch.is_grad_enabled


def apply(op: Op, args: tuple[Any, ...]) -> Any:
    """Run an op, and record it if a gradient may be asked for.

    Args:
        op: what to run.
        args: its arguments in canonical order; Tensors, torch tensors, and whatever else the op takes.

    Returns:
        A Tensor; a plain torch tensor if the result is of integers or booleans. An op with auxiliary outputs returns a
        tuple, of which the first is the Tensor.
    """
    raws: list[Any] = []
    parents: list[Any] = []
    tensors = False
    for position, arg in enumerate(args):
        if type(arg) is Tensor:
            raws.append(arg._data)
            parents.append(node(arg))
            tensors = True
        elif type(arg) is tuple or type(arg) is list:
            raws.append(tuple([a._data if type(a) is Tensor else _checked(a, op, position) for a in arg]))
            nodes = tuple([node(a) if type(a) is Tensor else None for a in arg])
            parents.append(nodes if any(n is not None for n in nodes) else None)
            tensors = tensors or any(type(a) is Tensor for a in arg)
        else:
            raws.append(_checked(arg, op, position))
            parents.append(None)
    result = op.run(raws)
    if not tensors:
        return result
    out, *aux = result if op.aux else (result,)
    if out is raws[0]:  # nothing to do: like torch, hand back the tensor itself
        return args[0]
    t = record(op, tuple(raws), tuple(parents), out, tuple(aux))
    return (t, *aux) if op.aux else t


def record(op: Op, args: tuple[Any, ...], parents: tuple[Any, ...], out: torch.Tensor, aux: Any = ()) -> Any:
    """Wrap an op's result, with a Record if one of ``parents`` is to get a gradient."""
    differentiable = out.is_floating_point() or out.is_complex()
    if not differentiable:
        return out
    wanted = tuple([p is not None for p in parents])
    if True not in wanted or not is_grad_enabled():
        return wrap(out, None)
    keep_out, keep = op.kept(wanted)
    for want, pullback, name in zip(wanted, op.pullbacks, op.parameters, strict=True):
        if want and pullback is None:
            raise MissingRule(
                f"{op.name}(): no rule for the gradient of {name}; detach it if it is a constant, "
                f"or give one: see tapegrad.rule"
            )
    saved = tuple([
        arg if kept else _constants(arg, parent) for arg, kept, parent in zip(args, keep, parents, strict=True)
    ])
    return wrap(out, Record(op, saved, parents, out, keep_out, aux))


def _constants(arg: Any, parent: Any) -> Any:
    """What is left of an argument that no rule needs: of a sequence, the tensors that take no gradient."""
    if type(parent) is tuple:
        return tuple([a if p is None else None for a, p in zip(arg, parent, strict=True)])
    return None


def node(t: Tensor) -> Record | Tensor | None:
    """Where the gradient of a tensor goes: to its record, to the leaf itself, or nowhere."""
    return t.record or (t if t._requires_grad else None)


def _checked(arg: Any, op: Op, position: int) -> Any:
    return native(arg, op.name, op.parameters[position]) if isinstance(arg, torch.Tensor) else arg
