"""Every function of the table at special values, beside torch.autograd: value, gradient, second gradient.

Functions that work element by element meet every special value, and every pair or triple of some: zeros of both signs,
infinities, NaN, ties, the ends of their domain and of the dtype. The others meet them sprinkled over their samples.
``python -m tests.provers.special_values`` runs all of it and prints where the two libraries part.

torch's vector units treat NaN otherwise than its scalar loop does: ``hardtanh``'s gradient there is 0 or 1, by the
tensor's size. The scalar loop does what the formula says and what other devices do, so that the elements are given in
a strided tensor, which takes it.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

import tapegrad
from tests.helpers import copy, raw
from tests.provers.runs import REFUSALS, Function, Run
from tests.provers.samples import SAMPLES, Call
from tests.provers.samples.calls import Spec, specs_in

INF, NAN = math.inf, math.nan
FLOATS = (torch.float32, torch.float64)

# --- where torch's answer is not ours, and why: function, what, at which values ---


@dataclass(frozen=True)
class Exempt:
    """A place where the libraries part, for a reason."""

    name: str
    where: str
    at: Callable[..., bool]
    reason: str


def anywhere(*at: float) -> bool:
    return True


def huge(x: float) -> bool:
    return 1e30 < abs(x) < INF


def not_finite(*at: float) -> bool:
    return not all(map(math.isfinite, at))


def saturated(x: float) -> bool:
    return 2 < abs(x) < INF


OVERFLOWS = "torch squares the number on the way and gets inf * 0"
ROUNDS = "the formula rounds 1 - y * y before the product; the kernel, as torch, after"
LOSES_NAN = "torch's second gradient loses the NaN of its first"
EXCEPTIONS = [
    *[
        Exempt(name, "second", huge, OVERFLOWS)
        for name in ("asinh", "atanh", "gelu", "erf", "erfc", "special_ndtr", "special_log_ndtr")
    ],
    Exempt("mish", "second", lambda x: x >= 90, OVERFLOWS),
    Exempt("tanh", "formula", saturated, ROUNDS),
    Exempt("tanh", "second", saturated, ROUNDS),
    Exempt("gelu", "gradient", saturated, "torch's kernel has a tanh of its own"),
    Exempt("gelu", "formula", saturated, "torch's kernel has a tanh of its own"),
    Exempt("gelu", "second", saturated, ROUNDS),
    Exempt("sinc", "formula", lambda x: abs(x) < 0.03, "torch's quotient has no digits left near 0; ours is a series"),
    Exempt("sinc", "second", lambda x: abs(x) < 0.03, "torch divides by 0 at 0, and has no digits left near it"),
    Exempt("log_sigmoid", "second", lambda x: x > 5, "torch has (z - 1) z, z = sigmoid(x), which rounds to 1"),
    Exempt("softplus", "second", lambda x: x in (2, 10, 20), "at the threshold torch differentiates the other branch"),
    Exempt("logit", "second", lambda x: x == 0, "torch's two orders give -0.0 different signs"),
    Exempt("smooth_l1_loss", "second", not_finite, LOSES_NAN),
    Exempt("huber_loss", "second", not_finite, LOSES_NAN),
    Exempt("emptied", "second", not_finite, "what zero_ empties is a product with 0 when it is recorded again"),
]  # fmt: skip


def excused(name: str, where: str, at: Iterable[float]) -> Exempt | None:
    """The exception that a fault falls under, if one does."""
    at = tuple(at)
    for e in EXCEPTIONS:
        if e.name == name and where.startswith(e.where) and e.at(*at):
            return e
    return None


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
        1 + info.eps, 1.5, math.pi / 2, 2.0, 3.0, math.pi, 5.0, 6.0, 12.0, 20.0, 50.0, 88.0, 90.0, 100.0, 180.0, 710.0,
        1e4, math.sqrt(info.max), info.max,
    ]  # fmt: skip
    return telling[:7] + [sign * size for size in sizes for sign in (1, -1)]


def numbers_in(value: Any) -> Iterator[float]:
    """The finite numbers among a call's options: corners are there."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        yield float(value)
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from numbers_in(v)


