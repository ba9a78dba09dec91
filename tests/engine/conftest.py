"""What tests of the engine share."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture
def no_collector():
    """Only reference counts may free anything."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
