"""Sample calls inside ``torch.autocast``, here and on torch: values, dtypes and gradients.

``python -m tests.provers.autocast`` runs all samples; names of functions as arguments run those alone. Values are
to have torch's dtype and bits; gradients are to lie within the rounding of bfloat16.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch

import tapegrad
from tapegrad.engine.signature import name_of
from tests.provers.conformance_run import tensors
from tests.provers.samples import SAMPLES, Call

# Where the dtype is not torch's, and why.
OTHER = {
    **dict.fromkeys(["cov", "corrcoef", "linalg_matrix_power", "matrix_power", "affine_grid", "lstm"],
                    "torch rounds in the middle; here it runs as it is given"),
    **dict.fromkeys(["einsum", "tensordot", "inner", "chain_matmul", "convolution"],
                    "here always in the lower precision; torch multiplies some by element, in float32"),
}  # fmt: skip


def for_ours(function: Any) -> Callable[..., Any]:
    """The function as it takes a Tensor first: methods of torch's tensors are called by their names."""
    is_method = type(function).__name__ in ("method_descriptor", "wrapper_descriptor")
    return (lambda t, *args, **kwargs: getattr(t, function.__name__)(*args, **kwargs)) if is_method else function


def run(function: Callable[..., Any], call: Call, leaf: Callable[[torch.Tensor], Any]) -> tuple[list[Any], list[Any]]:
    """The values of a call inside autocast, and the gradients of its leaves."""
    args, kwargs, flags = call.data(torch.float32)
    marks = iter(flags)
    leaves: list[Any] = []

    def make(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if not next(marks) or not value.is_floating_point():
                return value
            leaves.append(leaf(value.clone()))
            return leaves[-1]
        return [make(v) for v in value] if isinstance(value, list) else value

    args, kwargs = [make(v) for v in args], {k: make(v) for k, v in kwargs.items()}
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        out = function(*args, **kwargs)
    floats = [t for t in tensors(out) if t.is_floating_point()]
    total = sum(t.float().sum() for t in floats if t.requires_grad)
    if not isinstance(total, int):
        total.backward()
    return [getattr(t, "data", t).detach() for t in floats], [t.grad for t in leaves]


def problem(function: Callable[..., Any], call: Call) -> str | None:
    """What differs; None where torch cannot run it, "" where nothing does."""
    try:
        values, grads = run(function, call, lambda t: t.requires_grad_())
    except Exception:
        return None
    try:
        our_values, our_grads = run(for_ours(function), call, lambda t: tapegrad.tensor(t, requires_grad=True))
    except tapegrad.MissingRule:
        return None
    for a, b in zip(values, our_values, strict=True):
        if a.dtype != b.dtype:
            return f"{b.dtype}, not {a.dtype}"
        if not torch.allclose(a.float(), b.float(), rtol=2**-7, atol=2**-7, equal_nan=True):
            return f"values differ by {(a - b).abs().max().item()}"
    for a, b in zip(grads, our_grads, strict=True):
        if (a is None) != (b is None):
            return "a gradient is missing"
        if a is None or not a.numel():
            continue
        if not torch.allclose(a, b, rtol=2**-5, atol=2**-5 * max(1.0, a.abs().max().item()), equal_nan=True):
            return f"gradients differ by {(a - b).abs().max().item()}"
    return ""


def main(names: list[str]) -> None:
    warnings.simplefilter("ignore")
    agreed = 0
    for function, calls in SAMPLES.items():
        name = name_of(function)
        if names and name not in names:
            continue
        for call in calls:
            try:
                found = problem(function, call)
            except Exception as error:
                found = f"{type(error).__name__}: {str(error)[:200]}"
            agreed += found == ""
            if found and (names or name not in OTHER):
                print(f"{name} {call}: {found}", flush=True)
    print(f"{agreed} calls agree, without those of {', '.join(OTHER)}, whose dtypes differ in places")


if __name__ == "__main__":
    main(sys.argv[1:])
