"""A part of ``python -m tests.provers.autocast``: the functions that autocast concerns."""

from __future__ import annotations

import warnings

import pytest

from tapegrad.engine.signature import name_of
from tapegrad.nn.autocast import policy
from tests.provers import autocast
from tests.provers.samples import SAMPLES

CONCERNED = [f for f in SAMPLES if policy(name_of(f), "cpu") and name_of(f) not in autocast.OTHER]


@pytest.mark.parametrize("function", CONCERNED, ids=name_of)
def test_it_is_as_torchs(function):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {str(call): autocast.problem(function, call) for call in SAMPLES[function]}
    assert {call: problem for call, problem in found.items() if problem} == {}
