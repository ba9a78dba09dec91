"""The benchmarks run and tell the truth; how fast anything is, no test says."""

import json
import sys

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import contestants, gpt, ops, profile, report, runner, works
from benchmarks.runner import Result

BUILT_IN = ["tapegrad", "torch", "hand", "kernels"]


@pytest.fixture
def small(monkeypatch):
    """The works, small enough for a test."""
    monkeypatch.setattr(works, "CHAIN", 20)
    monkeypatch.setattr(gpt, "BATCH", 2)
    sizes = {
        "makemore": lambda: works.makemore(8, 16, 2),
        "training": lambda: works.training(8, 16, 2),
        "chain": lambda: works.chain(2),
        "gpt": lambda: works.transformer(2),
    }
    monkeypatch.setattr(works, "WORKS", sizes)
    monkeypatch.setattr(runner, "SAMPLE", 1e-9)  # one step a sample
    return sizes


@pytest.mark.parametrize("work", ["makemore", "training", "chain", "gpt"])
def test_contestants_agree(small, work):
    results = runner.measure(small[work], BUILT_IN)
    assert [r.contestant for r in results] == BUILT_IN
    assert not any(r.wrong for r in results)
    assert not any("failed" in r.skipped for r in results)
    timed = {r.contestant: r for r in results if r.seconds is not None}
    assert {"tapegrad", "torch"} <= timed.keys()
    assert timed["torch"].ratio == 1
    assert all(r.low <= r.ratio <= r.high for r in timed.values())


def test_the_array_style_agrees_where_somebody_can_run_it(small):
    pytest.importorskip("autograd")
    for make in small.values():
        result = runner.measure(make, ["autograd"], 1)[0]
        assert result.ratio is not None, result


def test_an_absent_contestant_is_skipped_by_name(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "mygrad", None)  # as if it were not installed
    results = runner.measure(small["chain"], ["mygrad", "tapegrad"], 1)
    assert [r.contestant for r in results] == ["mygrad", "tapegrad", "torch"]  # torch always takes part
    assert results[0] == Result("mygrad", skipped="not installed: pip install mygrad")
    assert "- mygrad skipped: not installed" in report.work_table(results)


def test_a_contestant_that_is_wrong_is_not_timed(small, monkeypatch):
    def off(work):
        step = contestants.eager(work)
        return lambda: (step()[0], [g * 1.01 for g in step()[1]])

    monkeypatch.setitem(contestants.CONTESTANTS, "off", off)
    monkeypatch.setitem(contestants.CONTESTANTS, "fails", lambda work: work.nothing)
    off, fails, _ = runner.measure(small["makemore"], ["off", "fails"], 1)
    assert off.seconds is None
    assert "is off by" in off.wrong
    assert "- off DISAGREES" in report.work_table([Result("torch", 1.0, 1.0, 1.0, 1.0), off])
    assert fails.skipped.startswith("failed: AttributeError")


def test_disagreements_are_found():
    a, b = [torch.ones(()), torch.ones(3)], [torch.ones(()), torch.tensor([1, 1, 1.0001])]
    assert runner.disagreement(a, a, 0.0) == ""
    assert "gradient 1 is off by 1.0e-04" in runner.disagreement(b, a, 0.0)
    assert runner.disagreement(b, a, 1e-3) == ""
    assert "1 gradients instead of 2" in runner.disagreement(a, [*a, a[0]], 1.0)
    assert "shape (3,) instead of ()" in runner.disagreement([a[0], a[1]], [a[0], a[0]], 1.0)
    assert "off by nan" in runner.disagreement([torch.tensor(torch.nan)], [torch.ones(())], 1.0)


def test_turns_alternate(small):
    order = []
    samples = runner.take_turns([lambda: order.append("A"), lambda: order.append("B")], 2)
    assert [len(s) for s in samples] == [2, 2]
    warm_and_timed = "AABBBBAA"
    assert "".join(order) == "AB" + warm_and_timed  # once each to choose the size of a sample


def test_a_regression_of_20_percent_is_told_and_one_of_10_is_not(tmp_path):
    path = tmp_path / "baseline.json"
    assert "No baseline" in report.comparison({"a": 1.0}, report.baseline(path))
    report.save_baseline({"a": 1.0, "b": 0.5}, path)
    report.save_baseline({"b": 1.0}, path)  # the others stay
    before = report.baseline(path)
    assert before == {"a": 1.0, "b": 1.0}
    assert "None of 2 ratios" in report.comparison({"a": 1.1, "b": 0.8, "new": 3.0}, before)
    assert report.regressions({"a": 1.2, "b": 1.1, "new": 3.0}, before) == ["a: 1.20, was 1.00 (+20%)"]
    assert "1 of 2 ratios" in report.comparison({"a": 1.2, "b": 1.1}, before)


def test_the_command_prints_and_saves(small, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(report, "HERE", tmp_path)
    monkeypatch.setattr(report, "BASELINE", tmp_path / "baseline.json")
    monkeypatch.setattr(report, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(report, "PICTURE", tmp_path / "images" / "benchmarks.svg")
    monkeypatch.setattr(report.baseline, "__defaults__", (report.BASELINE,))
    monkeypatch.setattr(report.save_baseline, "__defaults__", (report.BASELINE,))
    monkeypatch.setattr(ops, "OPS", dict(list(ops.OPS.items())[:1]))
    one = {"makemore": runner.measure(small["makemore"], BUILT_IN, 1)}
    monkeypatch.setattr(command, "_in_processes", lambda args: {"1": one, "all": one})
    assert command.main("--work makemore --rounds 1 --save".split()) == 0
    text = (tmp_path / "benchmarks.md").read_text()
    for expected in ("| tapegrad", "## makemore, 1 thread", "## makemore, all threads", "`x * y`", "backward: rules"):
        assert expected in text
    assert "images/benchmarks.svg" in text
    assert "<svg" in (tmp_path / "images" / "benchmarks.svg").read_text()
    assert "makemore tapegrad threads=1" in json.loads((tmp_path / "baseline.json").read_text())
    assert "No baseline" in capsys.readouterr().out


def test_a_process_of_its_own_measures(tmp_path):
    args = "--work makemore-32x64 --contestants tapegrad kernels --rounds 1".split()
    assert command.main(args) == 0


def test_the_cost_of_an_op():
    cost = ops.cost("x * y", rounds=2)
    assert cost.bare > 0
    assert cost.rule > 0
    assert cost.ratios.keys() == {"x * y forward", "x * y backward"}


def test_a_profile_adds_up_and_leaves_the_rules_as_they_were(small):
    import tapegrad
    from tapegrad.rules import elementwise

    before = elementwise.mul.pullbacks
    found = profile.profile(small["makemore"](), rounds=2)
    assert elementwise.mul.pullbacks is before
    assert tapegrad.engine.gradients.unbroadcast.__name__ == "unbroadcast"
    assert len(found.parts) == 6
    assert ("tanh.input", 1) in {(name, calls) for name, calls, _ in found.rules}
    assert "tanh.input" in report.profile_table(found, rules=100)
