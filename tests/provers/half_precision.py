"""float16 and bfloat16: is tapegrad as near to the true values as torch is?

    python -m tests.provers.half_precision                      every function of the samples, at every scale
    python -m tests.provers.half_precision silu batch_norm      those whose names contain one of these

torch computes an operation on half-precision tensors in float32 inside, and rounds once. Each sample call is run here
and on torch, on values of magnitudes from 1e-4 to 1e4, and both are compared with torch in float64 on the same, rounded
values: results, gradients, and gradients that were recorded to be differentiated again. What is found:

* ``lost``: NaN or infinity where torch has a number;
* ``rough``: a mean error larger than torch's by more than a tenth. An error is counted in units in the last place of
  the true value. Where few elements come out, or some that nearly cancel, luck decides which library is nearer; so the
  excess must be three times its own standard error, over all elements of all calls, each with several draws.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

import tapegrad
from tests.provers.samples import SAMPLES, Call
from tests.provers.samples.calls import specs_in

Function = Callable[..., Any]

HALF = (torch.float16, torch.bfloat16)


class Scale(NamedTuple):
    """By what the first tensor of a call, its other tensors, and the cotangents are multiplied."""

    first: float
    others: float
    cotangents: float = 1.0

    def __str__(self) -> str:
        return " ".join(f"{factor:g}" for factor in self)


SCALES = (
    *[Scale(m, m) for m in (1e-4, 1e-2, 1.0, 1e2, 1e4)],
    *[Scale(*m) for m in ((1e4, 1.0), (1.0, 1e4), (1e-4, 1.0), (1.0, 1e-4))],
    *[Scale(1.0, 1.0, c) for c in (1e-4, 1e4)],
)
TOLERANCE = 1.1  # times torch's error
DRAWS = 4  # of the arguments of a call
REFUSALS = (TypeError, RuntimeError, AttributeError, ValueError, IndexError, NotImplementedError)


@dataclass
class Errors:
    """The errors of one kind of result, element by element, in units in the last place of the true value.

    Attributes:
        ours, torchs: of either library.
        lost: the calls in which ours is NaN or infinite and torch's is a number.
    """

    ours: list[torch.Tensor] = field(default_factory=list)
    torchs: list[torch.Tensor] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def add(self, ours: torch.Tensor, torchs: torch.Tensor, true: torch.Tensor, call: Call) -> None:
        """Count what one call gave."""
        both = torchs.isfinite() & true.to(ours.dtype).isfinite()
        if (both & ~ours.isfinite()).any():
            self.lost.append(str(call))
        both &= ours.isfinite()
        self.ours.append(units(ours, true, ours.dtype)[both])
        self.torchs.append(units(torchs, true, ours.dtype)[both])

    @property
    def means(self) -> tuple[float, float]:
        """Our mean error, and torch's."""
        ours, torchs = torch.cat(self.ours), torch.cat(self.torchs)
        return (ours.mean().item(), torchs.mean().item()) if len(ours) else (0.0, 0.0)

    @property
    def rough(self) -> bool:
        """Whether our error exceeds torch's by more than the tolerance, and by more than luck explains."""
        excess = torch.cat(self.ours) - TOLERANCE * torch.cat(self.torchs)
        n = len(excess)
        return n > 1 and (excess.mean() > 3 * excess.std() / n**0.5).item()


@dataclass(frozen=True)
class Finding:
    """One thing in which torch is better.

    Attributes:
        function, dtype, scale: where.
        what: "value", "gradient of 0" and so on, or "recorded gradient of 0".
        kind: ``lost`` or ``rough``.
        errors: the errors that were found.
    """

    function: str
    dtype: torch.dtype
    scale: Scale
    what: str
    kind: str
    errors: Errors

    def __str__(self) -> str:
        where = f"{self.function} {str(self.dtype).removeprefix('torch.')} at ({self.scale}): {self.what}"
        if self.kind == "lost":
            return f"{where}: NaN or infinite in {self.errors.lost[0]} and {len(self.errors.lost) - 1} more calls"
        ours, torchs = self.errors.means
        return f"{where}: {ours:.3g} units in the last place, torch {torchs:.3g}, {ours / max(torchs, 1e-9):.3g} times"


