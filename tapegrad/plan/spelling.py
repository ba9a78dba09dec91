"""Spelling: an ATen call as calls that write into buffers which are there already.

Most functions of torch have an overload that takes ``out=``. It runs the same kernel, but to make sure, each spelling
is tried when the call is recorded, and kept if it gives the same bits in the same layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

aten = torch.ops.aten
_EXACT = (torch.float32, torch.float64)

Number = Callable[[float, torch.Tensor], torch.Tensor]  # gives the constant tensor that stands for a number


@dataclass(frozen=True)
class Out:
    """In a spelled call, the place of the buffer for one of the results."""

    index: int = 0


@dataclass(frozen=True)
class Spelled:
    """A call of the dispatcher.

    Attributes:
        func: the overload.
        args, kwargs: the arguments: tensors while it is tried, Values once it is recorded, and ``Out``.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    def run(self, outs: Sequence[torch.Tensor] = ()) -> Any:
        """Make the call on tensors."""
        return self.func(*_filled(self.args, outs), **_filled(self.kwargs, outs))


def _filled(tree: Any, outs: Sequence[torch.Tensor]) -> Any:
    if type(tree) is Out:
        return outs[tree.index]
    if isinstance(tree, (tuple, list)):
        return type(tree)([_filled(item, outs) for item in tree])
    return {k: _filled(v, outs) for k, v in tree.items()} if type(tree) is dict else tree


def name_of(func: Any) -> str:
    """The name of an overload's function: ``add`` for aten.add.Tensor."""
    return str(func._schema.name).removeprefix("aten::")


_FILLED = {
    "zeros": 0, "zeros_like": 0, "new_zeros": 0, "ones": 1, "ones_like": 1, "new_ones": 1, "full": None,
    "full_like": None, "new_full": None, "scalar_tensor": None,
}  # fmt: skip
_EMPTY = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"}
_COPIED = {"clone", "_to_copy", "lift_fresh_copy"}
_ARITHMETIC = {"add", "sub", "mul", "div", "rsub"}  # given a number, torch makes a tensor of it at every call
# As torch itself computes these powers, to the bit.
_POWERS = {2: "square", -1: "reciprocal", 0.5: "sqrt", -0.5: "rsqrt"}


def fresh(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], number: Number) -> Spelled:
    """A call that gives new tensors, takes a view, or writes in place: as it is, but for numbers."""
    if name_of(func).rstrip("_") in _ARITHMETIC and len(args) == 2 and not kwargs and func._overloadname == "Tensor":
        args = (args[0], _as_tensor(args[1], args[0], number))
    return Spelled(func, args, kwargs)


def into(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], results: Sequence[torch.Tensor], number: Number
) -> list[Spelled] | None:
    """How to write what a call gives into buffers of the same layout.

    Args:
        func: what was called.
        args: with these.
        kwargs: and these, by name.
        results: what it gave.
        number: gives the constant tensor that stands for a number.

    Returns:
        What to call, one after another; None if the call gives new memory only.
    """
    for spelled in _candidates(func, args, kwargs, results, number):
        if _gives(spelled, results):
            return spelled
    return None


