"""The pages: what they show runs, and what is generated is current."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tapegrad.engine.table import TABLE

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


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
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / "custom-rule.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 5
    scope: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/custom-rule.md", "exec"), scope)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")], ids=lambda p: p.name
)
def test_links_lead_somewhere(page):
    """Each relative link, to a file and to a heading in it."""
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", page.read_text())):
        if re.match(r"\w+:", link):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.*)", target.read_text(), flags=re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles], link


@pytest.mark.parametrize("script", ["make_rules.py", "make_backward.py"])
def test_generated_pages_are_current(script):
    """In a process of its own, where no test has registered anything."""
    command = [sys.executable, str(DOCS / script), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
