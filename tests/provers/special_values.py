"""Every function of the table at special values, beside torch.autograd: value, gradient, second gradient.

Functions that work element by element meet every special value (and every pair or triple of a few): zeros of both
signs, infinities, NaN, ties, the ends of their domain and of the dtype. All other functions meet them sprinkled over their
sample calls. ``python tests/provers/special_values.py`` runs all of it and prints where the two libraries part.

torch's vector units sometimes treat NaN otherwise than its scalar loop does (``hardtanh``'s gradient there is 0 or 1
by the tensor's size). The scalar loop is what the formulas say and what other devices do, so torch is given strided
tensors, which take it.
"""

from __future__ import annotations

import itertools
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[i]) for i in (1, 2)]

import torch
import torch.nn.functional as F
from samples import SAMPLES, Call
from samples.calls import Spec, specs_in

import tapegrad
from tapegrad.op import TABLE

Function = Callable[..., Any]
REFUSALS = (TypeError, RuntimeError, AttributeError, ValueError, IndexError, NotImplementedError)
INF, NAN = math.inf, math.nan

# --- the values ---


def specials(dtype: torch.dtype, few: int = 0) -> list[float]:
    """Special values of a dtype; with ``few``, only so many, the most telling first."""
    info = torch.finfo(dtype)
    subnormal = info.smallest_normal * info.eps
    root = math.sqrt(info.smallest_normal)  # whose square is barely a normal number
    telling = [0.0, -0.0, 1.0, NAN, INF, -INF, -1.0, 2.0, info.max, subnormal, -0.5, root / 4]
    if few:
        return telling[:few]
    sizes = [
        subnormal, info.smallest_normal, root / 4, root, info.eps / 4, info.eps, 1e-4, 0.25, 0.5, 1 - info.eps / 2,
        1 + info.eps, 1.5, math.pi / 2, 2.0, 3.0, math.pi, 5.0, 6.0, 12.0, 20.0, 50.0, 88.0, 90.0, 100.0, 180.0, 710.0, 1e4,
        math.sqrt(info.max), info.max,
    ]  # fmt: skip
    return telling[:7] + [sign * size for size in sizes if size <= info.max for sign in (1, -1)]


def numbers_in(value: Any) -> Iterator[float]:
    """The finite numbers among a call's options: corners are there."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        yield float(value)
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from numbers_in(v)


# --- which functions work element by element ---


@dataclass(frozen=True)
class Form:
    """A function with its options; ``Spec``s stand where a tensor goes, all of one shape."""

    function: Function
    call: Call
    leaves: int

    def __str__(self) -> str:
        return f"{getattr(self.function, '__name__', self.function)}({self.call})"

    def run(self, tensors: list[Any]) -> Any:
        """The function of these tensors, the options being the call's."""
        supply = iter(tensors)

        def enter(value: Any) -> Any:
            if isinstance(value, Spec):
                return next(supply)
            return type(value)([enter(v) for v in value]) if isinstance(value, (list, tuple)) else value

        args, kwargs = [enter(a) for a in self.call.args], {k: enter(v) for k, v in self.call.kwargs.items()}
        torch.default_generator.manual_seed(1)
        if isinstance(self.function, type(torch.Tensor.view)):
            return getattr(args[0], self.function.__name__)(*args[1:], **kwargs)
        return self.function(*args, **kwargs)


def forms() -> list[Form]:
    """The elementwise functions of the table, by looking: what happens to one element depends on it alone."""
    found: dict[str, Form] = {}
    for function, calls in SAMPLES.items():
        for call in calls:
            specs = list(specs_in([*call.args, *call.kwargs.values()]))
            if not specs or len(specs) > 3 or not all(s.kind == "real" and s.dtype is None for s in specs):
                continue
            bare = without_shapes(call)
            form = Form(function, bare, len(specs))
            key = f"{function!r} {bare}"
            if key not in found and works_by_element(form, specs):
                found[key] = form
    return list(found.values())


def without_shapes(call: Call) -> Call:
    """The call with one and the same spec for each tensor."""

    def strip(value: Any) -> Any:
        if isinstance(value, Spec):
            return Spec((), "real", True)
        return type(value)([strip(v) for v in value]) if isinstance(value, (list, tuple)) else value

    return Call(tuple(strip(a) for a in call.args), {k: strip(v) for k, v in call.kwargs.items()})


def works_by_element(form: Form, specs: list[Spec]) -> bool:
    generator = torch.Generator().manual_seed(5)
    data = [replace(s, shape=(5,), given=None).make(torch.float64, generator) for s in specs]
    try:
        whole = form.run(data)
        apart = [form.run([d[i : i + 1] for d in data]) for i in range(5)]
    except REFUSALS:
        return False
    if not isinstance(whole, torch.Tensor) or whole.shape != (5,) or not whole.is_floating_point():
        return False
    return all(a.shape == (1,) for a in apart) and torch.allclose(torch.cat(apart), whole, equal_nan=True)


# --- one function on both libraries ---


def strided(x: torch.Tensor) -> torch.Tensor:
    """The same values in every second place of memory, where torch's vector units do not go."""
    return torch.stack([x, x], -1)[..., 0]


@dataclass
class Outcome:
    """What came out of one run: the value, gradients, and gradients of each gradient; None where refused."""

    value: torch.Tensor
    first: list[torch.Tensor]  # by backward
    recorded: list[torch.Tensor] | None  # with create_graph
    second: list[list[torch.Tensor]] | None  # of each gradient in each leaf, and in the cotangent


