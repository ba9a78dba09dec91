"""The one road of the forward pass: unwrap, run the torch kernel, wrap, record.

``apply`` takes any op. ``one_tensor`` and ``two_tensors`` make the same road without its bends, for the calls that a
program makes most: of one tensor, with or without options such as ``dim``, and of two operands.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from tapegrad.errors import MissingRule
from tapegrad.scalar import OPERANDS, as_tensor  # noqa: F401 - for what is written out
from tapegrad.tape import Record, Watched
from tapegrad.tensor import Tensor, foreign, wrap

if TYPE_CHECKING:
    from tapegrad.op import Op

is_grad_enabled = torch.is_grad_enabled
# Types that can carry a gradient.
_CONTINUOUS = {d for d in vars(torch).values() if isinstance(d, torch.dtype) and d.is_floating_point}
# Arguments that are no tensors, known by their type: asking isinstance(x, torch.Tensor) takes longer.
_SCALARS = {int, float, bool, str, type(None), torch.Size, slice, torch.dtype}
_OPTIONS = _SCALARS | {torch.Tensor, tuple}


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


def written_out(op: Op) -> Callable[..., Any] | None:
    """``apply`` for one op, written out as Python source and compiled: no loops, and nothing left to find out.

    It serves calls of one or two Tensors that take a gradient, with numbers and other plain values beside them. For
    anything else it turns to ``apply``, which does the same at leisure.

    Args:
        op: one whose first argument takes a gradient.

    Returns:
        A function of the op's arguments in canonical order, of which the first is a Tensor; None if the op takes more
        tensors than that.
    """
    first, *others = op.parameters
    if not op.own or first not in op.formulas:
        return None
    if op.formulas.keys() == {first}:
        text = _written_for_one(op, first, others)
    elif op.formulas.keys() == {first, *others} and len(others) == 1 and not op.aux:
        text = _written_for_two(op, first, others[0])
    else:
        return None
    scope = {**globals(), "op": op, "run": op.run}
    file = f"{__file__[:-3]}/{op.name}.py"  # there is none, but tracebacks show the lines
    exec(compile(text, file, "exec"), scope)
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    return scope[_HERE]


_HERE = "run_and_record"


def _written_for_one(op: Op, x: str, options: list[str]) -> str:
    keep_out, keep, *_ = op.plan(1)
    called = ", ".join([x, *options])
    held = ["out"] * keep_out + ["raw_1"] * keep + list(op.aux)
    watched = "".join([f"({name}, {name}._version), " for name in held])
    saved = ", ".join(["out" if keep_out else "None", "raw_1" if keep else "None", *options, *op.aux])
    checked = [name for name in options if name != op.starred]
    plain = " and ".join([f"type({name}) in _SCALARS" for name in checked])
    usual = f" and (plain or _OPTIONS.issuperset(map(type, ({', '.join(checked)},))))" if checked else ""
    lines = [
        f"def {_HERE}({called}):",
        f"    node_1 = {x}.record or ({x} if {x}._requires_grad else None)",
        *([f"    plain = {plain}"] if checked else []),
        f"    if node_1 is not None and is_grad_enabled(){usual}:",
        f"        raw_1 = {x}._data",
        f"        try:",
        f"            {', '.join(['out', *op.aux])} = run({', '.join(['raw_1', *options])})",
        f"            if out is not raw_1{' and out.dtype in _CONTINUOUS' if 'dtype' in options else ''}:",
        f"                saved = ({saved})",
        f"                watched = ({watched}){' if plain else watch(op, saved, (node_1,))' if checked else ''}",
        f"                record = Record(op, saved, (node_1, {'None, ' * len(options)}), watched, out)",
        f"                return {', '.join(['wrap(out, record)', *op.aux])}",
        f"        except RuntimeError:",
        f"            pass  # apply will tell",
        f"    return apply(op, ({called},))",
    ]
    return "\n".join(lines) + "\n"


def _written_for_two(op: Op, x: str, y: str) -> str:
    def record(wanted: int, q: str, b: str) -> str:
        keep_out, keep_a, keep_b = op.plan(wanted)
        held = ["out"] * keep_out + ["raw_1"] * keep_a + ["raw_2"] * (keep_b and b == "raw_2")
        watched = "".join([f"({name}, {name}._version), " for name in held])
        saved = f"{'out' if keep_out else None}, {'raw_1' if keep_a else None}, {b if keep_b else None}"
        return f"wrap(out, Record(op, ({saved}), (node_1, {q}), ({watched}), out))"

    number = [
        f"                number = OPERANDS.get(({y}, raw_1.dtype, raw_1.device))",
        f"                if number is None:",
        f"                    number = as_tensor({y}, raw_1)",
    ] if op.name in _ARITHMETIC else []
    lines = [
        f"def {_HERE}({x}, {y}):",
        f"    node_1 = {x}.record or ({x} if {x}._requires_grad else None)",
        f"    if node_1 is not None and is_grad_enabled():",
        f"        raw_1 = {x}._data",
        f"        try:",
        f"            if type({y}) is Tensor:",
        f"                node_2 = {y}.record or ({y} if {y}._requires_grad else None)",
        f"                if node_2 is not None:",
        f"                    raw_2 = {y}._data",
        f"                    out = run(raw_1, raw_2)",
        f"                    return {record(3, 'node_2', 'raw_2')}",
        f"            elif type({y}) is float or type({y}) is int:",
        *number,
        f"                out = run(raw_1, {'number' if number else y})",
        f"                return {record(1, 'None', y)}",
        f"        except RuntimeError:",
        f"            pass  # apply will tell",
        f"    return apply(op, ({x}, {y}))",
    ]
    return "\n".join(lines) + "\n"


# A number and a tensor of one element are the same to these, to the bit.
_ARITHMETIC = {"add", "sub", "rsub", "mul", "div"}


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
