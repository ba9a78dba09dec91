"""Random programs agree with torch, and a fault planted anywhere is found. ``fuzz.py`` says how."""

from __future__ import annotations

import heapq
from functools import cache

import fuzz
import pytest
import torch
from fuzz import Disagreement

import tapegrad.backward
from tapegrad.broadcasting import unbroadcast
from tapegrad.rules import elementwise
from tapegrad.tape import Record, parents_of

PROGRAMS = 300


def test_random_programs_agree_with_torch():
    before = fuzz.counts.copy()
    fuzz.run(PROGRAMS)
    made = fuzz.counts - before
    assert made["walks"] > PROGRAMS  # they are about something
    assert made["errors in both"] > PROGRAMS


def find() -> None:
    """Run the same programs as above, which agree but for the fault that is planted."""
    with pytest.raises(Disagreement, match=r"gradient of tensor|grad\(\)|what hook"):
        fuzz.run(PROGRAMS, shrink=False)


def test_a_fault_of_one_bit_in_one_rule_is_found(monkeypatch):
    pullbacks = list(elementwise.mul.pullbacks)
    right = pullbacks[1]
    pullbacks[1] = lambda g, saved, parent: torch.nextafter(right(g, saved, parent), torch.tensor(torch.inf))
    monkeypatch.setattr(elementwise.mul, "pullbacks", tuple(pullbacks))
    find()


def test_a_fault_in_unbroadcast_is_found(monkeypatch):
    def wrong(g, shape):
        """The first of the copies in place of their sum, along dimensions of size 1."""
        return unbroadcast(g, shape) if 1 not in shape else g.flatten()[: shape.numel()].view(shape)

    monkeypatch.setattr(tapegrad.backward, "unbroadcast", wrong)
    find()


def test_a_fault_in_the_order_of_accumulation_is_found(monkeypatch):
    """The walk stays right (users before what they use), but gradients are summed in the order of depth, not of age."""

    @cache
    def depth(record: Record) -> int:
        return 1 + max((depth(p) for p in parents_of(record) if type(p) is Record), default=0)

    def push(queue, item):
        heapq.heappush(queue, (-depth(item[1]), *item))

    monkeypatch.setattr(tapegrad.backward, "heappush", push)
    monkeypatch.setattr(tapegrad.backward, "heappop", lambda queue: heapq.heappop(queue)[1:])
    find()
