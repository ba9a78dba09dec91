"""torch's own module database, run through ``recording()``: values, and gradients of parameters and inputs.

``python -m tests.provers.modules`` runs all of it, in float64, in training and in evaluation, and prints what differs;
names of modules as arguments run those alone.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch.testing._internal.common_modules import ModuleInfo, module_db

import tapegrad
from tests.provers.conformance_run import tensors

RTOL = 1e-9


class Wrong(Exception):
    """The two libraries disagree."""


def cases(info: ModuleInfo, training: bool) -> Iterator[tuple[Any, Any]]:
    """Modules of one kind, each with its inputs, as torch tests them."""
    torch.manual_seed(0)
    inputs = info.module_inputs_func(info, device="cpu", dtype=torch.float64, requires_grad=True, training=training)
    for given in inputs:
        if given.forward_input is None:
            continue
        torch.manual_seed(0)
        arguments = given.constructor_input
        module = info.module_cls(*arguments.args, **arguments.kwargs).to(torch.float64).train(training)
        yield module, given.forward_input


def fresh(value: Any) -> Any:
    """Arguments anew, leaves where a gradient is wanted."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        return {k: fresh(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        items = [fresh(v) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def run(module: Any, given: Any) -> tuple[list[Any], list[Any]]:
    """The outputs of a module, and gradients: of its inputs, then of its parameters."""
    args, kwargs = fresh(given.args), fresh(given.kwargs)
    torch.manual_seed(1)
    outputs = [t for t in tensors(module(*args, **kwargs)) if t.is_floating_point()]
    generator = torch.Generator().manual_seed(2)
    total = sum(
        (t * torch.randn(t.shape, dtype=t.dtype, generator=generator)).sum() for t in outputs if t.requires_grad
    )
    if not isinstance(total, int):
        total.backward()
    leaves = [t for t in tensors((args, kwargs)) if t.requires_grad]
    grads = [t.grad for t in (*leaves, *module.parameters())]
    return [getattr(t, "data", t).detach() for t in outputs], [*grads, *module.buffers()]


def compare(info: ModuleInfo, training: bool) -> tuple[int, bool]:
    """How many cases agree, and whether all do to the bit.

    Raises:
        Wrong: values or gradients differ.
    """
    agreed, exact = 0, True
    for module, given in cases(info, training):
        twin = copy.deepcopy(module)
        try:
            values, grads = run(module, given)
        except Exception:  # torch cannot either
            continue
        with tapegrad.recording():
            our_values, our_grads = run(twin, given)
        for what, theirs, ours in (("value", values, our_values), ("gradient", grads, our_grads)):
            if len(theirs) != len(ours):
                raise Wrong(f"{len(ours)} {what}s, not {len(theirs)}")
            for i, (a, b) in enumerate(zip(theirs, ours, strict=True)):
                if (a is None) != (b is None):
                    raise Wrong(f"{what} {i} is {'missing' if b is None else 'not None'}")
                if a is None or torch.equal(a, b):
                    continue
                exact = False
                if a.shape != b.shape or not torch.allclose(a, b, rtol=RTOL, atol=RTOL, equal_nan=True):
                    raise Wrong(
                        f"{what} {i} differs by {(a - b).abs().max().item() if a.shape == b.shape else b.shape}"
                    )
        agreed += 1
    return agreed, exact


def main(names: list[str]) -> None:
    warnings.simplefilter("ignore")
    passed = wrong = 0
    exact = 0
    for info in module_db:
        name = info.formatted_name
        if names and name not in names:
            continue
        problems, bits = [], True
        for training in (True, False):
            try:
                n, same = compare(info, training)
                bits = bits and same
                if not n:
                    problems.append("torch runs no case" if training else "")
            except Wrong as problem:
                wrong += 1
                problems.append(f"WRONG: {problem}")
            except Exception as problem:
                if names:
                    raise
                problems.append(f"{type(problem).__name__}: {str(problem)[:300]}")
        problems = [p for p in problems if p]
        passed += not problems
        exact += bits and not problems
        for problem in problems:
            print(f"{name}: {problem}", flush=True)
    print(f"{passed} of {len(module_db)} modules agree, {exact} of them to the bit; {wrong} wrong")


if __name__ == "__main__":
    main(sys.argv[1:])
