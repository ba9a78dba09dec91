"""torch's own operator database, run on tapegrad and on torch.autograd: do they agree?

    python -m tests.provers.conformance                    every operator of the database, in float64
    python -m tests.provers.conformance add mul nn.functional.gelu
    python -m tests.provers.conformance --dtype float32    how many of the runs are equal bit for bit
    python -m tests.provers.conformance --dtype complex128
    python -m tests.provers.conformance --write            all three, written to docs/conformance.md

torch tests itself with this database: for each operator it has sample inputs, with tensors that require grad. Each
sample is run as function, method, operator, in place and under the operator's other names; values and gradients, with
random cotangents, are compared with torch's. An operator has one of four verdicts:

* pass: every sample agrees, as function, method and operator;
* unsupported: a sample was refused, by an error of tapegrad's own, before any number came out;
* wrong: a value, gradient, shape, dtype or kind of result differs, or the result of a call that torch refuses;
* error: any other exception, a crash, or no end.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

import tapegrad
from tests.provers.conformance_run import (
    REFUSALS,
    RTOL,
    Run,
    Wrong,
    compared,
    in_double,
    magnitude,
    no_farther,
    ours,
    plain,
    same_kind,
    tensors,
    theirs,
)

SAMPLES = 20  # of each operator's samples, evenly spread
WIDE = {torch.float64, torch.complex128}
SECONDS = 20.0  # for each operator

# What the forward pass of a makemore, GPT, RNN or CNN program calls.
FORWARD = """
    add sub mul div.no_rounding_mode neg abs exp log sqrt rsqrt square reciprocal pow sin cos tanh sigmoid erf
    maximum clamp where masked_fill __radd__ __rmul__ __rsub__ __rdiv__ __rpow__ __rmatmul__
    sum mean var std prod amax max.reduction_no_dim max.reduction_with_dim min.reduction_with_dim norm cumsum
    softmax log_softmax logsumexp linalg.vector_norm topk sort
    view reshape flatten unflatten squeeze unsqueeze transpose permute movedim t T mT expand broadcast_to repeat
    repeat_interleave split chunk unbind cat stack hstack narrow select contiguous clone to float half bfloat16 double
    tril triu roll flip diagonal nn.functional.pad.constant
    __getitem__ index_put index_select gather scatter scatter_add masked_select take_along_dim nn.functional.embedding
    matmul mm bmm mv dot outer addmm baddbmm einsum nn.functional.linear nn.functional.bilinear
    nn.functional.relu nn.functional.leaky_relu nn.functional.elu nn.functional.gelu nn.functional.silu
    nn.functional.softplus nn.functional.hardtanh nn.functional.relu6 nn.functional.logsigmoid nn.functional.glu
    nn.functional.cross_entropy nn.functional.nll_loss nn.functional.mse_loss nn.functional.l1_loss
    nn.functional.binary_cross_entropy nn.functional.binary_cross_entropy_with_logits nn.functional.kl_div
    nn.functional.batch_norm nn.functional.layer_norm nn.functional.group_norm nn.functional.rms_norm
    nn.functional.normalize nn.functional.cosine_similarity nn.functional.dropout nn.functional.dropout2d
    nn.functional.conv1d nn.functional.conv2d nn.functional.conv_transpose2d nn.functional.unfold
    nn.functional.max_pool1d nn.functional.max_pool2d nn.functional.avg_pool1d nn.functional.avg_pool2d
    nn.functional.adaptive_avg_pool2d nn.functional.interpolate.nearest nn.functional.scaled_dot_product_attention
