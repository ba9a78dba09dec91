"""torch's own optimizer database: every configuration that runs on CPU, through ``recording()`` and on torch.

``python -m tests.provers.optimizers`` trains a small network for ten steps with each, and asks for the same bits; names
of optimizers as arguments run those alone.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch.testing._internal.common_optimizers import OptimizerInfo, optim_db

import tapegrad

STEPS = 10


def configurations(info: OptimizerInfo) -> Iterator[dict[str, Any]]:
    """The arguments that torch tests an optimizer with, for each way it can run."""
    for given in info.optim_inputs_func(device="cpu"):
        for way in ("", "foreach", "fused"):
            if not way:
                flags = {"foreach": False} if "foreach" in info.supported_impls else {}
            elif way in info.supported_impls and (way != "fused" or "cpu" in info.supports_fused_on):
                flags = {way: True}
            else:
                continue
            if not {"foreach", "fused", "differentiable"} & given.kwargs.keys():
                yield given.kwargs | flags
            elif not way:
                yield given.kwargs


def train(optimizer: type, options: dict[str, Any], steps: int = STEPS) -> list[torch.Tensor]:
    """The parameters of a small network after some steps."""
    torch.manual_seed(0)
    # Muon takes matrices only.
    bias = optimizer.__name__ != "Muon"
    model = torch.nn.Sequential(torch.nn.Linear(3, 5, bias=bias), torch.nn.Tanh(), torch.nn.Linear(5, 2, bias=bias))
    runs = optimizer(model.parameters(), **options)
    x, y = torch.randn(8, 3), torch.randint(0, 2, (8,))

    def closure() -> Any:
        runs.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    for _ in range(steps):
        runs.step(closure)
    return [p.detach() for p in model.parameters()]


def agrees(optimizer: type, options: dict[str, Any]) -> bool | None:
    """Whether both end in the same bits; None if torch cannot run it."""
    try:
        expected = train(optimizer, options)
    except Exception:
        return None
    with tapegrad.recording():
        found = train(optimizer, options)
    return all(map(torch.equal, expected, found))


def main(names: list[str]) -> None:
    warnings.simplefilter("ignore")
    equal = differ = 0
    for info in optim_db:
        name = info.optim_cls.__name__
        if names and name not in names:
            continue
        for options in configurations(info):
            problem = ""
            try:
                same = agrees(info.optim_cls, options)
            except Exception as error:
                same, problem = False, f": {type(error).__name__}: {error}"
            if same is None:
                print(f"{name}({options}): torch does not run it here")
                continue
            equal += same
            differ += not same
            if not same:
                print(f"{name}({options}) differs{problem}", flush=True)
    print(f"{equal} configurations bit-equal over {STEPS} steps, {differ} not")


if __name__ == "__main__":
    main(sys.argv[1:])
