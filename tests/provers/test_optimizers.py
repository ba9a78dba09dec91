"""A quick part of ``python -m tests.provers.optimizers``: each optimizer in each way it runs."""

from __future__ import annotations

import warnings

import pytest
from torch.testing._internal.common_optimizers import optim_db

from tests.provers import optimizers


@pytest.mark.parametrize("info", optim_db, ids=lambda i: i.optim_cls.__name__)
def test_it_ends_in_the_same_bits(info):
    ways = {}
    for options in optimizers.configurations(info):
        ways.setdefault(frozenset({"foreach", "fused"} & options.keys()), options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = [optimizers.agrees(info.optim_cls, options) for options in ways.values()]
    assert False not in results
    assert True in results or info.optim_cls.__name__ == "SparseAdam"