""".split()


@dataclass
class Report:
    """What came of one operator.

    Attributes:
        name: torch's name for it, with the database's name of the variant.
        verdict: "pass", "unsupported", "wrong" or "error".
        reason: the first problem, if there was one.
        samples: how many samples ran.
        passed: how many of them agreed in every form.
        exact: how many of them agreed in every bit.
        difference: the largest difference of a value or gradient, relative to its tensor's largest element; or to the
            largest of all, where the tensor is but rounding noise beside it.
        notes: refusals that do not count: an in-place form, or another name.
    """

    name: str
    verdict: str = "pass"
    reason: str = ""
    samples: int = 0
    passed: int = 0
    exact: int = 0
    difference: float = 0.0
    notes: tuple[str, ...] = ()

    def problem(self, verdict: str, reason: str) -> None:
        """Keep the worst verdict, with the first reason for it."""
        order = ("pass", "unsupported", "error", "wrong")
        if order.index(verdict) > order.index(self.verdict):
            self.verdict, self.reason = verdict, reason


class TimeIsUp(BaseException):
    """Raised by the clock; no operator's own ``except Exception`` swallows it."""


@cache
def database() -> dict[str, Any]:
    """The operators that torch can differentiate in float64 or complex128, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal import common_methods_invocations as invocations
    seeded = invocations.wrapper_set_seed  # is given methods as they stand in torch.Tensor
    invocations.wrapper_set_seed = lambda op, *args, **kwargs: seeded(as_method(op), *args, **kwargs)
    op_db = invocations.op_db
    ops = [op for op in op_db if op.supports_autograd and WIDE & set(op.supported_backward_dtypes("cpu"))]
    return {op.full_name: op for op in ops}


# --- one operator ---


def examine(op: Any, dtype: torch.dtype, limit: int = SAMPLES, seconds: float = SECONDS) -> Report:
    """Run one operator's samples."""
    report = Report(op.full_name)
    with clock(seconds), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for i, sample in enumerate(samples_of(op, dtype, limit)):
                arguments = ([sample.input, *sample.args], sample.kwargs)
                examine_sample(report, op, arguments, sample.output_process_fn_grad, others=i < 5)
            examine_refusals(report, op, limit)
        except TimeIsUp:
            report.problem("pass" if report.samples else "error", f"stopped after {seconds:g} seconds")
    return report


def samples_of(op: Any, dtype: torch.dtype, limit: int) -> list[Any]:
    """Samples from the whole breadth of an operator's own."""
    samples = list(itertools.islice(op.sample_inputs("cpu", dtype, requires_grad=True), 1000))
    step = max(1.0, len(samples) / limit)
    return [samples[int(i * step)] for i in range(min(limit, len(samples)))]


def examine_sample(report: Report, op: Any, arguments: Any, process: Callable[..., Any], others: bool) -> None:
    """Run one sample in each form, and enter what came of it."""
    outcomes = []
    for label, form, counts in forms(op, others):
        try:
            outcome = agree(form, arguments, process)
        except Wrong as problem:
            report.problem("wrong", f"{label}{problem}")
            outcome = None
        except REFUSALS as problem:
            if not counts:
                report.notes = tuple(dict.fromkeys((*report.notes, label.strip(": "))))
                continue
            report.problem("unsupported", f"{problem}")
            outcome = None
        except Exception as problem:
            report.problem("error", f"{label}{type(problem).__name__}: {problem}")
            outcome = None
        if counts or outcome is None:
            outcomes.append(outcome)
    if all(outcome is SKIPPED for outcome in outcomes):
        return
    report.samples += 1
    if None not in outcomes:
        report.passed += 1
        report.exact += all(exact for exact, _ in outcomes)
        report.difference = max(report.difference, *[difference for _, difference in outcomes])


def forms(op: Any, others: bool) -> Iterator[tuple[str, Callable[..., Any], bool]]:
    """The ways to call an operator: what to call it, the call, and whether a refusal counts."""
    yield "", as_method(op.op), True
    if op.method_variant is not None:
        yield "as method: ", as_method(op.method_variant), True
    if op.operator_variant is not None:
        yield "as operator: ", op.operator_variant, True
    if not others:
        return
    if op.inplace_variant is not None:
        yield "in place: ", on_copy(as_method(op.inplace_variant)), False
    yield "constants wrapped: ", with_constants(as_method(op.op)), False
    for alias in op.aliases:
        if alias.op is not None:
            yield f"as {alias.name}: ", as_method(alias.op), False


