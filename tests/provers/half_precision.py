"""float16 and bfloat16: is tapegrad as near to the true values as torch is?

    python tests/provers/half_precision.py                      every function of the samples, at every magnitude
    python tests/provers/half_precision.py silu batch_norm      those whose names contain one of these

torch computes an operation on half-precision tensors in float32 inside, and rounds once. Each sample call is run here
and on torch, on values of magnitudes from 1e-4 to 1e4, and both are compared with torch in float64 on the same, rounded,
values: results, gradients, and gradients that were recorded to be differentiated again. What is found:

* ``lost``: NaN or infinity where torch has a number;
* ``rough``: an error larger than torch's by more than a tenth. An error is counted in units of the last place of the
  true value, and averaged over the elements of all calls of a function: few are a matter of luck.
"""

from __future__ import annotations

import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from samples import SAMPLES, Call
from samples.calls import specs_in

import tapegrad

Function = Callable[..., Any]

HALF = (torch.float16, torch.bfloat16)
MAGNITUDES = (1e-4, 1e-2, 1.0, 1e2, 1e4)
TOLERANCE = 1.1  # times torch's error
REFUSALS = (TypeError, RuntimeError, AttributeError, ValueError, IndexError, NotImplementedError)


@dataclass
class Errors:
    """The errors of one kind of result, element by element, in units in the last place of the true value.

    Attributes:
        ours, torchs: of either library.
        least: of the true values, rounded: nobody can do better.
        lost: the calls in which ours is NaN or infinite and torch's is a number.
    """

    ours: list[torch.Tensor] = field(default_factory=list)
    torchs: list[torch.Tensor] = field(default_factory=list)
    least: list[torch.Tensor] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def add(self, ours: torch.Tensor, torchs: torch.Tensor, true: torch.Tensor, call: Call) -> None:
        """Count what one call gave."""
        both = torchs.isfinite() & true.isfinite()
        if (both & ~ours.isfinite()).any():
            self.lost.append(str(call))
        both &= ours.isfinite()
        for errors, value in ((self.ours, ours), (self.torchs, torchs), (self.least, true.to(ours.dtype))):
            errors.append(units(value, true, ours.dtype)[both])

    def mean(self) -> tuple[float, float]:
        """Our mean error, and torch's, or that of a single rounding if that is more."""
        ours, torchs, least = (torch.cat(e).mean().item() if e else 0.0 for e in (self.ours, self.torchs, self.least))
        return ours, max(torchs, least)

    @property
    def ratio(self) -> float:
        """Our error, as a multiple of torch's."""
        ours, torchs = self.mean()
        return ours / torchs if torchs else float(ours > 0) + 1.0


@dataclass(frozen=True)
class Finding:
    """One thing in which torch is better.

    Attributes:
        function, dtype, magnitude: where.
        what: "value", "gradient of 0" and so on, or "recorded gradient of 0".
        kind: ``lost`` or ``rough``.
        errors: the errors that were found.
    """

    function: str
    dtype: torch.dtype
    magnitude: float
    what: str
    kind: str
    errors: Errors

    def __str__(self) -> str:
        where = f"{self.function} {str(self.dtype).removeprefix('torch.')} at {self.magnitude:g}: {self.what}"
        if self.kind == "lost":
            return f"{where}: NaN or infinite in {self.errors.lost[0]} and {len(self.errors.lost) - 1} more calls"
        ours, torchs = self.errors.mean()
        return f"{where}: {ours:.3g} units in the last place, {self.errors.ratio:.3g} times torch's {torchs:.3g}"


def units(value: torch.Tensor, true: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The distance of a value from the true one, in units in the last place; of a wrong value, no more than 1 / eps."""
    info = torch.finfo(dtype)
    place = torch.frexp(true.abs().clamp(info.tiny, info.max)).exponent - 1
    distance = (value.double() - true).abs() / torch.ldexp(torch.tensor(info.eps, dtype=torch.float64), place)
    return distance.nan_to_num(nan=1 / info.eps).clamp(max=1 / info.eps)


def examine(
    function: Function, calls: Sequence[Call], dtype: torch.dtype, magnitude: float, recorded: bool = True
) -> dict[str, Errors]:
    """Run some calls of a function on both libraries, and count the errors of each kind of result."""
    found: dict[str, Errors] = defaultdict(Errors)
    for seed, call in enumerate(calls):
        for what, ours, torchs, true in compare(function, call, dtype, magnitude, seed, recorded):
            found[what].add(ours, torchs, true, call)
    return found


def findings(function: Function, dtype: torch.dtype, magnitude: float, **options: Any) -> Iterator[Finding]:
    """What is lost or rough in the sample calls of a function."""
    for what, errors in examine(function, calls_of(function), dtype, magnitude, **options).items():
        for kind, found in (("lost", bool(errors.lost)), ("rough", errors.ratio > TOLERANCE)):
            if found:
                yield Finding(name_of(function), dtype, magnitude, what, kind, errors)


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
    function: Function, call: Call, dtype: torch.dtype, magnitude: float, seed: int, recorded: bool
) -> Iterator[tuple[str, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """What one call gives: for each result and gradient a name, ours, torch's and the true one.

    A call that torch refuses in this dtype gives nothing.
    """
    try:
        torchs = Run(function, call, dtype, magnitude, seed, of_torch=True)
        gradients = torchs.gradients(torch.autograd.grad)
    except REFUSALS:
        return
    truth = Run(function, call, dtype, magnitude, seed, of_torch=True, double=True)
    ours = Run(function, call, dtype, magnitude, seed, of_torch=False)
    true_gradients = truth.gradients(torch.autograd.grad, torchs.cotangents())
    triples = [(f"value {i}", *three) for i, three in enumerate(zip(ours.values, torchs.values, truth.values, strict=True))]
    for kind in ("gradient", "recorded gradient")[: 1 + recorded]:
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
        magnitude: float,
        seed: int,
        *,
        of_torch: bool,
        double: bool = False,
    ) -> None:
        args, kwargs, leaves = call.data(torch.float64, seed)
        is_leaf = iter(leaves)
        self.leaves: list[Any] = []

        def enter(value: Any) -> Any:
            if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
                return type(value)([enter(v) for v in value])
            if not isinstance(value, torch.Tensor):
                return value
            takes_gradient = next(is_leaf)
            if value.is_floating_point():
                value = (value * magnitude).to(dtype)
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
        return [torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.dtype) for o in self.outputs]

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
            for magnitude in MAGNITUDES:
                for finding in findings(function, dtype, magnitude):
                    print(finding, flush=True)
                    count += 1
    print(f"{count} findings")
    return count


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    sys.exit(bool(main(sys.argv[1:])))