def units(value: torch.Tensor, true: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The distance of a value from the true one, in units in the last place; of a wrong value, no more than 1 / eps."""
    info = torch.finfo(dtype)
    place = torch.frexp(true.abs().clamp(info.tiny, info.max)).exponent - 1
    distance = (value.double() - true).abs() / torch.ldexp(torch.tensor(info.eps, dtype=torch.float64), place)
    return distance.nan_to_num(nan=1 / info.eps).clamp(max=1 / info.eps)


def findings(
    function: Function, dtype: torch.dtype, scale: Scale, *, calls: int | None = None, draws: int = DRAWS
) -> Iterator[Finding]:
    """What is lost or rough in the sample calls of a function.

    Args:
        function, dtype, scale: what to run, and on what.
        calls: how many of the samples, from the first; by default all.
        draws: how often, each time with other values.
    """
    found: dict[str, Errors] = defaultdict(Errors)
    for call, seed in itertools.product(calls_of(function)[:calls], range(draws)):
        for what, ours, torchs, true in compare(function, call, dtype, scale, seed):
            found[what].add(ours, torchs, true, call)
    for what, errors in found.items():
        for kind, is_so in (("lost", bool(errors.lost)), ("rough", errors.rough)):
            if is_so:
                yield Finding(name_of(function), dtype, scale, what, kind, errors)


def calls_of(function: Function) -> list[Call]:
    """The sample calls whose leaves may be of any dtype."""
    return [
        c
        for c in SAMPLES[function]
        if c.numel and not any(s.dtype and s.dtype.is_floating_point for s in specs_in([*c.args, *c.kwargs.values()]))
    ]


def name_of(function: Function) -> str:
    return f"{getattr(function, '__module__', None) or 'torch'}.{function.__name__}"


def compare(
    function: Function, call: Call, dtype: torch.dtype, scale: Scale, seed: int
) -> Iterator[tuple[str, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """What one call gives: for each result and gradient a name, ours, torch's and the true one.

    A call that torch refuses in this dtype gives nothing.
    """
    try:
        torchs = Run(function, call, dtype, scale, seed, of_torch=True)
        gradients = torchs.gradients(torch.autograd.grad)
    except REFUSALS:
        return
    truth = Run(function, call, dtype, scale, seed, of_torch=True, double=True)
    ours = Run(function, call, dtype, scale, seed, of_torch=False)
    true_gradients = truth.gradients(torch.autograd.grad, torchs.cotangents())
    triples = [
        (f"value {i}", *three) for i, three in enumerate(zip(ours.values, torchs.values, truth.values, strict=True))
    ]
    for kind in ("gradient", "recorded gradient"):
        mine = ours.gradients(tapegrad.grad, torchs.cotangents(), kind != "gradient")
        triples += [
            (f"{kind} of {i}", *three) for i, three in enumerate(zip(mine, gradients, true_gradients, strict=True))
        ]
    for what, a, b, true in triples:
        if a is not None and b is not None and true is not None and b.dtype in HALF:
            yield what, a, b, true


class Run:
    """One call, made on one library.

    Attributes:
        leaves: the tensors that take a gradient.
        outputs: the parts of the result that carry one.
        values: the raw tensors of these.
    """

    def __init__(
        self,
        function: Function,
        call: Call,
        dtype: torch.dtype,
        scale: Scale,
        seed: int,
        *,
        of_torch: bool,
        double: bool = False,
    ) -> None:
        args, kwargs, leaves = call.data(torch.float64, seed)
        flags = enumerate(leaves)
        self.scale = scale
        self.leaves: list[Any] = []

        def enter(value: Any) -> Any:
            if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
                return type(value)([enter(v) for v in value])
            if not isinstance(value, torch.Tensor):
                return value
            count, takes_gradient = next(flags)
            if value.is_floating_point():
                value = (value * (scale.others if count else scale.first)).to(dtype)
                value = value.double() if double else value
            if not takes_gradient:
                return value
            self.leaves.append(value.requires_grad_() if of_torch else tapegrad.tensor(value, True))
            return self.leaves[-1]

        args, kwargs = [enter(a) for a in args], {k: enter(v) for k, v in kwargs.items()}
        torch.default_generator.manual_seed(seed)  # for dropout
        if isinstance(function, type(torch.Tensor.view)):
            result = getattr(args[0], function.__name__)(*args[1:], **kwargs)
        else:
            result = function(*args, **kwargs)
        parts = result if isinstance(result, (tuple, list)) else (result,)
        self.outputs = [p for p in parts if isinstance(p, (torch.Tensor, tapegrad.Tensor)) and p.requires_grad]
        self.values = [raw(p) for p in self.outputs]

    def cotangents(self) -> list[torch.Tensor]:
        """Random numbers in the shapes and dtypes of the outputs."""
        generator = torch.Generator().manual_seed(7)
        drawn = [torch.randn(o.shape, generator=generator, dtype=torch.float64) for o in self.outputs]
        return [(v * self.scale.cotangents).to(o.dtype) for v, o in zip(drawn, self.outputs, strict=True)]

    def gradients(
        self, grad: Function, cotangents: Sequence[torch.Tensor] | None = None, recorded: bool = False
    ) -> list[torch.Tensor | None]:
        """The gradients of the leaves."""
        if not self.outputs:
            return []
        given = self.cotangents() if cotangents is None else cotangents
        v = [c.to(o.dtype) for c, o in zip(given, self.outputs, strict=True)]
        grads = grad(self.outputs, self.leaves, v, retain_graph=True, create_graph=recorded, allow_unused=True)
        return [raw(g) for g in grads]


def raw(value: Any) -> Any:
    value = value.data if isinstance(value, tapegrad.Tensor) else value
    return value.detach() if isinstance(value, torch.Tensor) else value


def main(names: Sequence[str]) -> int:
    """Print what is found; returns how much."""
    count = 0
    for function in SAMPLES:
        if names and not any(name in name_of(function) for name in names):
            continue
        for dtype in HALF:
            for scale in SCALES:
                for finding in findings(function, dtype, scale):
                    print(finding, flush=True)
                    count += 1
    print(f"{count} findings")
    return count


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    sys.exit(bool(main(sys.argv[1:])))
