"""Sources of random programs agree with the engine, and the programs find faults that are planted."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch

from tapegrad.source import fold, layout, trace
from tapegrad.source.body import Body
from tests.source.random_programs import DTYPES, Case, difference, disagreement, draw, shortest

pytestmark = pytest.mark.filterwarnings("ignore")

BATCH = 25


@pytest.mark.parametrize("first", range(0, 12 * BATCH, BATCH))
def test_random_programs(first):
    for seed in range(first, first + BATCH):
        case = draw(Random(seed), Random(seed).randint(2, 9))
        assert not disagreement(case), f"program {seed}\n{case}\n{disagreement(case)}"


# --- what random programs have found, and what they are to find again ---

FOUND = {
    "a slice beside a flat function": ["loss = x[0].sum() + ((x - x.floor()) * w).sum()"],
    "a view beside a flat function": ["loss = x.view(-1)[0] + ((x - x.floor()) * w).sum()"],
    "slices of two tensors that hold the same": ["t = x * 2", "u = x * 2", "loss = t[0].sum() + (u[1] * w).sum()"],
    "zeros added to a view": ["loss = (x[:, 1:] + 0).reshape(-1)[:3].sum() + x.round().sum()"],
    "zeros added by broadcasting": ["loss = (w + torch.zeros(3, 4, dtype=w.dtype)).view(-1)[2:5].sum() * s"],
    "numbers beside an expanded tensor": ["loss = (m.sum(-1, keepdim=True).amax(-1).ceil()).sum() + m.sum()"],
    "an expanded number over a tensor by columns": ["loss = (s / (m * m + 1)).sum()"],
    "a number modulo a tensor": ["loss = (3 % (x.abs() + 1)).sum()"],
    "numpy's numbers": ["loss = (x * np.float64(0.1) - np.float32(0.3) / (w + 2) + x[np.int64(1)]).sum()"],
    "bounds that are tensors": ["loss = (x[torch.tensor(0) : torch.tensor(2)] * x[1:, : torch.tensor(4)]).sum()"],
    "a number of few digits": ["loss = (x * torch.full((), 0.1, dtype=x.dtype) * w.mean()).sum()"],
    "the same number many times": ["loss = (w + x.repeat(25, 1)).mean() + (s + m.repeat(1, 33)).mean()"],
    "zeros of either sign": ["loss = (x * 0.0 + x.floor() * -x).sum()"],
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("lines", FOUND.values(), ids=FOUND)
def test_found(lines, dtype):
    assert not disagreement(Case(tuple(lines), ("loss",), ("loss",), dtype))


# --- planted faults ---


def _stretching(self: Any, expression: Any) -> None:
    """``_simplify`` without its questions."""
    if expression.kind == "infix" and expression.name != "matmul":
        expression.args = tuple([(getattr(a, "name", "") == "expand" and a.args[0]) or a for a in expression.args])


PLANTED = {
    "views that are not followed": (trace, "_storage", id),
    "zeros that have no sign": (fold, "_turns_zeros", lambda name, number: False),
    "numbers rounded to a half type": (layout, "_OPERAND", dict.fromkeys(DTYPES, torch.float16)),
    "broadcasts left out": (Body, "_simplify", _stretching),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault, monkeypatch):
    """By one of the first 400 programs, and in few lines."""
    owner, name, planted = PLANTED[fault]
    monkeypatch.setattr(owner, name, planted)
    cases = (draw(Random(seed), Random(seed).randint(2, 9)) for seed in range(400))
    case = next(case for case in cases if disagreement(case))
    assert len(shortest(case).lines) <= 5


def test_the_judge():
    one = torch.tensor([1.0, 0.0, torch.nan])
    assert not difference(one, one.clone(), "exact")
    for other in ([1.0, -0.0, torch.nan], [1.0 + 2**-23, 0.0, torch.nan], [1.0, 0.0, 0.0]):
        assert difference(one, torch.tensor(other), "exact")
    assert not difference(one, torch.tensor([1.0 + 2**-23, -0.0, torch.nan]), "plain")
    assert difference(one, torch.tensor([1.001, 0.0, torch.nan]), "plain")
    assert difference(one, None, "plain")
    assert difference(one, one.double(), "plain")
    assert difference(one, one[None], "plain")
    assert difference(one, one.nan_to_num(), "plain")