# --- functions that work element by element ---


@dataclass(frozen=True)
class Form:
    """A function with its options, in which all tensors have one shape."""

    function: Function
    call: Call
    tensors: int

    @property
    def name(self) -> str:
        return str(getattr(self.function, "__name__", self.function))

    def __str__(self) -> str:
        return f"{self.name}({self.call})"

    def of(self, tensors: Iterable[Any]) -> Any:
        """The function of these tensors."""
        supply = iter(tensors)
        return Run(self.function, self.call, lambda _: next(supply), torch.float64).result


def forms() -> list[Form]:
    """The elementwise functions among the samples, found by looking: what comes of an element depends on it alone.

    Of a vector, a norm along no dimension is one, too; but torch squares for it, and is NaN where the squares are 0.
    """
    found: dict[str, Form] = {}
    for function, calls in SAMPLES.items():
        if function is torch._weight_norm:
            continue
        for call in calls:
            specs = list(specs_in([*call.args, *call.kwargs.values()]))
            if not 1 <= len(specs) <= 3 or not all(s.kind == "real" and s.dtype is None for s in specs):
                continue
            form = Form(function, bare(call), len(specs))
            key = f"{function!r} {form}"
            if key not in found and works_by_element(form, specs):
                found[key] = form
    return list(found.values())


def bare(call: Call) -> Call:
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
        whole = form.of(data)
        apart = [form.of([d[i : i + 1] for d in data]) for i in range(5)]
    except REFUSALS:
        return False
    if not isinstance(whole, torch.Tensor) or whole.shape != (5,) or not whole.is_floating_point():
        return False
    return all(a.shape == (1,) for a in apart) and torch.allclose(torch.cat(apart), whole, equal_nan=True)


def grid(form: Form, dtype: torch.dtype) -> list[torch.Tensor]:
    """Special values for one tensor; all pairs or triples of them for more."""
    values = specials(dtype, few=9 if form.tensors == 3 else 0)
    if form.tensors < 3:
        for corner in numbers_in([*form.call.args, *form.call.kwargs.values()]):
            at = torch.tensor([corner, -corner], dtype=dtype)
            values += torch.cat([at, *(torch.nextafter(at, torch.full_like(at, to)) for to in (INF, -INF))]).tolist()
    points = torch.tensor(list(itertools.product(values, repeat=form.tensors)), dtype=dtype)
    return [strided(column) for column in points.unbind(1)]


def strided(x: torch.Tensor) -> torch.Tensor:
    """The same values in every second place of memory, where torch's vector units do not go."""
    return torch.stack([x, x], -1)[..., 0]


# --- one run on each library ---


@dataclass
class Outcome:
    """What came of one run; None where it was refused."""

    values: list[torch.Tensor]
    first: list[torch.Tensor | None]  # the gradient of each leaf
    recorded: list[torch.Tensor | None] | None = None  # the same with create_graph
    second: list[list[torch.Tensor | None] | None] | None = None  # the gradients of each of these


def outcome(run: Callable[[], tuple[list[Any], list[Any]]], grad: Any, seed: int | None, twice: bool) -> Outcome:
    """Run a function on one of the libraries and differentiate it.

    Args:
        run: returns leaves, and outputs that carry a gradient.
        grad: the library's function of that name.
        seed: of the cotangents; None for ones.
        twice: whether second gradients are asked for.
    """
    leaves, outputs = run()
    if not outputs:
        return Outcome([], [])
    v = weights(outputs, seed)
    ask = {"allow_unused": True, "retain_graph": True}
    done = Outcome([raw(o) for o in outputs], plain(grad(outputs, leaves, [c.clone() for c in v], **ask)))
    if not twice:
        return done
    wrap = tapegrad.tensor if grad is tapegrad.grad else torch.Tensor.requires_grad_
    v_leaves = [wrap(copy(c), True) for c in v]
    try:
        again = grad(outputs, leaves, v_leaves, create_graph=True, allow_unused=True)
        done.recorded = plain(again)
        done.second = [
            plain(grad([g], [*leaves, *v_leaves], weights([g], seed), **ask))
            if g is not None and g.requires_grad
            else None
            for g in again
        ]
    except REFUSALS:
        pass
    return done


