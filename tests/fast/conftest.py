"""What tests of the fast roads share."""

from __future__ import annotations

import pytest

from tapegrad import unrolled


@pytest.fixture(autouse=True)
def _nothing_written(monkeypatch):
    """Each test begins with nothing written, and writes on the third walk."""
    monkeypatch.setattr(unrolled, "MEETINGS", 2)
    unrolled.forget()
    yield
    unrolled.forget()
