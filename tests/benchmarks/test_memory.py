"""The page of ``benchmarks/memory.py``; what is alive is tested in tests/engine/test_memory.py."""

from __future__ import annotations

from benchmarks import memory


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