def plain(gradients: Any) -> list[torch.Tensor | None]:
    return [raw(g) for g in gradients]


def weights(like: list[Any], seed: int | None) -> list[torch.Tensor]:
    """Random numbers, or ones, to sum outputs with."""
    if seed is None:
        return [torch.ones_like(raw(o)) for o in like]
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.dtype) for o in like]


# --- the comparison ---


@dataclass
class Fault:
    """A point where the libraries part.

    Attributes:
        name, what: the function, and its call.
        where: "value", "gradient 0", "formula 0" (the gradient with create_graph), "second 0 1", "refused".
        at: the element's arguments; of other functions, nothing.
        detail: what each library says.
    """

    name: str
    what: str
    where: str
    dtype: torch.dtype
    at: tuple[float, ...]
    detail: str
    sprinkle: str = ""

    def __str__(self) -> str:
        at = f" at ({', '.join(f'{v:.4g}' for v in self.at)})" if self.at else ""
        return f"{self.what} {str(self.dtype)[6:]}: {self.where}{at}: {self.detail}"


def parted(a: torch.Tensor, b: torch.Tensor, rtol: float, atol: float, signed: bool) -> torch.Tensor:
    """Where two results part: in NaN, in infinities, beyond the tolerance and, if ``signed``, in the signs of zeros."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return torch.ones_like(b, dtype=torch.bool)
    x, y = a.double(), b.double()
    alike = (
        (x == y) | (x.isnan() & y.isnan()) | (x.isfinite() & y.isfinite() & ((x - y).abs() <= rtol * y.abs() + atol))
    )
    if signed:
        alike &= ~((a == 0) & (b == 0) & (a.signbit() != b.signbit()))
    return ~alike


def pairs(mine: Outcome, yours: Outcome) -> Iterator[tuple[str, torch.Tensor | None, torch.Tensor | None]]:
    """The results that are to be the same; None stands for zeros."""
    for i, (a, b) in enumerate(zip(mine.values, yours.values, strict=True)):
        yield f"value {i}", a, b
    for i, (a, b) in enumerate(zip(mine.first, yours.first, strict=True)):
        yield f"gradient {i}", a, b
    for i, (a, b) in enumerate(zip(mine.recorded or [], yours.first, strict=False)):
        yield f"formula {i}", a, b
    for i, (row, wanted) in enumerate(zip(mine.second or [], yours.second or [], strict=False)):
        for j, (a, b) in enumerate(zip(row or itertools.repeat(None), wanted or itertools.repeat(None))):  # noqa: B905
            if a is None and b is None and (row is None or wanted is None):
                break
            yield f"second {i} {j}", a, b


def faults(form: Form, dtype: torch.dtype) -> Iterator[Fault]:
    """Where an elementwise function is not torch's."""
    data = grid(form, dtype)

    def run(wrap: Any) -> Callable[[], tuple[list[Any], list[Any]]]:
        def made() -> tuple[list[Any], list[Any]]:
            leaves = [wrap(copy(d), True) for d in data]
            out = form.of(leaves)
            return leaves, [out] if out.requires_grad else []

        return made

    try:
        yours = outcome(run(torch.Tensor.requires_grad_), torch.autograd.grad, None, True)
    except REFUSALS:
        return  # not in this dtype
    try:
        mine = outcome(run(tapegrad.tensor), tapegrad.grad, None, True)
    except REFUSALS as error:
        yield Fault(form.name, str(form), "refused", dtype, (), str(error))
        return
    if yours.second is not None and mine.second is None:
        yield Fault(form.name, str(form), "second: refused", dtype, (), "torch differentiates it twice")
    info = torch.finfo(dtype)
    for where, a, b in pairs(mine, yours):
        roundings = {"value": 0, "gradient": 64, "formula": 64, "second": 1024}[where.split()[0]]
        zeros = torch.zeros_like(data[0])
        a, b = zeros if a is None else a, zeros if b is None else b
        signed = where.startswith(("value", "gradient"))
        for k in parted(a, b, roundings * info.eps, info.smallest_normal, signed).nonzero().flatten().tolist():
            at = tuple(d[k].item() for d in data)
            yield Fault(form.name, str(form), where, dtype, at, f"ours {a[k].item():.6g}, torch's {b[k].item():.6g}")


