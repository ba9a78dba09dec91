"""One call of an operator, on tapegrad and on torch, and how far the two differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

import tapegrad
from tapegrad.errors import InPlaceError, MissingRule

RTOL = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
REFUSALS = (MissingRule, InPlaceError)


class Wrong(Exception):
    """The two libraries disagree."""


# --- one call on one library ---


class Run:
    """A call of one form on one library.

    Attributes:
        tensors: all tensors among the arguments.
        leaves: those that require grad.
        result: what the call returned.
    """

    def __init__(self, arguments: Any, leaf: Callable[[torch.Tensor], Any], every: bool = False) -> None:
        self.tensors: list[Any] = []
        self.leaves: list[Any] = []
        seen: dict[int, Any] = {}  # a tensor that is given twice stays one tensor

        def enter(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                if id(value) not in seen:
                    takes = value.requires_grad or (every and (value.is_floating_point() or value.is_complex()))
                    seen[id(value)] = leaf(copied(value)) if takes else copied(value)
                    self.tensors.append(seen[id(value)])
                    if takes:
                        self.leaves.append(seen[id(value)])
                return seen[id(value)]
            if type(value) in (list, tuple):
                return type(value)([enter(v) for v in value])
            if isinstance(value, dict):
                return {k: enter(v) for k, v in value.items()}
            return value

        self.args, self.kwargs = enter(arguments[0]), enter(arguments[1])
        self.result: Any = None
        self.cotangent_dtype: Callable[[torch.dtype], torch.dtype] = lambda dtype: dtype

    def call(self, form: Callable[..., Any]) -> None:
        """Call the form, from the same random state on both libraries."""
        torch.default_generator.manual_seed(0)  # torch.manual_seed is slow: it keeps a traceback for devices to come
        self.result = form(*self.args, **self.kwargs)

    def gradients(self, grad: Callable[..., Any], refusable: bool = True) -> list[Any] | None:
        """The gradient of each leaf, for a random cotangent of each output; None if torch cannot say."""
        outputs = [t for t in tensors(self.result) if t.requires_grad]
        generator = torch.Generator().manual_seed(1)
        dtypes = [self.cotangent_dtype(t.dtype) for t in outputs]
        drawn = [torch.randn(t.shape, dtype=d, generator=generator) for t, d in zip(outputs, dtypes, strict=True)]
        cotangents = [g.to(t.device, t.dtype) for t, g in zip(outputs, drawn, strict=True)]
        try:
            return list(grad(outputs, self.leaves, cotangents, allow_unused=True))
        except Exception as problem:
            if refusable:
                return None
            raise RuntimeError(f"in the backward pass, {type(problem).__name__}: {problem}") from problem


def ours(data: torch.Tensor) -> tapegrad.Tensor:
    """A leaf of tapegrad's."""
    return tapegrad.tensor(data, requires_grad=True)


def theirs(data: torch.Tensor) -> torch.Tensor:
    """A leaf of torch's."""
    return data.requires_grad_()


def copied(data: torch.Tensor) -> torch.Tensor:
    """A copy in the same layout, strides included, so that both libraries meet the same."""
    data = data.detach()
    if data.layout != torch.strided or data.numel() == 0 or data.is_conj() or data.is_neg():
        return data.clone()
    extent = 1 + sum((n - 1) * stride for n, stride in zip(data.shape, data.stride(), strict=True))
    storage = torch.as_strided(data, (extent,), (1,), data.storage_offset()).clone()
    return storage.as_strided(data.shape, data.stride())


def tensors(value: Any) -> Iterator[Any]:
    """The tensors in a result, of either library."""
    if isinstance(value, (torch.Tensor, tapegrad.Tensor)):
        yield value
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from tensors(v)


def same_kind(mine: Any, yours: Any, what: str) -> None:
    """The same nesting of the same containers; the same numbers."""
    if isinstance(yours, torch.Tensor):
        if not isinstance(mine, (torch.Tensor, tapegrad.Tensor)):
            raise Wrong(f"{what} is {type(mine).__name__}, torch's a tensor")
    elif isinstance(yours, (list, tuple)):
        if type(mine) is not type(yours):
            raise Wrong(f"{what} is a {type(mine).__name__}, torch's a {type(yours).__name__}")
        if len(mine) != len(yours):
            raise Wrong(f"{what} has {len(mine)} parts, torch's {len(yours)}")
        for i, (a, b) in enumerate(zip(mine, yours, strict=True)):
            same_kind(a, b, f"{what}[{i}]")
    elif mine != yours and not (mine != mine and yours != yours):
        raise Wrong(f"{what} is {mine!r}, torch's {yours!r}")


