"""Every kernel beside its formula, and both beside torch, over the whole range of each function's options.

``backward`` runs an op's kernels, ``create_graph=True`` its formulas. They are the same mathematics, so that the
gradients agree up to rounding, whatever the options and the size of the numbers.
``python -m tests.provers.kernels_against_formulas`` runs all samples and all of ``samples/options.py``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch

import tapegrad
from tests.helpers import raw
from tests.provers.runs import REFUSALS, Function, Run, name_of
from tests.provers.samples import SAMPLES, Call
from tests.provers.samples.options import GRIDS

SCALES = (1.0, 0.0, 1e-3, 1e3)  # of the leaves

# Where torch's gradient is not ours, and why: functions, part of the call, reason.
EXCEPTIONS: list[tuple[str, str, str]] = [
    ("softplus", "threshold=inf", "torch's exponential overflows, and its quotient is NaN"),
    ("var std var_mean std_mean", "dim=[]", "torch divides by the number of elements along no dim, which is 1"),
    ("scatter_reduce index_reduce", "include_self=False", "torch shares ties with the input that is left out"),
    ("scatter_reduce index_reduce", "prod", "with several zeros in a product neither has a second gradient; ours says so at once"),
    ("linalg_det det", "", "torch's gradient of a singular matrix is 0, but for a single element; ours has the cofactors"),
    ("ormqr", "times 1000", "no reflections any more: products of 1e17, in another order than torch's"),
    ("_standard_gamma", "", "neither has a second gradient of a draw; ours says so at once"),
    ("eigenvectors_of_sum", "times 0", "equal eigenvalues: where the numerator is 0 too torch has 0 / 0, and ours 0"),
]  # fmt: skip


def excused(function: Function, what: str) -> str:
    """Why torch's gradient is not ours there; nothing if it should be."""
    for names, part, reason in EXCEPTIONS:
        if getattr(function, "__name__", "") in names.split() and part in what:
            return reason
    return ""


def calls() -> Iterator[tuple[Function, Call]]:
    """The options' grids, then the samples."""
    for table in (GRIDS, SAMPLES):
        for function, some in table.items():
            yield from ((function, call) for call in some if call.numel <= 5000)


def mismatch(a: Any, b: Any) -> str:
    """What is different between two gradients beyond rounding; nothing if they agree."""
    if a is None or b is None:  # where one says None, the other may say zeros
        other = b if a is None else a
        return "" if other is None or not other.count_nonzero() else f"{a} and {b}"
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{tuple(a.shape)} {a.dtype} and {tuple(b.shape)} {b.dtype}"
    finite = b[b.isfinite()].abs()
    scale = max(1.0, finite.max().item()) if finite.numel() else 1.0
    rounding = 1e-9 if a.dtype == torch.float64 else 1e-4
    close = torch.isclose(a, b, rtol=rounding, atol=rounding * scale, equal_nan=True)
    return "" if close.all() else f"{a[~close][:3].tolist()} and {b[~close][:3].tolist()}"


def disagreements(function: Function, call: Call, scale: float = 1.0) -> Iterator[str]:
    """How the gradients by kernel, by formula and by torch differ from each other, the leaves being scaled."""
    what = f"{name_of(function)}({call})" + (f" times {scale:g}" if scale != 1 else "")
    try:
        yours = Run(function, call, lambda t: (t * scale).requires_grad_(), torch.float64)
    except REFUSALS:
        return  # no call of torch's
    try:
        mine = Run(function, call, lambda t: tapegrad.tensor(t * scale, True), torch.float64)
    except REFUSALS as error:
        yield f"{what}: refused: {error}"
        return
    if len(mine.outputs) != len(yours.outputs):
        yield f"{what}: {len(mine.outputs)} outputs carry a gradient, of torch's {len(yours.outputs)}"
        return
    if not mine.outputs:
        return
    by_kernel, by_formula = gradients(tapegrad.grad, mine, False), gradients(tapegrad.grad, mine, True)
    by_torch, recorded = gradients(torch.autograd.grad, yours, False), gradients(torch.autograd.grad, yours, True)
    for ours, theirs in ((by_kernel, by_torch), (by_formula, recorded)):
        if isinstance(ours, Exception) and not isinstance(theirs, Exception) and not excused(function, what):
            yield f"{what}: no gradient: {ours}"
    yield from differences(f"{what}: kernel and formula", by_kernel, by_formula)
    if not excused(function, what):
        yield from differences(f"{what}: ours and torch's", by_kernel, by_torch)
        yield from differences(f"{what}: ours and torch's values", mine.outputs, yours.outputs)


def gradients(grad: Any, run: Run, create_graph: bool) -> list[Any] | Exception:
    """The gradients of the leaves, or the refusal."""
    v = run.cotangents()
    try:
        return list(grad(run.outputs, run.leaves, v, create_graph=create_graph, retain_graph=True, allow_unused=True))
    except REFUSALS as error:
        return error


def differences(what: str, some: Iterable[Any] | Exception, others: Iterable[Any] | Exception) -> Iterator[str]:
    if not isinstance(some, Exception) and not isinstance(others, Exception):
        for k, (a, b) in enumerate(zip(some, others, strict=True)):
            if wrong := mismatch(raw(a), raw(b)):
                yield f"{what} {k}: {wrong}"


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    runs = found = 0
    for function, call in calls():
        for scale in SCALES:
            runs += 1
            for text in disagreements(function, call, scale):
                found += 1
                print(text)
    print(f"{runs} runs, {found} disagreements")


if __name__ == "__main__":
    main()