def outcome(run: Callable[[list[Any]], Any], data: list[torch.Tensor], mine: bool) -> Outcome:
    """Run a function on one of the libraries, twice differentiated if it can be."""
    wrap = (lambda t: tapegrad.tensor(strided(t), True)) if mine else (lambda t: strided(t).requires_grad_())
    grad = tapegrad.grad if mine else torch.autograd.grad
    leaves = [wrap(d) for d in data]
    out = run(leaves)
    v = wrap(torch.ones_like(raw(out)))
    zeros = [torch.zeros_like(raw(t)) for t in [*leaves, v]]

    def filled(gradients: Any) -> list[torch.Tensor]:
        return [z if g is None else raw(g) for g, z in zip(gradients, zeros, strict=False)]

    if not out.requires_grad:
        return Outcome(raw(out), zeros[:-1], None, None)
    first = grad(out, leaves, raw(v).clone(), retain_graph=True, allow_unused=True)
    recorded = second = None
    try:
        again = grad(out, leaves, v, create_graph=True, allow_unused=True)
        recorded = filled(again)
        second = [
            filled(grad(g, [*leaves, v], torch.ones_like(raw(g)), retain_graph=True, allow_unused=True))
            if g is not None and g.requires_grad
            else zeros
            for g in again
        ]
    except REFUSALS:
        pass
    return Outcome(raw(out), filled(first), recorded, second)


def raw(x: Any) -> torch.Tensor:
    return x.data if isinstance(x, tapegrad.Tensor) else x.detach()


def parts(mine: torch.Tensor, yours: torch.Tensor, tolerance: float, zeros: bool) -> torch.Tensor:
    """Where two results part: NaN, infinities, numbers beyond the tolerance and, if asked, signs of zeros."""
    if mine.shape != yours.shape or mine.dtype != yours.dtype:
        return torch.ones_like(yours, dtype=torch.bool)
    nan = mine.isnan() != yours.isnan()
    infinite = (mine.isinf() | yours.isinf()) & (mine != yours)
    a, b = mine.double(), yours.double()
    tiny = torch.finfo(mine.dtype).smallest_normal
    far = (a - b).abs() > tolerance * b.abs() + tiny
    wrong = nan | (infinite | far) & ~(mine.isnan() | yours.isnan())
    if zeros:
        wrong |= (mine == 0) & (yours == 0) & (mine.signbit() != yours.signbit())
    return wrong


@dataclass
class Fault:
    """A point where the libraries part."""

    what: str
    where: str  # "value", "gradient 0", "second 0 1"
    dtype: torch.dtype
    at: tuple[float, ...]
    mine: float
    yours: float

    def __str__(self) -> str:
        at = ", ".join(f"{v:.4g}" for v in self.at)
        return f"{self.what} {str(self.dtype)[6:]}: {self.where} at ({at}): ours {self.mine:.6g}, torch's {self.yours:.6g}"


def faults(form: Form, dtype: torch.dtype) -> Iterator[Fault]:
    """Where a form's value, gradients or second gradients are not torch's."""
    data = grid(form, dtype)
    try:
        yours = outcome(form.run, data, mine=False)
    except REFUSALS:
        return  # not in this dtype
    try:
        mine = outcome(form.run, data, mine=True)
    except REFUSALS as error:
        yield Fault(str(form), f"refused: {error}", dtype, (), NAN, NAN)
        return
    eps = torch.finfo(dtype).eps
    pairs = [("value", mine.value, yours.value, 0.0, True)]
    pairs += [(f"gradient {i}", a, b, 64 * eps, True) for i, (a, b) in enumerate(zip(mine.first, yours.first, strict=True))]
    if mine.recorded is not None:
        pairs += [(f"formula {i}", a, b, 64 * eps, True) for i, (a, b) in enumerate(zip(mine.recorded, yours.first, strict=True))]
    if yours.second is not None:
        if mine.second is None:
            yield Fault(str(form), "second: refused", dtype, (), NAN, NAN)
        else:
            for i, (row, wanted) in enumerate(zip(mine.second, yours.second, strict=True)):
                pairs += [(f"second {i} {j}", a, b, 1024 * eps, False) for j, (a, b) in enumerate(zip(row, wanted, strict=True))]
    for where, a, b, tolerance, zeros in pairs:
        for k in parts(a, b, tolerance, zeros).nonzero().flatten().tolist():
            yield Fault(str(form), where, dtype, tuple(d[k].item() for d in data), a[k].item(), b[k].item())


def grid(form: Form, dtype: torch.dtype) -> list[torch.Tensor]:
    """Special values for one tensor; all pairs or triples of them for more."""
    if form.leaves == 3:
        values = specials(dtype, few=9)
    else:
        values = specials(dtype)
        for corner in numbers_in([*form.call.args, *form.call.kwargs.values()]):
            at = torch.tensor([corner, -corner], dtype=dtype)
            near = [at, torch.nextafter(at, torch.full_like(at, INF)), torch.nextafter(at, torch.full_like(at, -INF))]
            values += torch.cat(near).tolist()
    points = torch.tensor(list(itertools.product(values, repeat=form.leaves)), dtype=dtype)
    return list(points.unbind(1))


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    count = 0
    for form in forms():
        for dtype in (torch.float32, torch.float64):
            found = list(faults(form, dtype))
            count += 1
            by = {}
            for fault in found:
                by.setdefault(fault.where, []).append(fault)
            for where, some in by.items():
                print(f"[{len(some)}]", *some[:4], sep="\n    ")
    print(count, "runs")


if __name__ == "__main__":
    main()