def compared(mine: Any, yours: Any, what: str, largest: float) -> tuple[bool, float]:
    """Compare two tensors: whether all bits agree, and the largest difference relative to the largest element.

    Args:
        mine: tapegrad's.
        yours: torch's.
        what: the tensor, for a message.
        largest: the largest element of anything in this run. What is tiny beside it is rounding noise, say of a
            gradient that is 0 in mathematics, and is measured by the largest.
    """
    if mine is None or yours is None:
        there = plain(mine if yours is None else yours)
        if there is not None and there.numel() and bool((there != 0).any()):
            raise Wrong(f"{what} is {'None' if mine is None else 'not None'}, and torch's is the contrary")
        return True, 0.0
    mine, yours = plain(mine), plain(yours)
    if mine.shape != yours.shape:
        raise Wrong(f"{what} has shape {tuple(mine.shape)}, torch's {tuple(yours.shape)}")
    if mine.dtype != yours.dtype:
        raise Wrong(f"{what} is {mine.dtype}, torch's {yours.dtype}")
    same = (mine == yours) | ((mine != mine) & (yours != yours))
    if bool(same.all()):
        return True, 0.0
    wide = torch.complex128 if yours.is_complex() else torch.float64
    distance = torch.where(same, 0.0, (mine.to(wide) - yours.to(wide)).abs()).nan_to_num(math.inf, math.inf)
    rtol = tolerance(yours.dtype)
    scale = magnitude(yours)
    scale = scale if scale > rtol * largest else largest
    relative = distance.max().item() / scale
    allowed = rtol * yours.to(wide).abs().nan_to_num(0.0, 0.0, 0.0) + 0.1 * rtol * max(1.0, scale)
    if bool((distance > allowed).any()):
        at = int((distance - allowed).argmax())
        a, b = mine.flatten()[at].item(), yours.flatten()[at].item()
        raise Wrong(f"{what}, of shape {tuple(yours.shape)}: element {at} is {a!r}, torch's {b!r}")
    return False, relative


# --- who is nearer to the truth ---

WIDE = {torch.float32: torch.float64, torch.complex64: torch.complex128}
NARROW = {wide: narrow for narrow, wide in WIDE.items()}


def widened(arguments: Any) -> Any:
    """The arguments of a call in twice the precision; a tensor that is given twice stays one tensor."""
    seen: dict[int, Any] = {}

    def widen(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.dtype in WIDE:
            if id(value) not in seen:
                seen[id(value)] = copied(value).to(WIDE[value.dtype]).requires_grad_(value.requires_grad)
            return seen[id(value)]
        if type(value) in (list, tuple):
            return type(value)([widen(v) for v in value])
        return {k: widen(v) for k, v in value.items()} if isinstance(value, dict) else value

    return widen(arguments)


def in_double(form: Callable[..., Any], arguments: Any, process: Callable[..., Any]) -> list[Any]:
    """What torch computes of a call in twice the precision: outputs, gradients of the inputs, inputs after the call."""
    run = Run(widened(arguments), theirs)
    run.cotangent_dtype = lambda dtype: NARROW.get(dtype, dtype)
    run.call(form)
    found = [*tensors(run.result)]
    if any(t.requires_grad for t in found):
        if (gradients := run.gradients(torch.autograd.grad)) is None:
            run.result = process(run.result)
            gradients = run.gradients(torch.autograd.grad)
        found += gradients or []
    return found + run.tensors


def no_farther(mine: Any, yours: Any, truth: Any) -> float:
    """Hold two results that differ to the same in twice the precision: ours may be twice as far from it as torch's.

    Returns:
        How far the two are apart, relative to the largest element.

    Raises:
        Wrong: ours is farther, or torch's is so far that the truth says nothing, as of random numbers.
    """
    mine, yours, truth = plain(mine), plain(yours), plain(truth)
    there = yours.isfinite() & truth.isfinite()
    if yours.dtype not in WIDE or mine.shape != truth.shape or not torch.equal(mine[~there], yours[~there]):
        raise Wrong("there is nothing to hold it to")
    distances = [(value[there] - truth[there]).abs().max().item() for value in (mine, yours)]
    scale = magnitude(truth)
    if distances[0] > 2 * distances[1] or distances[1] > 10 * tolerance(yours.dtype) * scale:
        raise Wrong(f"from float64, ours is {distances[0]:.2g} and torch's {distances[1]:.2g} away")
    return (mine[there] - yours[there]).abs().max().item() / scale


def magnitude(value: torch.Tensor) -> float:
    """The largest finite element."""
    finite = value[value.isfinite()].to(torch.complex128 if value.is_complex() else torch.float64).abs()
    return finite.max().item() if finite.numel() else 0.0


def plain(value: Any) -> Any:
    """A dense torch tensor, without a past."""
    value = value.data if isinstance(value, tapegrad.Tensor) else value
    if value is None:
        return None
    value = value.detach().resolve_conj().resolve_neg()
    return value if value.layout == torch.strided else value.to_dense()


def tolerance(dtype: torch.dtype) -> float:
    """How far two numbers of a type may be apart and still be one number, differently rounded."""
    if dtype.is_complex:
        dtype = dtype.to_real()
    return RTOL.get(dtype, 0.0)
