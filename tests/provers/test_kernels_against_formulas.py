"""Kernels are their formulas over the whole range of options; ``kernels_against_formulas.py`` says how."""

from __future__ import annotations

import sys
from itertools import islice

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad.engine.op import Op
from tapegrad.kernels.activations import exp_minus_abs
from tapegrad.rules import activations, elementwise, reduction
from tests.provers.kernels_against_formulas import SCALES, calls, disagreements
from tests.provers.planted import planted
from tests.provers.runs import REFUSALS, Run, name_of
from tests.provers.samples.options import GRIDS

pytestmark = pytest.mark.filterwarnings("ignore")  # strange arguments are their trade


@pytest.mark.parametrize("function", GRIDS, ids=name_of)
def test_over_the_range_of_options(function):
    some = [c for c in GRIDS[function] if c.numel <= 5000]
    assert [text for call in some[:: 1 + len(some) // 60] for text in disagreements(function, call)] == []


@pytest.mark.parametrize("scale", [s for s in SCALES if s != 1])
def test_at_other_sizes(scale):
    """Every twentieth call, its leaves scaled; the program takes them all."""
    assert [
        text for function, call in islice(calls(), 7, None, 20) for text in disagreements(function, call, scale)
    ] == []


def test_every_kernel_with_options_has_a_grid():
    """An option is an argument that takes no gradient: it is met with several values, or is a tensor always."""
    met: dict[tuple[str, str], set[str]] = {}
    for function, call in calls():
        if call.numel <= 40:
            try:
                run = Run(function, call, lambda t: tapegrad.tensor(t, True), torch.float64)
            except REFUSALS:
                continue
            for out in run.outputs:
                for record in () if out.is_leaf else tapegrad.tape(out, names={}):
                    for name, parent, value in zip(
                        record.op.parameters, record.parents, record.saved[1:], strict=False
                    ):
                        if parent is None:
                            text = "a tensor" if isinstance(value, torch.Tensor) else repr(value)
                            met.setdefault((record.op.name, name), set()).add(text)
    rules = [module for name, module in sys.modules.items() if name.startswith("tapegrad.rules.")]
    ops = {op for module in rules for op in vars(module).values() if type(op) is Op and op.kernels != op.formulas}
    assert len(ops) > 30
    options = {(op.name, n) for op in ops for n in op.parameters if n not in op.formulas and (op.name, n) in met}
    once = {(name, n) for name, n in options if len(met[name, n]) < 2 and met[name, n] != {"a tensor"}}
    assert {f"{name}: {option}" for name, option in once} <= {
        "linalg_svdvals: driver",  # for other devices
        "singular_values: driver",
        "gather: sparse_grad",  # a sparse gradient is refused
    }


# --- faults that are planted ---

CELU = {  # as it once was: the decaying exponential, whatever alpha
    "input": lambda g, input, alpha: activations.exponential_below_zero(g, input, alpha, 1.0, 1 / alpha, exp_minus_abs)
}
FAULTS = [
    (F.celu, activations.celu, CELU),
    (torch.mean, reduction.mean, {"input": lambda g, input_shape: g.expand(input_shape) / input_shape.numel()}),
    (torch.pow, elementwise.pow, {"input": lambda g, input, exponent: g * exponent * input.abs() ** (exponent - 1)}),
]


@pytest.mark.parametrize(("function", "op", "gradients"), FAULTS, ids=lambda v: getattr(v, "name", ""))
def test_a_planted_fault_is_found(function, op, gradients):
    with planted(op, formulas=False, **gradients):
        found = [text for call in GRIDS[function] for text in disagreements(function, call)]
    assert any("kernel and formula" in text for text in found)


def test_a_fault_in_both_is_found_beside_torch():
    """As it once was: no gradient but infinity where a variance is corrected by more than there are elements."""

    def infinite(shape, dim, correction):
        freedom = reduction.count(shape, dim) - correction
        return 2.0 / freedom if freedom > 0 else torch.inf

    wrong = {
        "input": lambda g, input, dim, correction, keepdim: (
            infinite(input.shape, dim, correction)
            * reduction.restore(g, input.shape, dim, keepdim)
            * (input - input.mean(dim, keepdim=True))
        )
    }
    with planted(reduction.var, **wrong):
        found = [text for call in GRIDS[torch.var] for text in disagreements(torch.var, call)]
    assert any("ours and torch's" in text for text in found)
