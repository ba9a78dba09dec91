"""Every function at special values does as torch does, or for a reason; ``special_values.py`` says how."""

from __future__ import annotations

from itertools import islice, product

import pytest
import torch
import torch.nn.functional as F

from tapegrad.rules import activations, elementwise, reduction, special
from tests.provers.planted import planted
from tests.provers.special_values import (
    EXCEPTIONS,
    FLOATS,
    SPRINKLED_EXCEPTIONS,
    SPRINKLES,
    Form,
    excused,
    excused_sprinkle,
    faults,
    forms,
    small_calls,
    sprinkled_faults,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # strange arguments are their trade


@pytest.fixture(scope="module")
def found():
    """The elementwise functions."""
    return forms()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_elementwise_functions(found, dtype):
    """Each of them, at every special value, value and gradients and second gradients."""
    some = [fault for form in found for fault in faults(form, dtype)]
    assert [str(f) for f in some if not excused(f.name, f.where, f.at)] == []


@pytest.mark.parametrize("part", range(4))
def test_the_other_functions(found, part):
    """Special values sprinkled over every ninth sample; the program takes them all."""
    runs = islice(product(small_calls(found), SPRINKLES), part * 9, None, 36)
    found = [
        f for (function, call), sprinkle in runs for f in sprinkled_faults(function, call, sprinkle, torch.float64)
    ]
    assert [str(f) for f in found if not excused_sprinkle(f.name, f.where, f.sprinkle)] == []


def test_all_elementwise_functions_are_found(found):
    names = {form.name for form in found}
    assert len(names) > 120
    assert {"sin", "relu6", "pow", "atan2", "lerp", "special_entr", "huber_loss", "clamp", "mod"} <= names
    assert names.isdisjoint({"softmax", "cumsum", "prod", "sort"})


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() == "DEFAULT",
    reason="some exceptions are about the rounding of torch's vector units, which this processor has not",
)
def test_every_exception_is_needed(found):
    used = {
        excused(f.name, f.where, f.at)
        for form in found
        if form.name in {e.name for e in EXCEPTIONS}
        for dtype in FLOATS
        for f in faults(form, dtype)
    }
    assert [f"{e.name} {e.where}" for e in EXCEPTIONS if e not in used] == []
    sampled = {getattr(function, "__name__", "") for function, _ in small_calls(found)}
    assert {name for names, *_ in SPRINKLED_EXCEPTIONS for name in names.split()} <= sampled


# --- faults that are planted ---

FAULTS = [
    # As they once were: sinc at a square that underflows, a corner at NaN, the far side of a logarithm.
    (elementwise.sinc, {"input": lambda g, input: torch.where(input == 0, 0.0, g * elementwise.sinc_quotient(input))}),
    (activations.hardtanh, {"input": lambda g, input: torch.where((input > -1) & (input < 1), g, 0.0)}),
    (activations.logsigmoid, {"input": lambda g, input: g * torch.sigmoid(-input)}),
    (special.entr, {"input": lambda g, input: g * (-1 - torch.where(input == 0, 0.0, input).log())}),
    (elementwise.nextafter, {"input": lambda g: g}),
    (elementwise.hypot, {"input": lambda g, out, input: g * input / (out + 1e-30)}),
    (elementwise.abs, {"input": lambda g, input: torch.where(input < 0, -g, g)}),
]


@pytest.mark.parametrize(("op", "gradients"), FAULTS, ids=lambda v: getattr(v, "name", ""))
def test_a_planted_fault_is_found(found, op, gradients):
    names = {op.name, op.name.removeprefix("special_")}
    with planted(op, **gradients):
        some = [f for form in found if form.name in names for dtype in FLOATS for f in faults(form, dtype)]
    assert [f for f in some if not excused(f.name, f.where, f.at)]


def test_a_fault_planted_in_a_reduction_is_found(found):
    """The product of the others, by a division."""
    calls = [(function, call) for function, call in small_calls(found) if function is torch.prod]
    with planted(reduction.prod_all, input=lambda g, out, input: g * (out / input)):
        assert [f for c in calls for s in ("zeros", "two zeros") for f in sprinkled_faults(*c, s, torch.float64)]


def test_what_torch_does_by_size_is_left_to_its_scalar_loop(found):
    """A strided tensor takes it, so that the prover says the same on every machine."""
    for function in (F.relu6, F.hardtanh, F.hardshrink, F.softshrink):
        form = next(f for f in found if f.function is function and not f.call.kwargs and len(f.call.args) == 1)
        assert isinstance(form, Form)
        assert not [f for f in faults(form, torch.float32) if f.where == "gradient 0"]
