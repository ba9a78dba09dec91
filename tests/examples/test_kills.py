"""A training that is killed, or interrupted, at random moments loses nothing."""

from __future__ import annotations

import pytest

from tests.provers import kills


@pytest.mark.parametrize("model", ["bigram", "lecture"])
def test_kills_at_random_moments_lose_nothing(tmp_path, model):
    kills.survive(tmp_path, 2, "--model", model)


@pytest.mark.parametrize("model", ["bigram", "lecture"])
def test_interrupts_at_random_moments_lose_nothing(tmp_path, model):
    kills.survive(tmp_path, 3, "--model", model, interrupt=True)
