"""The search of half precisions, at a size that takes seconds, and on planted faults."""

from __future__ import annotations

import operator

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad.engine.table import TABLE
from tests.provers.half_precision import HALF, SCALES, Finding, Scale, findings

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using padding='same'"),
    pytest.mark.filterwarnings("ignore:An output with one or more elements was resized"),
]

# One function, or a few, of each kind of rule: an error of any kind shows in one of these.
TELLING = [
    torch.tanh, torch.div, torch.pow, torch.var, torch.prod, torch.logsumexp, torch.addcdiv, torch.special.i0e,
    torch.sinc, F.softmax, F.log_softmax, F.softplus, F.silu, F.gelu, F.mish, F.elu, F.logsigmoid,
    F.smooth_l1_loss, F.batch_norm, F.layer_norm, F.group_norm, F.cross_entropy, F.normalize,
    F.scaled_dot_product_attention, F.interpolate, torch.einsum, torch.matmul, F.conv2d, operator.getitem,
    torch.cat,
]  # fmt: skip


def found(functions, scales=SCALES, calls=6) -> list[Finding]:
    """What the prover finds in the first sample calls of some functions, with one draw each."""
    return [
        finding
        for function in functions
        for dtype in HALF
        for scale in scales
        for finding in findings(function, dtype, scale, calls=calls, draws=1)
    ]


def test_errors_are_no_larger_than_torchs():
    assert found(TELLING, SCALES[:5]) == []


def test_a_rule_that_rounds_at_each_step_is_found(monkeypatch):
    """The prover's own test: silu without float32 is rough, and softplus is lost."""
    for function in (F.silu, F.softplus):
        record = function(tapegrad.tensor([1.0], requires_grad=True)).record
        monkeypatch.setattr(record.op, "in_half", record.op)
    kinds = {(f.function.rpartition(".")[2], f.kind) for f in found([F.silu, F.softplus], SCALES[2:5])}
    assert {("silu", "rough"), ("softplus", "lost")} <= kinds


def test_an_infinite_value_is_found(monkeypatch):
    monkeypatch.setitem(TABLE, F.softplus, lambda input, beta=1.0, threshold=20.0: (input * beta).exp().log1p() / beta)
    assert "lost" in {f.kind for f in found([F.softplus], [Scale(1e2, 1e2)])}
