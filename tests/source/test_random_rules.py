"""What a trace makes of views and of changes in place, on random bodies of rules, and on faults that are planted."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tapegrad.source import trace
from tapegrad.source.body import Body
from tapegrad.source.trace import Trace
from tests.source.random_rules import disagreement, draw, run, shortest

pytestmark = pytest.mark.filterwarnings("ignore")

BATCH = 20


@pytest.mark.parametrize("first", range(0, 8 * BATCH, BATCH))
def test_random_rules(first):
    for seed in range(first, first + BATCH):
        lines = draw(Random(seed), Random(seed).randint(2, 9))
        for exact in (False, True):
            assert not disagreement(lines, exact), "\n".join([f"body {seed}", *lines, disagreement(lines, exact)])


FOUND = {
    "a copy that has the same expression": ["t = x + 0", "t[0] = 0.5"],
    "a view of such a copy": ["t = x + 0", "u = t.view(-1)", "u[1:3] = 7", "t.mul_(2)"],
    "two copies": ["t = x * 1", "u = x * 1", "t[0] += 1", "u.view(-1)[:2] = 3"],
    "equal expressions": ["t = x * 2", "u = x * 2", "v = t[0]", "w = u[0]", "w.add_(1)"],
    "a view back and forth": ["t = x.T.reshape(-1)", "u = t.view(4, 3)", "u[0] = 5", "v = u.view(-1)", "v += 1"],
    "a part of several": ["t = x * 2", "u = t.chunk(2)[0]", "u.add_(1)", "v = t.unbind(0)[1]", "v *= 2"],
    "a call that is added to": ["t = x * 2", "t.T.add_(1)", "t.unsqueeze(0).add_(1)"],
    "a read between two writes": ["t = x.clone()", "t[0] = 1", "u = t * 2", "v = t[1]", "w = v + 0", "t[1] = 2"],
    "an input that is handed back": ["t = torch.broadcast_tensors(y, y)[0]", "u = y[1:] + 0", "u[0].mul_(2)"],
    "numbers by columns": ["t = torch.zeros_like(z)", "t.copy_(y)", "u = t.sum()"],
    "a broadcast that is viewed": ["t = y + torch.zeros(3, 4)", "u = t.view(-1)"],
    "numbers that are written into": ["t = torch.zeros_like(x)", "u = t.view(-1)", "u[3] = 1", "v = t + 0", "v[0] = 2"],
}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("lines", FOUND.values(), ids=FOUND)
def test_found(lines, exact):
    assert run(lines) is not None
    assert not disagreement(lines, exact)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["t = x * 2", "t.unsqueeze_(0)"], r"unsqueeze_\(\) cannot be written; use unsqueeze\(\)"),
        (
            ["t = y * 2", "u = torch.atleast_2d(t, y)[0]", "t[0] = 1", "v = u + 1"],
            "a view that atleast_2d made",
        ),
        (["t = y * 2", "u = torch.atleast_2d(t, y)[0]", "u[0] = 1"], "on a view that atleast_2d made"),
        (["t = z * 2", "u = t.as_strided((2, 2), (1, 2))"], "as_strided"),
    ],
)
def test_what_cannot_be_followed_is_refused(lines, message):
    watching = Trace()
    with pytest.raises(NotImplementedError, match=message):
        run(lines, watching)


def _moved(self: Any, expression: Any, whole: Any, now: Any) -> Any:
    """Views stay what they were when they were made."""
    return now if expression is whole else expression


PLANTED = {
    "storages told apart by tensors": (trace, "_storage", id),
    "views that do not see what is written later": (Trace, "_moved", _moved),
    "buffers that are not copied": (Body, "_uses", property(lambda self: _Once(), lambda self, uses: None)),
}


class _Once(dict[Any, int]):
    """Everything is used once."""

    def __missing__(self, key: Any) -> int:
        return 1


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault, monkeypatch):
    """By one of the first 400 bodies, and in few lines."""
    owner, name, planted = PLANTED[fault]
    monkeypatch.setattr(owner, name, planted, raising=False)
    bodies = ((draw(Random(seed), Random(seed).randint(2, 9)), exact) for seed in range(400) for exact in (False, True))
    lines, exact = next((lines, exact) for lines, exact in bodies if disagreement(lines, exact))
    assert len(shortest(lines, exact)) <= 5