def as_method(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method of torch.Tensor, called on its object, which may be a Tensor of ours."""
    name = getattr(function, "__name__", "")
    if getattr(torch.Tensor, name, None) is not function:
        return function
    return lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)


def on_copy(function: Callable[..., Any]) -> Callable[..., Any]:
    """An in-place method, on a computed tensor: a leaf that requires grad has no in-place forms."""
    return lambda x, *args, **kwargs: function(x.clone(), *args, **kwargs)


def with_constants(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose torch tensors come wrapped as well, if one of its tensors is tapegrad's."""

    def wrap(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return tapegrad.tensor(value)
        return type(value)([wrap(v) for v in value]) if type(value) in (list, tuple) else value

    def call(*args: Any, **kwargs: Any) -> Any:
        if not any(isinstance(t, tapegrad.Tensor) for t in tensors([*args, *kwargs.values()])):
            return function(*args, **kwargs)
        return function(*wrap(args), **{k: wrap(v) for k, v in kwargs.items()})

    return call


SKIPPED = (True, 0.0)  # torch refuses the call, and so does tapegrad


def agree(form: Callable[..., Any], arguments: Any, process: Callable[..., Any]) -> tuple[bool, float]:
    """Call one form on both libraries.

    Returns:
        Whether all bits agree, and the largest relative difference.

    Raises:
        Wrong: they do not agree.
    """
    yours = Run(arguments, theirs)
    mine = Run(arguments, ours)
    try:
        yours.call(form)
    except Exception as refusal:
        refused(mine, form, refusal)
        return SKIPPED
    mine.call(form)
    same_kind(mine.result, yours.result, "the result")
    pairs = [*zip(tensors(mine.result), tensors(yours.result), strict=True)]
    for i, (a, b) in enumerate(pairs):
        if b.requires_grad and not isinstance(a, tapegrad.Tensor):
            raise Wrong(f"output {i} is a plain torch.Tensor, torch's requires grad")
        if b.requires_grad and not a.requires_grad:
            raise Wrong(f"output {i} does not require grad, torch's does")
        if a.requires_grad and not b.requires_grad:
            raise Wrong(f"output {i} requires grad, torch's does not")
    what = [f"output {i}" for i in range(len(pairs))]
    if any(b.requires_grad for _, b in pairs):
        if (gradients := yours.gradients(torch.autograd.grad)) is None:  # such as a phase that nothing determines
            mine.result, yours.result = process(mine.result), process(yours.result)
            gradients = yours.gradients(torch.autograd.grad)
        if gradients is not None:
            pairs += zip(mine.gradients(tapegrad.grad, refusable=False), gradients, strict=True)
            what += [f"the gradient of input {i}" for i in range(len(gradients))]
    pairs += zip(mine.tensors, yours.tensors, strict=True)
    what += [f"input {i} after the call" for i in range(len(mine.tensors))]
    largest = max([1.0, *[magnitude(plain(b)) for _, b in pairs if b is not None]])
    measured = []
    for k, ((a, b), name) in enumerate(zip(pairs, what, strict=True)):
        try:
            measured.append(compared(a, b, name, largest))
        except Wrong as difference:
            try:
                measured.append((False, no_farther(a, b, in_double(form, arguments, process)[k])))
            except Exception as problem:
                raise Wrong(f"{difference}; {problem}") from problem
    return all(exact for exact, _ in measured), max([difference for _, difference in measured], default=0.0)


def refused(mine: Run, form: Callable[..., Any], refusal: Exception) -> None:
    """Expect a refusal of tapegrad's where torch has refused."""
    try:
        mine.call(form)
    except Exception:
        return
    raise Wrong(f"a result, where torch says {type(refusal).__name__}: {str(refusal).splitlines()[0]}")


def examine_refusals(report: Report, op: Any, limit: int) -> None:
    """Run the samples that torch refuses."""
    if op.error_inputs_func is None:
        return
    for error in itertools.islice(op.error_inputs("cpu"), limit):
        sample = error.sample_input
        yours = Run(([sample.input, *sample.args], sample.kwargs), theirs, every=True)
        mine = Run(([sample.input, *sample.args], sample.kwargs), ours, every=True)
        try:
            yours.call(op.op)
        except Exception as refusal:
            if yours.leaves:
                try:
                    refused(mine, op.op, refusal)
                except Wrong as problem:
                    report.problem("wrong", str(problem))


# --- many operators ---


@contextmanager
def clock(seconds: float) -> Iterator[None]:
    """Raise TimeIsUp when the time is up."""

    def ring(*_: Any) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def guarded(op: Any, dtype: torch.dtype, limit: int = SAMPLES, seconds: float = SECONDS) -> Report:
    """``examine`` in a process of its own, whose crash or endless loop is a verdict and no more."""
    receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)

    def work() -> None:
        torch.set_num_threads(1)
        sender.send(examine(op, dtype, limit, seconds))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forking beside threads; torch runs none here
        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
    sender.close()
    try:
        if receiver.poll(2 * seconds + 5):
            return receiver.recv()
        return Report(op.full_name, "error", f"no end within {2 * seconds + 5:g} seconds")
    except EOFError:
        process.join()
        return Report(op.full_name, "error", f"the process died, with exit code {process.exitcode}")
    finally:
        process.kill()
        process.join()
        receiver.close()


def run(
    names: Sequence[str] = (), dtype: torch.dtype = torch.float64, limit: int = SAMPLES, show: bool = False
) -> list[Report]:
    """Run operators of the database, all by default.

    Args:
        names: operators, with or without the name of a variant.
        dtype: of the sample inputs.
        limit: how many samples of each.
        show: print each report as it comes.
    """
    ops = [op for op in database().values() if not names or op.name in names or op.full_name in names]
    reports = []
    for op in ops:
        if dtype not in op.supported_backward_dtypes("cpu"):
            continue
        reports.append(guarded(op, dtype, limit))
        if show:
            print(line(reports[-1]), flush=True)
    return reports


def line(report: Report) -> str:
    """A report in one line."""
    exact = "" if report.exact == report.passed else f"  {report.exact} exact, {report.difference:.1e}"
    reason = " ".join(report.reason.split())[:150]
    return f"{report.verdict:12} {report.name:45} {report.passed:3}/{report.samples:<3}{exact}  {reason}".rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.provers.conformance", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="operators, such as add or nn.functional.gelu; all by default")
    parser.add_argument("--dtype", choices=["float64", "float32", "complex128", "complex64"], default="float64")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="how many of each operator's samples")
    parser.add_argument(
        "--write", action="store_true", help="run float64, float32 and complex128, and write docs/conformance.md"
    )
    options = parser.parse_args(arguments)
    if options.write and options.names:
        parser.error("--write is for the whole database")
    if options.write and options.dtype != "float64":
        parser.error("--write runs each dtype")
    torch.set_num_threads(1)
    reports = run(options.names, getattr(torch, options.dtype), options.samples, show=True)
    counts = Counter(report.verdict for report in reports)
    print(", ".join(f"{counts[v]} {v}" for v in ("pass", "unsupported", "wrong", "error")))
    runs, exact = sum(r.passed for r in reports), sum(r.exact for r in reports)
    print(f"{exact} of {runs} passing runs equal bit for bit")
    if options.write:
        from tests.provers.conformance_page import PAGE, page

        others = [run((), dtype, options.samples, show=True) for dtype in (torch.float32, torch.complex128)]
        PAGE.write_text(page(reports, *others, options.samples, RTOL))
        print(f"wrote {PAGE.name}")
    return 1 if counts["wrong"] or counts["error"] else 0


if __name__ == "__main__":
    sys.exit(main())
