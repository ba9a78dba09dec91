"""The operator database: what a program's forward pass calls by default, all of it with ``-m slow``; and its runner."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest
import torch

import tapegrad
from tapegrad.engine.apply import apply
from tapegrad.engine.op import Op
from tapegrad.engine.table import TABLE
from tests.provers.conformance import FORWARD, database, examine, guarded, run
from tests.provers.conformance_page import PAGE, listed


@pytest.mark.parametrize("name", [name for name in FORWARD if name in listed(PAGE.read_text())])
def test_what_a_forward_pass_calls(name):
    report = examine(database()[name], torch.float64, limit=8)
    assert report.verdict == "pass", report.reason
    assert report.samples > 0


@pytest.mark.slow
def test_the_whole_database():
    """Nothing is wrong, and nothing that the page lists has stopped passing."""
    reports = run()
    assert len(reports) >= 540
    assert not [(r.name, r.reason) for r in reports if r.verdict in ("wrong", "error")]
    assert not listed(PAGE.read_text()) - {r.name for r in reports if r.verdict == "pass"}


@pytest.mark.slow
def test_most_of_the_database_is_equal_in_every_bit():
    """In float32, of the operators that pass."""
    passing = [r for r in run(dtype=torch.float32) if r.verdict == "pass"]
    assert sum(r.exact for r in passing) >= 0.9 * sum(r.samples for r in passing)
    assert sum(r.exact == r.samples for r in passing) >= 0.9 * len(passing)


def operator(function, *inputs, **kwargs):
    """An operator like the database's, with one sample."""
    sample = SimpleNamespace(input=inputs[0], args=inputs[1:], kwargs=kwargs, output_process_fn_grad=lambda out: out)
    return SimpleNamespace(
        full_name="mine",
        op=function,
        method_variant=None,
        operator_variant=None,
        inplace_variant=None,
        aliases=(),
        error_inputs_func=None,
        sample_inputs=lambda *args, **kwargs: iter([sample]),
    )


def leaf(*shape):
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


def ours(function):
    """A function that goes astray on tapegrad alone."""
    return lambda x, *args: function(x, *args) if isinstance(x, tapegrad.Tensor) else torch.sin(x)


def test_the_runner_passes_what_agrees():
    report = examine(operator(torch.sin, leaf(3)), torch.float64)
    assert (report.verdict, report.samples, report.passed, report.exact) == ("pass", 1, 1, 1)


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda x: x.sin() * (1 + 1e-8), id="value"),
        pytest.param(lambda x: x.sin().detach(), id="no gradient"),
        pytest.param(lambda x: torch.sin(x.data), id="plain result"),
        pytest.param(lambda x: x.sin() + (x - x.detach()) * 1e-6, id="gradient"),
        pytest.param(lambda x: x.sin().unsqueeze(0), id="shape"),
        pytest.param(lambda x: x.sin().float(), id="dtype"),
        pytest.param(lambda x: (x.sin(),), id="kind"),
        pytest.param(lambda x: (x.data.zero_(), x.sin())[1] + 0.5, id="input"),
    ],
)
def test_the_runner_finds_what_is_wrong(function):
    assert examine(operator(ours(function), leaf(3)), torch.float64).verdict == "wrong"


def in_single(*shape):
    return torch.randn(shape).requires_grad_()


@pytest.mark.parametrize("factor", [1 - 5e-4, 1 + 5e-4])
def test_float32_is_held_to_float64(factor):
    """What differs from torch passes if it is torch that is off, and else does not."""
    right = operator(lambda x: torch.sin(x), in_single(5))
    assert examine(right, torch.float32).exact == 1
    off = operator(
        lambda x: torch.sin(x) * (1 if x.dtype is torch.float64 or isinstance(x, tapegrad.Tensor) else factor),
        in_single(5),
    )
    assert examine(off, torch.float32).verdict == "pass"
    wrong = operator(ours(lambda x: torch.sin(x) * factor), in_single(5))
    assert examine(wrong, torch.float32).verdict == "wrong"


def test_random_numbers_are_not_held_to_those_of_float64():
    noisy = operator(ours(lambda x: torch.sin(x) + torch.rand(3)), in_single(3))
    assert examine(noisy, torch.float32).verdict == "wrong"
    noisy = operator(
        lambda x: torch.sin(x) + torch.rand(3) * (2 if isinstance(x, tapegrad.Tensor) else 1), in_single(3)
    )
    assert examine(noisy, torch.float32).verdict == "wrong"


def test_the_runner_finds_a_rule_wrong_by_a_thousandth(monkeypatch):
    bad = Op(
        torch.mul,
        "input, other",
        (),
        {"input": lambda g, other: g * other * 1.001, "other": lambda g, input: g},
        trusted=True,
    )
    bad.road = lambda *args: apply(bad, args)
    monkeypatch.setitem(TABLE, torch.mul, bad)
    report = examine(database()["mul"], torch.float64)
    assert report.verdict == "wrong"
    assert "gradient" in report.reason


def test_the_runner_finds_a_result_that_torch_refuses():
    def refusing(x):
        if isinstance(x, torch.Tensor):
            raise RuntimeError("no")
        return x

    report = examine(operator(refusing, leaf(3)), torch.float64)
    assert (report.verdict, report.reason) == ("wrong", "a result, where torch says RuntimeError: no")


def test_a_refusal_is_no_error():
    def missing(x):
        raise tapegrad.MissingRule("no rule")

    def crash(x):
        raise AttributeError("what?")

    assert examine(operator(ours(missing), leaf(3)), torch.float64).verdict == "unsupported"
    assert examine(operator(ours(crash), leaf(3)), torch.float64).verdict == "error"


def test_a_crash_or_an_endless_loop_stops_nothing():
    crash = guarded(operator(ours(lambda x: os._exit(9)), leaf(3)), torch.float64)
    assert crash.verdict == "error"
    assert "died" in crash.reason
    loop = guarded(operator(ours(lambda x: time.sleep(60)), leaf(3)), torch.float64, seconds=0.2)
    assert (loop.verdict, loop.reason) == ("error", "stopped after 0.2 seconds")


def test_the_page_is_read_back():
    passing = "## Pass, all: 3\n\n**torch.** `add` `mul.x`\n\n**torch.nn.functional.** `relu`\n\n"
    text = f"# C\n\n{passing}## Unsupported: 1\n\n`svd`\n"
    assert listed(text) == {"add", "mul.x", "nn.functional.relu"}
