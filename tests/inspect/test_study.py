"""A tape that was walked is there to be looked at: in any order, and again."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad
from tapegrad import viz
from tests.helpers import ours, randn


def studied():
    """A walked tape, and each way to look at it."""
    W, b, x, y = ours(randn(3, 4)), ours(randn(4, seed=1)), randn(5, 3, seed=2), torch.tensor([0, 3, 1, 2, 1])
    h = torch.tanh(x @ W + b)
    loss = F.cross_entropy(h, y)
    tape = tapegrad.tape(loss)
    tape.backward()
    grad = tape.grad(h)
    ways = {
        "print": lambda: str(tape),
        "html": tape._repr_html_,
        "draw": lambda: viz.draw(tape, values="all").source,
        "source": lambda: tape.source(),
        "plain": lambda: tape.source(style="plain"),
        "closed": lambda: tape.source(style="closed"),
        "explain": lambda: tape.source(explain=True),
        "compare": lambda: str(tapegrad.compare(tape)),
        "check": lambda: str(tapegrad.check(tape, {"h": grad})),
        "page": lambda: str(viz.page(tape)),
        "derive": lambda: str(tapegrad.derive(loss, of=h)),
        "grad": lambda: str(tape.grad("W")),
    }
    return (W, b, h, loss), tape, ways


HELD, TAPE, WAYS = studied()
ONCE = {name: way() for name, way in WAYS.items()}


@settings(max_examples=6, deadline=None)
@given(st.permutations(sorted(WAYS)), st.permutations(sorted(WAYS)))
def test_it_may_be_looked_at_in_any_order_and_twice(first, again):
    W, b, _, _ = HELD
    before = [W.grad.clone(), b.grad.clone()]
    for name in (*first, *again):
        assert WAYS[name]() == ONCE[name], name
    assert all(map(torch.equal, before, [W.grad, b.grad]))


def test_all_of_it_says_something():
    assert "h" in ONCE["print"]
    assert "exact: True" in ONCE["compare"]
    assert "False" not in ONCE["check"]
    assert all(ONCE.values())
