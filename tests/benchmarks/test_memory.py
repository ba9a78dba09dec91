"""What the tape takes of memory, measured in processes of their own beside torch's: ``benchmarks/memory.py``."""

from __future__ import annotations

import pytest

from benchmarks import memory


@pytest.fixture(scope="module")
def nothing():
    """What a process takes that computes nothing."""
    return {library: memory.in_a_process("chain", library, 0).peak for library in memory.LIBRARIES}


def peaks(work: str, size: int, nothing: dict[str, int]) -> list[int]:
    return [memory.above(work, library, size, nothing[library]).peak for library in memory.LIBRARIES]


def test_a_ten_layer_mlp_takes_no_more_than_torch(nothing):
    ours, theirs = peaks("mlp", 768, nothing)
    assert theirs > 40 * 2**20  # so that it is the tensors that count
    assert ours <= memory.LARGER * theirs


def test_a_long_chain_takes_no_more_than_torch(nothing):
    ours, theirs = peaks("chain", 100_000, nothing)
    assert theirs > 40 * 2**20
    assert ours <= theirs


def test_the_table(capsys, monkeypatch):
    """The page of figures, from figures that are made up."""
    figures = {
        0: memory.Figures(0.0, 0.0, 100),
        10: memory.Figures(1.0, 1.0, 1100),
        100: memory.Figures(9.0, 9.0, 9100),
    }
    monkeypatch.setattr(memory, "in_a_process", lambda work, library, size: figures[size])
    assert memory.main(["--ops", "100", "--width", "100"]) == 0
    assert f"{9.0:13.1f}x{90:14d}" in capsys.readouterr().out
    figures[100] = memory.Figures(20.0, 20.0, 9100)
    assert memory.main(["--ops", "100", "--width", "100"]) == 1
    assert "A bound does not hold" in capsys.readouterr().out
