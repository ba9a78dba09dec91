"""The source of every sample call runs and agrees."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import tapegrad
from tapegrad.source.program import STYLES, Program
from tests.helpers import ours, randn
from tests.provers.runs import DEPRECATED, FLOATS, Run, for_each_call, name_of
from tests.provers.samples import SAMPLES
from tests.provers.samples.elementwise import shares_drawn
from tests.source.checks import assert_formatted, assert_written

pytestmark = DEPRECATED


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_nothing(style, dtype):
    """A tape without records."""
    x = ours(randn(dtype=dtype))
    assert_written(x, {"x": x}, style)


# Their records keep a generator, for a replay to draw the same; of one there is no source.
DRAWN = {torch._standard_gamma, shares_drawn}


def sources_of(function: Any, call: Any) -> dict[str, str]:
    texts = {}
    for dtype in FLOATS:
        run = Run(function, call, ours, dtype)
        outputs = [o for o in run.outputs if isinstance(o, tapegrad.Tensor) and not o.is_leaf]
        if outputs:
            names = {f"x{k}": x for k, x in enumerate(run.leaves)}
            for style in STYLES:
                texts[f"{style}_{str(dtype)[6:]}"] = assert_written(outputs, names, style)
    return texts


@for_each_call
def test_every_sample(function, call):
    """Both styles run and agree, and what they need is on the tape: rules make no tensors out of sight."""
    if function in DRAWN:
        with pytest.raises(NotImplementedError, match="a Generator cannot be written"):
            sources_of(function, call)
        return
    for text in sources_of(function, call).values():
        assert not re.search(r"\bconstant(_\d+)?\b", text)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_every_sample_is_formatted(dtype, tmp_path):
    texts = {}
    for f, calls in SAMPLES.items():
        if f in DRAWN:
            continue
        for k, call in enumerate(calls):
            run = Run(f, call, ours, dtype)
            outputs = [o for o in run.outputs if isinstance(o, tapegrad.Tensor) and not o.is_leaf]
            if outputs:
                style = STYLES[k % 2]
                scope = {f"x{k}": x for k, x in enumerate(run.leaves)}
                text = Program(tapegrad.tape(*outputs, names=scope), scope, style).text(forward=True)
                texts[f"{re.sub(r'[^a-z0-9_]', '_', name_of(f).lower())}_{k}"] = text
    assert_formatted(texts, tmp_path)
