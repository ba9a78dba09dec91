"""Promise 3: it is readable. Whoever follows the page on custom rules has one in five minutes; the code on it runs.

How long a formula and the engine may be: tests/test_layers.py.
"""

from __future__ import annotations

import re

import pytest

from tapegrad.engine.table import TABLE
from tests.helpers import ROOT


@pytest.fixture
def _table_as_it_was():
    """Rules that a page registers are gone afterwards."""
    before = dict(TABLE)
    yield
    TABLE.clear()
    TABLE.update(before)


@pytest.mark.usefixtures("_table_as_it_was")
def test_custom_rule():
    """The page is one program: its blocks run one after another."""
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "custom-rule.md").read_text(), flags=re.DOTALL | re.MULTILINE
    )
    assert len(blocks) >= 5
    scope: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/custom-rule.md", "exec"), scope)
