"""Errors end at the user's line: whatever is called, and however it fails, no frame of ours comes last."""

from __future__ import annotations

import linecache
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad.engine.table import TABLE
from tests.helpers import ours, randn


class Odd:
    """What no function takes."""


def frames(error: BaseException) -> list[traceback.FrameSummary]:
    return list(traceback.extract_tb(error.__traceback__))


def failing(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except Exception as error:
        return error
    return None


def elsewhere(calls: Iterator[tuple[str, Callable[[], object]]]) -> dict[str, str]:
    """Of calls that fail, those whose traceback does not end in this file; and that enough of them fail."""
    wrong, failed = {}, 0
    for name, call in calls:
        error = failing(call)
        if error is None:
            continue
        failed += 1
        last = frames(error)[-1]
        if last.filename != __file__:
            wrong[name] = f"{last.filename}:{last.lineno}: {error}"
    assert failed > 100
    return wrong


# --- everything, called absurdly ---

ARGUMENTS = [(), (Odd(),), (Odd(), Odd()), ("a", "b", "c"), (99,), (torch.ones(7, 5),)]
# Python's own, and what would leave this process changed.
NOT_CALLED = {"__class__", "__weakref__", "__slots__", "__getstate__", "__init_subclass__", "__torch_function__"}
NOT_CALLED |= {"share_memory_", "_replace"}


def calls_of_members() -> Iterator[tuple[str, Callable[[], object]]]:
    for name, member in vars(tapegrad.Tensor).items():
        if name in NOT_CALLED or not (callable(member) or isinstance(member, property)):
            continue
        for args in ARGUMENTS:
            x = ours(randn(3, 2))
            if isinstance(member, property):
                yield name, lambda x=x, name=name: setattr(x, name, Odd())
            else:
                yield name, lambda x=x, name=name, args=args: getattr(x, name)(*args)
                yield name, lambda x=x * 2, name=name, args=args: getattr(x, name)(*args)


@pytest.mark.filterwarnings("ignore")
def test_members_of_tensor():
    assert elsewhere(calls_of_members()) == {}


def calls_of_functions() -> Iterator[tuple[str, Callable[[], object]]]:
    for function in list(TABLE):
        if str(getattr(function, "__module__", "")).startswith(("tapegrad", "tests")):
            continue
        for args in ARGUMENTS:
            yield function.__name__, lambda function=function, args=args: function(ours(randn(3, 2)), *args)


@pytest.mark.filterwarnings("ignore")
def test_functions_of_torch():
    """All but calls that torch's own Python refuses before it asks us."""
    wrong = elsewhere(calls_of_functions())
    assert {name: told for name, told in wrong.items() if f"{os.sep}torch{os.sep}" not in told} == {}


def calls_of_public() -> Iterator[tuple[str, Callable[[], object]]]:
    functions = {name: getattr(tapegrad, name) for name in tapegrad.__all__}
    functions |= {name: getattr(tapegrad.viz, name) for name in ("draw", "graph", "page", "render")}
    tape = tapegrad.tape((ours(randn(3)) ** 2).sum())
    functions |= {name: getattr(tape, name) for name in dir(tape) if name not in dir(Sequence)}
    for name, function in functions.items():
        if not callable(function) or (isinstance(function, type) and function is not tapegrad.Tensor):
            continue
        for args in ARGUMENTS:
            yield name, lambda function=function, args=args: function(*args)
            yield name, lambda function=function, args=args: function(odd=Odd())


@pytest.mark.filterwarnings("ignore")
def test_public_functions():
    assert elsewhere(calls_of_public()) == {}


# --- what is shown, and what is kept ---


def test_an_operator_shows_no_frame_of_ours():
    error = failing(lambda: ours(randn(5, 3)) + ours(randn(4)))
    assert [frame.filename for frame in frames(error)] == [__file__] * 2
    assert "randn(4)" in linecache.getline(__file__, frames(error)[-1].lineno)


@pytest.mark.parametrize("times", [1, 30])
def test_a_written_walk_shows_no_frame_of_ours(times):
    def formula(g):
        raise ValueError("on purpose")

    @tapegrad.rule(x=lambda g: formula(g) if fails else g)
    def op(x):
        return x * 1

    x = ours(randn(3))
    for i in range(times):
        fails = i == times - 1
        loss = (op(x) * 2).sum()
        error = failing(loss.backward)
    assert frames(error)[-1].name == "formula"  # the user's own frames stay
    assert all(frame.filename == __file__ for frame in frames(error))


def test_a_function_of_the_users_stays_in_sight():
    def inner(x):
        return x @ torch.ones(7, 7).double()

    error = failing(lambda: tapegrad.gradcheck(lambda x: inner(x).sum(), [ours(randn(2, 2))]))
    assert [frame.name for frame in frames(error)][-2:] == ["<lambda>", "inner"]


def test_torchs_frames_are_left_out_below_ours():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(5, 2))
    with tapegrad.recording():
        error = failing(lambda: model(torch.randn(2, 3)))
    assert frames(error)[-1].filename == __file__
    assert "linear()" in str(error)


def test_a_cause_stays():
    with pytest.raises(tapegrad.FreedTape) as caught:
        tapegrad.viz.draw(freed())
    assert frames(caught.value)[-1].filename == __file__

    @tapegrad.rule(x=lambda g: g[:2])
    def op(x):
        return x * 1

    error = failing(op(ours(randn(3))).sum().backward)
    assert isinstance(error.__cause__, RuntimeError)


def freed():
    loss = ours(randn(3)).exp().sum()
    loss.backward()
    return loss


def test_an_error_can_be_raised_twice():
    error = failing(lambda: ours(randn(5, 3)) + ours(randn(4)))
    message = str(error)
    again = failing(lambda: reraise(error))
    assert again is error
    assert str(again) == message


def reraise(error):
    raise error


def test_all_frames_can_be_shown(monkeypatch):
    monkeypatch.setenv("TAPEGRAD_TRACEBACK", "full")
    error = failing(lambda: ours(randn(5, 3)) + ours(randn(4)))
    assert frames(error)[-1].filename.endswith("apply.py")


SCRIPT = """
import torch, tapegrad
W = tapegrad.tensor(torch.randn(3, 4), requires_grad=True)
h = torch.tanh(torch.randn(5, 3) @ W)
h / h.sum(1)
"""


@pytest.mark.parametrize("fast", ["0", "1"])
def test_a_program(tmp_path, fast):
    """What Python prints of a program that ends so: the line, the op, the variables, and what would fit."""
    (tmp_path / "program.py").write_text(SCRIPT)
    environment = {**os.environ, "TAPEGRAD_FAST": fast}
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stderr.splitlines() if line.strip(" ~^")]
    files = [line for line in lines if line.startswith("  File")]
    assert "program.py" in files[-1]
    assert len(files) == 1 or fast == "0"
    assert lines[-2].strip() == "h / h.sum(1)"
    assert lines[-1].endswith(
        "given input: h (5, 4), other: sum() (5,); h.sum(1, keepdim=True) is of shape (5, 1), which fits"
    )


def test_a_loss_of_torchs_own_python():
    with pytest.raises(ValueError, match=r"^cross_entropy\(\)") as caught:
        F.cross_entropy(ours(randn(5, 3)), torch.tensor([0, 1]))
    assert frames(caught.value)[-1].filename == __file__
