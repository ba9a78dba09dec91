"""Every spelling of a function: method, torch function, functional, in place."""

from __future__ import annotations

import torch

from tapegrad.engine.table import TABLE
from tests.provers.runs import DEPRECATED, assert_agrees, for_each_call, is_torchs

pytestmark = DEPRECATED


@for_each_call(of=lambda function: function in TABLE)
def test_other_spellings(function, call):
    """Each name does what torch's own function of that name does with the same arguments, errors included."""
    for spelling, entry in TABLE.items():
        if entry is TABLE[function] and spelling is not function and is_torchs(spelling):
            assert_agrees(spelling, call, torch.float64)


@for_each_call(
    of=lambda function: function in TABLE and hasattr(torch.Tensor, function.__name__ + "_"),
    which=lambda calls: [c for c in calls if c.leaf_first],
)
def test_in_place_methods(function, call):
    """``x.name_(...)`` on a computed tensor does what it does on a torch tensor."""

    def method(x, *args, **kwargs):
        x = x.clone()
        y = getattr(x, function.__name__ + "_")(*args, **kwargs)
        assert y is x
        return y

    assert_agrees(method, call, torch.float64)