# --- the other functions: their samples, sprinkled ---

# What replaces some elements, or all of them (the flag).
SPRINKLES: dict[str, tuple[bool, list[float]]] = {
    "zeros": (True, [0.0]),
    "zeros of both signs": (True, [0.0, -0.0]),
    "ones": (True, [1.0]),
    "zeros and ones": (True, [0.0, 1.0]),
    "ties": (True, [0.0, 1.0, 2.0, -1.0]),
    "two zeros": (False, [0.0, 0.0]),
    "NaN": (False, [NAN]),
    "two zeros and NaN": (False, [0.0, 0.0, NAN]),
    "an infinity": (False, [INF]),
}

# Functions, where, sprinkles (none: all), reason.
SPRINKLED_EXCEPTIONS: list[tuple[str, str, str, str]] = [
    (
        "cross_entropy batch_norm layer_norm group_norm instance_norm linalg_solve linalg_solve_ex linalg_tensorsolve det"
        " linalg_det bilinear",
        "gradient formula", "an infinity",
        "inf - inf and 0 * inf are met in another order of operations",
    ),
    ("prelu", "second", "", "at 0 torch's second gradient takes the other side than its first"),
    ("cumprod", "gradient formula", "NaN, two zeros and NaN, an infinity", "torch leaves out NaN * 0 and inf * 0"),
    ("renorm", "second", "", "torch's is NaN below maxnorm, where nothing is scaled"),
    ("cdist pdist", "gradient", "NaN, two zeros and NaN, an infinity", "torch's kernels have a sign of NaN that is NaN; torch.sgn(NaN) is 0"),
    ("scatter_reduce index_reduce", "gradient formula second", "", "torch shares ties with the input that include_self=False leaves out"),
    ("segment_reduce", "gradient", "", "torch shares a gradient between equal extremes where it is positive, and gives each the whole where it is negative"),
    ("linalg_det det", "gradient formula", "", "of a singular matrix torch's gradient is 0, but for a single element; ours are the cofactors"),
    ("linalg_det det", "second", "", "torch differentiates the singular vectors of equal singular values"),
    ("linalg_qr qr pinverse", "gradient formula second", "", "a singular triangle, or a singular value that is rounding: infinite or without meaning"),
    ("polar", "gradient formula second", "", "at 0 torch's slope along the radius is 0; it is exp(i angle) there as everywhere"),
    ("lu linalg_lu linalg_lu_factor linalg_lu_factor_ex _lu_with_info linalg_lu_solve lu_solve", "second", "", "a singular triangle: infinite or without meaning"),
    ("eigenvectors_of_sum sizes_of_eigenvectors", "gradient formula second", "", "equal eigenvalues: where the numerator is 0 too torch has 0 / 0, and ours 0"),
    ("binary_cross_entropy", "second", "", "at the poles torch differentiates without the bound that its first gradient has"),
    ("scaled_dot_product_attention", "value gradient formula", "NaN, two zeros and NaN, an infinity", "ours lets no NaN past a mask"),
]  # fmt: skip


def excused_sprinkle(name: str, where: str, sprinkle: str) -> str:
    """Why the libraries part there; nothing if they should not."""
    for names, places, sprinkles, reason in SPRINKLED_EXCEPTIONS:
        if name in names.split() and where.split()[0] in places.split() and (sprinkle in sprinkles or not sprinkles):
            return reason
    return ""


