"""What is printed, drawn and kept stays small where a tape, or a program, is large."""

from __future__ import annotations

import gc
import re
from weakref import ref

import pytest
import torch
from tapegrad.viz import draw

import tapegrad
from tapegrad.engine.table import TABLE, ops
from tests.helpers import ours


def test_a_table_of_an_op_with_many_inputs():
    parts = [ours(torch.ones(1)) for _ in range(2000)]
    text = str(tapegrad.tape(torch.cat(parts), names={"part": parts[0]}))
    assert max(map(len, text.splitlines())) < 200
    assert "part, " in text
    assert "(2000 in all)" in text


def test_a_table_of_long_names():
    x = ours(torch.ones(1))
    text = str(tapegrad.tape(x.exp(), names={"x" * 5000: x}))
    assert max(map(len, text.splitlines())) < 300
    assert "xxx…" in text


def test_a_tape_that_is_too_long_to_draw_says_so_before_it_is_laid_out():
    x = ours(torch.ones(3))
    y = x
    for _ in range(2000):
        y = y + 1
    with pytest.raises(ValueError, match=r"draw: the graph has 45 nodes or more, and max_nodes=40; pass") as refused:
        draw(y, max_nodes=40)
    advised = int(re.search(r"pass max_nodes=(\d+)", str(refused.value))[1])
    assert "digraph" in draw(y, max_nodes=advised).source


def test_rules_go_with_their_functions():
    def made():
        def double(x):
            return x * 2

        op = tapegrad.rule(double, "x", x=lambda g: g * 2)
        x = ours(torch.ones(3))
        for _ in range(25):  # its walk is written out
            op(x).sum().backward()
            op(x).backward(torch.ones(3))
        assert tapegrad.rule(x=lambda g: g * 2)(double) is not op
        return ref(op)

    gc.collect()  # what other tests have left
    before = len(TABLE), len(ops)
    held = [made() for _ in range(5)]
    gc.collect()
    assert (len(TABLE), len(ops)) == before
    assert not any(op() for op in held)
