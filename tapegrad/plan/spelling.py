"""Spelling: how Python makes an ATen call in the least time.

``torch.ops.aten.mul.Tensor(a, b)`` takes twice as long as ``torch.mul(a, b)``, which takes longer than
``torch.mul(a, b, out=o)`` once ``o`` is no new memory. A spelling is tried when a call is recorded, and kept if the
dispatcher is seen to get the same call, or the call's ``out=`` form that gives the same bits.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_NAMESPACES = (torch, torch._C._nn, torch._C._special, torch._C._linalg, torch._C._fft)
_EXACT = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Out:
    """In a spelled call, the place of the buffer for one of the results."""

    index: int = 0


@dataclass(frozen=True)
class Spelled:
    """A call as Python makes it.

    Attributes:
        target: a function; or the name of a method of the first argument.
        args, kwargs: the arguments: tensors while it is tried, Values once it is recorded, and ``Out``.
    """

    target: Callable[..., Any] | str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    def run(self, outs: Sequence[torch.Tensor] = ()) -> Any:
        """Make the call on tensors."""
        args, kwargs = _filled(self.args, outs), _filled(self.kwargs, outs)
        return getattr(args[0], self.target)(*args[1:], **kwargs) if type(self.target) is str else self._call(args, kwargs)

    def _call(self, args: Any, kwargs: Any) -> Any:
        return self.target(*args, **kwargs)  # type: ignore[operator]  # run() knows that it is a function


@dataclass(frozen=True)
class Trial:
    """A quick call that refuses some of what the sure one takes, such as negative indices.

    Attributes:
        quick: tried first; what it has written by the time it refuses is written again.
        sure: called if it raises.
    """

    quick: Spelled
    sure: Spelled

    def run(self, outs: Sequence[torch.Tensor] = ()) -> Any:
        """Make the call on tensors."""
        try:
            return self.quick.run(outs)
        except (IndexError, RuntimeError):
            return self.sure.run(outs)


def _filled(tree: Any, outs: Sequence[torch.Tensor]) -> Any:
    if type(tree) is Spelled:
        return tree.run(outs)
    if type(tree) is Out:
        return outs[tree.index]
    if isinstance(tree, (tuple, list)):
        return type(tree)([_filled(item, outs) for item in tree])
    return {k: _filled(v, outs) for k, v in tree.items()} if type(tree) is dict else tree


class _Probe(TorchDispatchMode):
    """Sees which calls reach the dispatcher, and runs none of them."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer, self.seen = answer, list[tuple[Any, Any, Any]]()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler, which takes ten seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append((func, args, kwargs or {}))
        return self.answer


def _reaches(spelled: Spelled, answer: Any, outs: Sequence[torch.Tensor] = ()) -> tuple[Any, Any, Any] | None:
    """The one call that a spelling makes of the dispatcher; None if it makes none, or several."""
    probe = _Probe(answer)
    try:
        with torch._C.DisableTorchFunction(), probe:
            spelled.run(outs)
    except Exception:  # there is no such spelling
        return None
    return probe.seen[0] if len(probe.seen) == 1 else None


def _alike(a: Any, b: Any) -> bool:
    """Whether arguments are the same: tensors the very same."""
    if isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor):
        return a is b
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[k], b[k]) for k in a)
    return type(a) is type(b) and (a == b or (a != a and b != b))


def _name(func: Any) -> str:
    return str(func._schema.name).removeprefix("aten::")


def fresh(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, number: Number) -> Spelled:
    """The quickest spelling of a call that gives new tensors, takes a view, or writes in place."""
    name = _name(func)
    if name.rstrip("_") in _WITH_NUMBERS and name.endswith("_") and len(args) == 2 and not kwargs:
        operand = _as_tensor(args[1], args[0], number)
        if operand is not args[1]:
            return Spelled(name, (args[0], operand))
    for spelled in _candidates(name, args, kwargs):
        seen = _reaches(spelled, out)
        if seen is not None and seen[0] is func and _alike(seen[1:], (args, kwargs)):
            return spelled
    return Spelled(func, args, kwargs)


def _candidates(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Spelled]:
    if name == "index":
        index = tuple([slice(None) if i is None else i for i in args[1]])
        yield Spelled(operator.getitem, (args[0], index[0] if len(index) == 1 else index))
    if args and isinstance(args[0], torch.Tensor):
        yield Spelled(name, args, kwargs)
    for namespace in _NAMESPACES:
        if (function := getattr(namespace, name, None)) is not None:
            yield Spelled(function, args, kwargs)


# --- results into buffers that are there already ---

_FILLED = {
    "zeros": 0, "zeros_like": 0, "new_zeros": 0, "ones": 1, "ones_like": 1, "new_ones": 1, "full": None,
    "full_like": None, "new_full": None, "scalar_tensor": None,
}  # fmt: skip
_EMPTY = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"}
_COPIED = {"clone", "_to_copy", "lift_fresh_copy"}
_WITH_NUMBERS = {"add", "sub", "mul", "div", "rsub"}  # given a number, torch makes a tensor of it at every call

Number = Callable[[float, torch.Tensor], torch.Tensor]


