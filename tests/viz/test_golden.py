"""The DOT of a few graphs is kept in tests/viz/golden. Write it anew, and look at the difference, with

GOLDEN=write python -m pytest tests/viz/test_golden.py
"""

from __future__ import annotations

import os

import pytest

from tests.viz.graphs import HERE, broadcast_add, fan_out, makemore, square


@pytest.mark.parametrize("draw", [square, broadcast_add, fan_out, makemore], ids=lambda f: f.__name__)
def test_golden(draw):
    path = HERE / "golden" / f"{draw.__name__}.gv"
    source = draw().source
    if os.environ.get("GOLDEN") == "write":
        path.write_text(source, encoding="utf-8")
    assert source == path.read_text(encoding="utf-8")


def test_two_runs_draw_the_same():
    assert makemore().source == makemore().source
