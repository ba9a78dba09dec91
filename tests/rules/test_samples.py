"""Every sample call in other layouts, under no_grad, and replayed."""

from __future__ import annotations

import pytest
import torch

import tapegrad
from tests.helpers import assert_same, ours, raw, theirs
from tests.provers.runs import DEPRECATED, Run, assert_agrees, for_each_call
from tests.provers.samples.elementwise import shares_drawn

pytestmark = DEPRECATED


# --- layouts ---


def strided(x: torch.Tensor) -> torch.Tensor:
    """The same values, every second element of a larger buffer."""
    return torch.stack([x, x], -1)[..., 0]


def transposed(x: torch.Tensor) -> torch.Tensor:
    """The same values, stored in the opposite order of dimensions."""
    backwards = tuple(reversed(range(x.ndim)))
    return x.permute(backwards).contiguous().permute(backwards)


@for_each_call
def test_layouts(function, call):
    assert_agrees(function, call, torch.float32, layout=strided)
    assert_agrees(function, call, torch.float32, layout=transposed)


# --- what is not recorded, and what is ---


@for_each_call
def test_nothing_is_recorded_under_no_grad(function, call):
    with torch.no_grad():
        mine, yours = Run(function, call, ours, torch.float32), Run(function, call, theirs, torch.float32)
    parts = mine.result if isinstance(mine.result, (tuple, list)) else [mine.result]
    for part in parts:
        if isinstance(part, tapegrad.Tensor) and not any(part is leaf for leaf in mine.leaves):
            assert part.is_leaf
            assert not part.requires_grad
    eps = call.rtol * torch.finfo(torch.float32).eps
    assert_same(raw(mine.result), raw(yours.result), "value", rtol=eps, atol=eps)


@for_each_call
def test_replay_compares_every_node(function, call):
    """``compare`` runs the tape again on torch: the same value, and every gradient exact."""
    if function is shares_drawn:
        return  # torch has no derivative of its sampler itself
    mine = Run(function, call, ours, torch.float32)
    for out in mine.outputs:
        if not out.is_leaf and not out.data.numel():
            with pytest.raises(ValueError, match="has no elements: nothing to compare"):
                tapegrad.compare(out)
        elif not out.is_leaf:
            used = {id(leaf) for leaf in tapegrad.tape(out, names={}).leaves}
            names = {f"x{k}": x for k, x in enumerate(mine.leaves) if id(x) in used}
            rows = tapegrad.compare(out, names=names)
            assert len(rows) == len(used)
            if call.reason:
                assert max(row.maxdiff for row in rows) <= 8 * torch.finfo(torch.float32).eps * call.rtol, rows
            else:
                assert rows.exact, rows