def sprinkled(sprinkle: str, seed: int = 0) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function that puts special values into tensors, other ones into each."""
    everywhere, values = SPRINKLES[sprinkle]
    generator = torch.Generator().manual_seed(seed)

    def put(t: torch.Tensor) -> torch.Tensor:
        if not t.is_floating_point() or t.numel() == 0:
            return t
        flat = t.detach().clone().reshape(-1)
        if everywhere:
            chosen = torch.randint(len(values), flat.shape, generator=generator)
            flat = torch.tensor(values, dtype=t.dtype)[chosen]
        else:
            for i, value in zip(torch.randperm(len(flat), generator=generator).tolist(), values, strict=False):
                flat[i] = value
        return flat.reshape(t.shape)

    return put


def sprinkled_faults(function: Function, call: Call, sprinkle: str, dtype: torch.dtype) -> Iterator[Fault]:
    """Where a function is not torch's with special values in the tensors of a sample call."""

    def run(wrap: Any) -> Callable[[], tuple[list[Any], list[Any]]]:
        def made() -> tuple[list[Any], list[Any]]:
            put = sprinkled(sprinkle)
            done = Run(function, call, lambda t: wrap(put(t), True), dtype, constant=put)
            return done.leaves, done.outputs

        return made

    name, what = getattr(function, "__name__", str(function)), f"{getattr(function, '__name__', function)}({call})"
    what += f" with {sprinkle}"
    twice = not call.at_torch and all(math.isfinite(v) for v in SPRINKLES[sprinkle][1])
    try:
        yours = outcome(run(torch.Tensor.requires_grad_), torch.autograd.grad, 3, twice)
    except REFUSALS:
        return
    try:
        mine = outcome(run(tapegrad.tensor), tapegrad.grad, 3, twice)
    except REFUSALS as error:
        yield Fault(name, what, "refused", dtype, (), str(error), sprinkle)
        return
    if yours.second is not None and mine.second is None:
        yield Fault(name, what, "second: refused", dtype, (), "torch differentiates it twice", sprinkle)
    eps = torch.finfo(dtype).eps
    for where, a, b in pairs(mine, yours):
        if a is None and b is None:
            continue
        a = torch.zeros_like(b) if a is None else a  # type: ignore[arg-type]  # one of them is a tensor
        b = torch.zeros_like(a) if b is None else b
        finite = b[b.isfinite()].abs()
        scale = max(1.0, finite.max().item()) if finite.numel() else 1.0
        tolerance = 30_000 * eps if where.startswith("second") else 1_000 * eps
        if call.has_float32 or torch.float32 in (a.dtype, b.dtype):
            tolerance = max(tolerance, 1e-3)
        wrong = parted(a, b, tolerance, tolerance * scale, False)
        if wrong.any():
            k = tuple(wrong.nonzero()[0].tolist())
            there = (
                f"at {list(k)} ours {a[k].item():.6g}, torch's {b[k].item():.6g}" if a.shape == b.shape else "shapes"
            )
            yield Fault(name, what, where, dtype, (), there, sprinkle)


def small_calls(besides: Iterable[Form]) -> Iterator[tuple[Function, Call]]:
    """The small samples of functions that do not work element by element."""
    known = {f"{form.function!r} {form}" for form in besides}
    for function, calls in SAMPLES.items():
        for call in calls:
            key = f"{function!r} {Form(function, bare(call), 0)}"
            if 0 < call.numel <= 40 and key not in known:
                yield function, call


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    runs, unexpected, expected = 0, 0, 0
    elementwise = forms()
    for form in elementwise:
        for dtype in FLOATS:
            runs += 1
            for fault in faults(form, dtype):
                if excused(fault.name, fault.where, fault.at):
                    expected += 1
                else:
                    unexpected += 1
                    print(fault)
    for function, call in small_calls(elementwise):
        for sprinkle in SPRINKLES:
            for dtype in FLOATS:
                runs += 1
                for fault in sprinkled_faults(function, call, sprinkle, dtype):
                    if excused_sprinkle(fault.name, fault.where, fault.sprinkle):
                        expected += 1
                    else:
                        unexpected += 1
                        print(fault)
    print(f"{runs} runs: {unexpected} unexpected differences, {expected} with a reason")


if __name__ == "__main__":
    main()