def operand(number: float, like: torch.Tensor) -> torch.Tensor:
    """A number as a tensor of one element, rounded as torch rounds it when it meets ``like``."""
    kind = torch.float64 if type(number) is float else torch.int64
    return torch.tensor(number, dtype=kind, device=like.device).to(like.dtype)


def into(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], results: Sequence[torch.Tensor], number: Number
) -> list[Spelled | Trial] | None:
    """How to write what a call gives into buffers of the same layout.

    Args:
        func, args, kwargs: the call.
        results: what it gave.
        number: gives the constant tensor that stands for a number.

    Returns:
        What to call, one after another; None if the call gives new memory only.
    """
    for spelled in _into(_name(func), args, kwargs, results, number):
        if _gives(spelled, func, results):
            return spelled
    return None


def _into(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], results: Sequence[torch.Tensor], number: Number
) -> Iterator[list[Spelled | Trial]]:
    if name in _EMPTY:
        yield []
    if name in _FILLED:
        fill = _FILLED[name]
        if fill is None:
            fill = args[{"full": 1, "full_like": 1, "new_full": 2, "scalar_tensor": 0}[name]]
        yield [Spelled("zero_", (Out(),)) if fill == 0 else Spelled("fill_", (Out(), fill))]
    if name in _COPIED:
        yield [Spelled("copy_", (Out(), args[0]))]
    if name == "index" and args[0].is_cpu and len(args[1]) == 1 and args[1][0].is_contiguous():
        row, index = args[0].shape[1:], args[1][0]
        place = Spelled("view", (Out(), -1, *row))
        quick = Spelled(torch.index_select, (args[0], 0, Spelled("view", (index, -1))), {"out": place})
        yield [Trial(quick, Spelled("copy_", (Out(), Spelled(operator.getitem, (args[0], index)))))]
    if name == "mean" and len(args) == 1 and not kwargs and args[0].is_cpu and args[0].dtype in _EXACT:
        count = number(args[0].numel(), args[0]) if args[0].numel() else None
        dims = list(range(args[0].ndim))
        yield [Spelled(torch.sum, (args[0], dims), {"out": Out()}), Spelled("div_", (Out(), count))]
    out = Out() if len(results) == 1 else tuple(map(Out, range(len(results))))
    for given in _given(name, args, kwargs, number):
        function_name, operands = given
        for namespace in _NAMESPACES:
            if (function := getattr(namespace, function_name, None)) is not None:
                yield [Spelled(function, operands, {**kwargs, "out": out})]
    if args and isinstance(args[0], torch.Tensor) and len(results) == 1 and hasattr(torch.Tensor, f"{name}_"):
        first, result = args[0], results[0]
        if (first.shape, first.dtype) == (result.shape, result.dtype):
            yield [Spelled("copy_", (Out(), first)), Spelled(f"{name}_", (Out(), *args[1:]), kwargs)]


def _as_tensor(value: Any, like: torch.Tensor, number: Number) -> Any:
    """A number as a tensor of one element, where that comes to the same: see ``kernels/scalar.py``."""
    exact = type(value) in (int, float) and value and abs(value) < 2**63 and like.dtype in _EXACT and like.is_cpu
    return number(value, like) if exact else value


def _given(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], number: Number
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The function to call and its operands; with tensors in place of numbers, where that comes to the same."""
    if name == "relu":  # as torch defines it
        yield "clamp_min", (*args, 0)
    if name in _WITH_NUMBERS and len(args) == 2 and not kwargs:
        first, second = args
        second = _as_tensor(second, first, number)
        if isinstance(second, torch.Tensor):
            yield ("sub", (second, first)) if name == "rsub" else (name, (first, second))
    yield name, args


def refine(call: Any) -> None:
    """A quicker spelling of a recorded call, now that it is known what is constant: x[arange(n), i] picks from rows."""
    if _name(call.func) != "index" or len(call.args[1]) != 2 or len(call.args[0].shape) != 2 or None in call.args[1]:
        return
    x, (rows, index) = call.args
    if rows.storage.origin != "constant" or rows.shape != index.shape or index.dtype != torch.int64:
        return
    n = x.shape[0]
    if x.device.type == "cpu" and rows.shape == (n,) and torch.equal(rows.tensor, torch.arange(n)):
        place = Spelled("unsqueeze", (Out(), 1))
        quick = Spelled(torch.gather, (x, 1, Spelled("unsqueeze", (index, 1))), {"out": place})
        call.into = [Trial(quick, Spelled("copy_", (Out(), call.fresh)))]


def _gives(calls: Sequence[Spelled | Trial], func: Any, results: Sequence[torch.Tensor]) -> bool:
    """Whether calls write just what a call gave, into memory that they leave where it is."""
    try:
        buffers = [torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=t.device) for t in results]
        if not calls:
            return True
        for b in buffers:
            b.fill_(7)
        places = [b.data_ptr() for b in buffers]
        with torch._C.DisableTorchFunction():
            for spelled in calls:
                spelled.run(buffers)
    except Exception:  # there is no such form
        return False
    return places == [b.data_ptr() for b in buffers] and all(map(same_bits, buffers, results))


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are equal in layout and to the last bit."""
    if (a.shape, a.dtype, a.stride()) != (b.shape, b.dtype, b.stride()):
        return False
    if a.is_meta:
        return True
    return torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