def _candidates(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], results: Sequence[torch.Tensor], number: Number
) -> Iterator[list[Spelled]]:
    name = name_of(func)
    if name in _EMPTY:
        yield []
    if name in _FILLED:
        fill = _FILLED[name]
        if fill is None:
            fill = args[{"full": 1, "full_like": 1, "new_full": 2, "scalar_tensor": 0}[name]]
        yield [Spelled(aten.zero_.default, (Out(),)) if fill == 0 else Spelled(aten.fill_.Scalar, (Out(), fill))]
    if name in _COPIED:
        yield [Spelled(aten.copy_.default, (Out(), args[0]))]
    if name == "pow" and type(args[1]) in (int, float) and args[1] in _POWERS:
        yield [Spelled(getattr(aten, _POWERS[args[1]]).out, (args[0],), {"out": Out()})]
    if name == "relu":  # as torch defines it
        yield [Spelled(aten.clamp_min.out, (*args, 0), {"out": Out()})]
    if name == "mean" and args[1:] in ((), (None,)) and not kwargs and args[0].dtype in _EXACT and args[0].numel() > 1:
        count = _as_tensor(args[0].numel(), args[0], number)
        if isinstance(count, torch.Tensor):
            total = Spelled(aten.sum.IntList_out, (args[0], list(range(args[0].ndim))), {"out": Out()})
            yield [total, Spelled(aten.div_.Tensor, (Out(), count))]
    if name in _ARITHMETIC and len(args) == 2 and not kwargs:
        first, second = args
        second = _as_tensor(second, first, number)
        if isinstance(second, torch.Tensor):
            operands = (second, first) if name == "rsub" else (first, second)
            yield [Spelled(getattr(aten, "sub" if name == "rsub" else name).out, operands, {"out": Out()})]
    for overload, names in _out_overloads(func):
        if len(names) == len(results):
            yield [Spelled(overload, args, {**kwargs, **{n: Out(i) for i, n in enumerate(names)}})]
    in_place = _in_place(func)
    if in_place is not None and len(results) == 1:
        first, result = args[0], results[0]
        if (first.shape, first.dtype) == (result.shape, result.dtype):
            yield [Spelled(aten.copy_.default, (Out(), first)), Spelled(in_place, (Out(), *args[1:]), kwargs)]


def _as_tensor(value: Any, like: torch.Tensor, number: Number) -> Any:
    """A number as a tensor of one element, where that comes to the same: see ``kernels/scalar.py``."""
    exact = type(value) in (int, float) and value and abs(value) < 2**63 and like.dtype in _EXACT and like.is_cpu
    return number(value, like) if exact else value


def operand(number: float, like: torch.Tensor) -> torch.Tensor:
    """A number as a tensor of one element, rounded as torch rounds it when it meets ``like``."""
    kind = torch.float64 if type(number) is float else torch.int64
    return torch.tensor(number, dtype=kind, device=like.device).to(like.dtype)


def _arguments(overload: Any) -> list[tuple[str, str]]:
    return [(a.name, str(a.type)) for a in overload._schema.arguments if not _is_written(a)]


def _is_written(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _out_overloads(func: Any) -> Iterator[tuple[Any, list[str]]]:
    """The overloads that take the same and write into ``out=``, with the names of those arguments."""
    for name in func.overloadpacket.overloads():
        overload = getattr(func.overloadpacket, name)
        names = [a.name for a in overload._schema.arguments if _is_written(a) and a.kwarg_only]
        # Generated ones make new memory and copy.
        if names and torch.Tag.generated not in overload.tags and _arguments(overload) == _arguments(func):
            yield overload, names


def _in_place(func: Any) -> Any:
    """The overload that does the same in place."""
    packet = getattr(aten, f"{name_of(func)}_", None)
    overload = getattr(packet, func._overloadname, None)
    first = [(a.name, str(a.type)) for a in overload._schema.arguments] if overload is not None else []
    return overload if first and first == _arguments(func) else None


def _gives(calls: Sequence[Spelled], results: Sequence[torch.Tensor]) -> bool:
    """Whether calls write just what a call gave, into memory that they leave where it is."""
    try:
        buffers = [torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=t.device) for t in results]
        if not calls:
            return True
        for b in buffers:
            b.fill_(7)
        places = [b.data_ptr() for b in buffers]
        for spelled in calls:
            spelled.run(buffers)
    except (RuntimeError, IndexError, TypeError, NotImplementedError):  # there is no such form
        return False
    return places == [b.data_ptr() for b in buffers] and all(map(same_bits, buffers, results))


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are equal in layout and to the last bit."""
    if (a.shape, a.dtype, a.stride()) != (b.shape, b.dtype, b.stride()):
        return False
    if a.is_meta:
        return True
    return torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
