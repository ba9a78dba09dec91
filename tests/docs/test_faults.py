"""Each misuse of the tape, here and on torch. ``docs/faults.md`` is this table, written out.

``python -m tests.docs.test_faults --write`` writes the page; the tests check it and every line of it.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch

import tapegrad
from tests.helpers import ROOT, raw
from tests.provers.faults import FAULTS, Fault, Gives, Raises

PAGE = ROOT / "docs" / "faults.md"
EACH = [pytest.param(fault, id=fault.code) for faults in FAULTS.values() for fault in faults]


def names(library: str) -> dict[str, Any]:
    """The variables that a fault's code knows."""
    data = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3.0, 4.0, 6.0]), torch.tensor([1.0, 2.0, 3.0])]
    wrap = tapegrad.tensor if library == "tapegrad" else lambda t, requires_grad=False: t.requires_grad_(requires_grad)
    x, w, c = [wrap(t, requires_grad=i < 2) for i, t in enumerate(data)]
    return {
        "x": x, "w": w, "c": c, "p": torch.ones(3, requires_grad=True), "tensor": wrap, "torch": torch, "np": np,
        "grad": tapegrad.grad if library == "tapegrad" else torch.autograd.grad,
        "anomaly": tapegrad.detect_anomaly if library == "tapegrad" else torch.autograd.detect_anomaly,
    }  # fmt: skip


def outcome(fault: Fault, library: str) -> tuple[dict[str, Any], Exception | None]:
    """Run a fault's code: its variables, and the error that it ends with."""
    scope = names(library)
    try:
        exec(compile(fault.code, "<fault>", "exec"), scope)
    except Exception as error:
        return scope, error
    return scope, None


def check(fault: Fault, library: str, expected: Raises | Gives) -> None:
    scope, error = outcome(fault, library)
    if isinstance(expected, Gives):
        assert error is None, error
        assert bool(raw(eval(expected.check, scope))), {k: scope[k] for k in scope if k in expected.check}
    else:
        assert isinstance(error, expected.kind), error
        assert expected.text in str(error)


@pytest.mark.parametrize("fault", EACH)
def test_what_happens_here(fault):
    check(fault, "tapegrad", fault.here)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fault", [case for case in EACH if case.values[0].torch is not None])
def test_what_torch_does(fault):
    check(fault, "torch", fault.torch)


def page() -> str:
    """The table as Markdown; our own messages are those that were raised."""
    text = [
        "# What happens when the tape is misused\n",
        "Every line is a test: `tests/docs/test_faults.py`, which also writes this page. `x` and `w` require grad, `c`",
        "does not, `p` is a parameter of torch's. Errors are kinds of what torch raises: `FreedTape`, `StaleTensor`,",
        "`InPlaceError` and `Anomaly` are `RuntimeError`s, `ForeignTensor` is a `TypeError`, and `MissingRule` a",
        "`NotImplementedError`.",
    ]
    for title, faults in FAULTS.items():
        text += [f"\n## {title}\n", "| code | tapegrad | torch |", "|---|---|---|"]
        for fault in faults:
            code = "<br>".join(f"`{line}`" for line in fault.code.split("\n"))
            text.append(f"| {code} | {told(fault, fault.here, 'tapegrad')} | {told(fault, fault.torch, 'torch')} |")
    return "\n".join(text) + "\n"


def told(fault: Fault, expected: Raises | Gives | None, library: str) -> str:
    """A cell of the table."""
    if expected is None:
        return ""
    if isinstance(expected, Gives):
        return expected.words
    if library == "torch":  # in its own words, which change with its version
        return f"`{expected.kind.__name__}`: {expected.text}"
    error = outcome(fault, library)[1]
    message = (
        str(error).split("\nthe op ran at")[0].split(" The nearest it has")[0].replace("|", "\\|").replace("\n", " ")
    )
    return f"`{type(error).__name__}`: {message}"


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == page(), "run python -m tests.docs.test_faults --write"


if __name__ == "__main__" and "--write" in sys.argv:
    PAGE.write_text(page())
