"""Anomaly mode says where a NaN was made: the op, the shape, the values and the user's line."""

from __future__ import annotations

import inspect
import sys
import threading
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad import Anomaly, detect_anomaly
from tests.helpers import ours, randn


def here() -> int:
    """The line that called this."""
    return inspect.stack()[1].lineno


def test_an_output_that_is_nan():
    x = ours(torch.tensor([[1.0, -1.0, 4.0], [0.5, -2.0, 1.0]]))
    with detect_anomaly(), pytest.raises(Anomaly) as caught:
        torch.log(x)  # the culprit
    line = here() - 1
    assert str(caught.value) == (
        "log(): the output, of shape (2, 3), has 2 of 6 elements that are NaN or infinite, the first at [0, 1]: "
        f"nan, nan\nthe op ran at {__file__}:{line}: torch.log(x)  # the culprit"
    )


def test_a_gradient_that_is_infinite():
    """The slope of a root at 0; the forward pass is fine."""
    x = ours(torch.tensor([4.0, 0.0, 1.0]))
    with detect_anomaly():
        y = x.sqrt()
        line = here() - 1
        with pytest.raises(Anomaly) as caught:
            y.sum().backward()
    assert str(caught.value) == (
        "sqrt(): the gradient of input, of shape (3,), has 1 of 3 elements that are NaN or infinite, the first at [1]: "
        f"inf\nthe op ran at {__file__}:{line}: y = x.sqrt()"
    )
    assert x.grad is None


@pytest.mark.parametrize(("a", "b", "name"), [(0.0, 1e-30, "input"), (1e20, 1e-15, "other")])
def test_it_names_the_argument(a, b, name):
    """Too much for float32, on one side or on the other."""
    a, b = ours(torch.tensor(a), name == "input"), ours(torch.tensor(b), name == "other")
    with detect_anomaly():
        y = a / b
        with pytest.raises(Anomaly, match=rf"div\(\): the gradient of {name}, of shape \(\)"):
            y.backward(torch.tensor(1e10))


def test_it_names_the_argument_of_an_op_that_takes_a_tensor_twice():
    x = ours(torch.tensor(1.0))

    @tapegrad.rule(a=lambda g: g, b=lambda g: g / 0)
    def twice(a, b):
        return a + b

    with detect_anomaly(), pytest.raises(Anomaly, match=r"twice\(\): the gradient of b,"):
        twice(x, x).backward()


def test_the_first_op_is_reported_and_none_that_it_poisons():
    x = ours(torch.tensor([-1.0]))
    with pytest.raises(Anomaly, match=r"^log\(\)"), detect_anomaly():
        (x.log() * 2 + 1).sum()


def test_a_gradient_of_a_sequence():
    x = ours(torch.tensor([0.0]))
    with detect_anomaly(), pytest.raises(Anomaly, match=r"rsqrt|sqrt"):
        torch.cat([x.sqrt(), x]).sum().backward()


def test_the_line_is_the_users_not_torchs_nor_ours():
    x = ours(torch.full((2, 3), torch.nan))
    with pytest.raises(Anomaly) as caught, detect_anomaly():
        F.cross_entropy(x, torch.tensor([0, 1]))
    assert f"{__file__}:" in str(caught.value)


def test_a_folder_beside_ours_with_a_longer_name_is_the_users(tmp_path, monkeypatch):
    """``tapegrad_demo/`` begins as ``tapegrad/`` does."""
    package = Path(tapegrad.__file__).parent
    script = Path(str(package) + "_demo") / "script.py"
    x = ours(torch.tensor(-1.0))
    with pytest.raises(Anomaly) as caught, detect_anomaly():
        exec(compile("x.log()", str(script), "exec"), {"x": x})
    assert f"the op ran at {script}:1:" in str(caught.value)


def test_infinities_may_be_allowed():
    x = ours(randn(2, 3))
    mask = torch.tensor([[False, True, False]])
    with detect_anomaly(infinite=False):
        y = x.masked_fill(mask, -torch.inf).softmax(-1)
        y.sum().backward()
        with pytest.raises(Anomaly, match=r"that are NaN, the first"):
            (x * torch.nan).sum()


def test_an_op_that_ran_outside_is_still_checked_backward():
    x = ours(torch.tensor([0.0]))
    y = x.sqrt().sum()
    with detect_anomaly(), pytest.raises(Anomaly, match="a line outside detect_anomaly"):
        y.backward()


def test_it_is_a_decorator_and_nests():
    @detect_anomaly()
    def step(x):
        return x.log()

    x = ours(torch.tensor(-1.0))
    with pytest.raises(Anomaly):
        step(x)
    with detect_anomaly():
        with detect_anomaly(infinite=False):
            (x * torch.inf).detach()
        with pytest.raises(Anomaly):
            x * torch.inf
    x.log()


def test_what_is_fine_passes():
    x = ours(randn(3))
    with detect_anomaly():
        (x.exp() * x).sum().backward()
    assert torch.equal(x.grad, x.data.exp() * x.data + x.data.exp())


def test_integers_of_a_saved_choice_do_not_matter():
    x = ours(randn(3, 4))
    with detect_anomaly():
        x.max(1).values.sum().backward()
    assert x.grad.sum() == 3


def test_second_order_gradients_are_checked():
    x = ours(torch.tensor([0.0], dtype=torch.float64))
    with detect_anomaly():
        (g,) = tapegrad.grad((x**1.5).sum(), x, create_graph=True)
        with pytest.raises(Anomaly, match="gradient"):
            g.sum().backward()


def test_off_it_looks_at_nothing(monkeypatch):
    """Nothing of it runs: no check, and no look at the stack."""

    def forbidden(*args):
        raise AssertionError("anomaly mode is off")

    for name in ("made", "passed", "_check"):
        monkeypatch.setattr(detect_anomaly, name, forbidden)
    monkeypatch.setattr(sys, "_getframe", forbidden)
    x = ours(torch.tensor([-1.0, 0.0]))
    y = x.log() + x.abs().sqrt()
    y.sum().backward()
    assert x.grad.isnan().any() or x.grad.isinf().any()
    assert not hasattr(y.record, "where")


def test_walks_in_other_threads_go_on_while_it_is_switched_on_and_off():
    """A walk keeps the detector that it found at its start, and an op asks for the one there is."""
    errors, walks, done = [], [0], threading.Event()
    before = sys.getswitchinterval()

    def work():
        while not done.is_set():
            x = ours(torch.ones(3))
            try:
                (x * 2).tanh().sum().backward()
                walks[0] += 1
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for _ in range(3000):
            with detect_anomaly():
                pass
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)
    assert not errors
    assert walks[0] > 0
