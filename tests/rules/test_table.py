"""The rule table is covered by samples."""

from __future__ import annotations

import operator
from inspect import unwrap

import torch
import torch.nn.functional as F

import tapegrad
from tapegrad.engine.op import Op
from tapegrad.engine.table import TABLE
from tests.helpers import copy, ours
from tests.provers.runs import DEPRECATED, Run, is_torchs, name_of, smooth
from tests.provers.samples import SAMPLES

pytestmark = DEPRECATED


def test_every_entry_has_samples():
    """A function in the table without samples is untested; of internal ones, ``test_every_formula_is_used`` asks."""
    sampled = {id(unwrap(TABLE[f])) for f in SAMPLES if f in TABLE}
    missing = {name_of(f) for f, entry in TABLE.items() if id(unwrap(entry)) not in sampled and is_torchs(f)}
    # torch's internals have samples under their public names; cuda() needs another device: test_devices.py; what eig
    # gives has phases that mean nothing: ``sizes_of_eigenvectors``.
    others = {"torch.Tensor.cuda", "torch.linalg.linalg_eig"}
    assert {name for name in missing if not name.startswith("torch._C.")} <= others


def test_every_formula_is_used():
    """Each formula of each op, internal ones included, gives a gradient in some sample's first or second order."""
    used = set()
    for function, calls in SAMPLES.items():
        for call in calls:
            if call.numel > 100 or call.has_float32:
                continue
            mine = Run(function, call, ours, torch.float64)
            if isinstance(TABLE.get(function), Op) and any(mine.result is leaf for leaf in mine.leaves):
                used |= {(TABLE[function].name, argument) for argument in TABLE[function].formulas}  # nothing to do
            if mine.outputs:
                v = [ours(v) for v in mine.cotangents()]
                used |= {
                    found for t in mine.outputs if not t.is_leaf for found in formulas_on(tapegrad.tape(t, names={}))
                }
                twice = "drawn" not in call.at_kink  # torch's slopes of quantiles have no rule
                first = tapegrad.grad(mine.outputs, mine.leaves, v, create_graph=twice, allow_unused=True)
                for t in first:
                    if getattr(t, "requires_grad", False) and not t.is_leaf:
                        used |= formulas_on(tapegrad.tape(t, names={}))
    entries = [e for f, e in TABLE.items() if is_torchs(f) or getattr(f, "__module__", "").startswith("tapegrad")]
    declared = {(e.name, argument) for e in entries if isinstance(e, Op) for argument in e.formulas}
    assert declared <= used


def formulas_on(tape) -> set[tuple[str, str]]:
    """The op and argument of each gradient that a walk of the tape computes."""
    return {
        (record.op.name, argument)
        for record in tape
        for argument, parent in zip(record.op.parameters, record.parents, strict=True)
        if parent is not None
    }


def test_finite_differences_leave_out_only_what_says_so():
    """A function goes without only if each of its samples says why: steps, a factor that is not unique, few bits."""
    without = {f: calls for f, calls in SAMPLES.items() if f in TABLE and not smooth(calls)}
    assert {name_of(f) for f, calls in without.items() if not all(call.at_kink for call in calls)} == set()
    assert len(without) < len(SAMPLES) / 10


def test_what_a_network_is_made_of_is_exact():
    """Tolerances are for the few functions whose kernels cannot be followed; these are not among them."""
    assert all(0 < call.rtol <= 64 for calls in SAMPLES.values() for call in calls if call.reason)
    inexact = {f for f, calls in SAMPLES.items() if any(call.reason and not call.has_complex for call in calls)}
    # Of complex numbers a product is four, and a sum of them has no one order.
    calls = [call for calls in SAMPLES.values() for call in calls if not call.has_complex]
    assert sum(bool(call.reason) for call in calls) < len(calls) / 12  # some functions are inexact in a few calls alone
    exact = [
        operator.add,
        operator.sub,
        operator.mul,
        operator.truediv,
        operator.pow,
        operator.matmul,
        operator.getitem,
    ]
    exact += [torch.tanh, torch.exp, torch.log, torch.sum, torch.mean, torch.var, torch.max, torch.sigmoid, torch.relu]
    exact += [torch.matmul, F.linear, F.embedding, torch.cat, torch.stack, torch.Tensor.view, torch.where, torch.sqrt]
    assert inexact.isdisjoint(exact)
    assert not SAMPLES[F.cross_entropy][0].reason


def test_copies_keep_their_layout():
    """The helper that all this rests on."""
    x = torch.arange(24.0).view(4, 6)[::2, 1::2].T
    y = copy(x)
    assert torch.equal(x, y)
    assert x.stride() == y.stride()
    assert x.data_ptr() != y.data_ptr()
