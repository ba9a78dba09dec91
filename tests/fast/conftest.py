"""What tests of the fast roads share. Without fast/, or under TAPEGRAD_FAST=0, none of them are collected."""

from __future__ import annotations

import pytest

from tests.helpers import FAST, roads

# test_optional.py starts processes of its own, with fast/ and without.
collect_ignore_glob = [] if FAST else ["test_[!o]*.py"]


@pytest.fixture(autouse=True)
def _nothing_written(monkeypatch):
    """Each test begins with nothing written, and writes on the third walk."""
    if FAST:
        monkeypatch.setattr(roads, "MEETINGS", 2)
        roads.forget()
    yield
    if FAST:
        roads.forget()
