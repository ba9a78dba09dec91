"""Numbers: every line, and every reason, is evaluated in float64 on the tape's own values and on random ones.

A line that does not give the gradient that the engine's own walk gives is never printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.algebra.definitions import Definitions, find, parts_of_gradient
from tapegrad.algebra.running import Run, other_value
from tapegrad.algebra.tree import Node, Writer
from tapegrad.inspect.grad_mode import in_grad_mode

RELATIVE = 1e-9  # of the gradient's largest entry
ABSOLUTE = 1e-13  # of the largest entry of all gradients on the way: what is 0 on paper is not quite 0 in float64


class Trial:
    """Values to try lines on: those of a run, with the gradients that the engine's walk gives.

    Args:
        definitions: the tape.
        run: its records, run on some values.
        start: the node whose gradient is given.
        g: that gradient.
        path: the nodes whose gradients are on the way.
    """

    def __init__(self, definitions: Definitions, run: Run, start: Any, g: torch.Tensor, path: Sequence[Any]) -> None:
        self.gradients = run.gradients(start, g, path)
        self.scope: dict[str, Any] = {"torch": torch, "F": SimpleNamespace(**{**vars(F), "one_hot": onehot})}
        for name, source in definitions.sources.items():
            if type(source) is tuple and source[0] == "part":
                record, i = source[1:]
                if record in self.gradients:
                    parts = parts_of_gradient(record, self.gradients[record], run.saved[record])
                    self.scope[name] = parts[i][1]
            elif type(source) is not tuple or source[0] != "gradient":
                self.scope[name] = find(run, source)
        for node, gradient in self.gradients.items():
            self.scope[definitions.gradient_name(node)] = gradient
        self.scope[definitions.gradient_name(start)] = g
        self.largest = max([abs(finite(g)) for g in self.gradients.values()], default=0.0)

    def value(self, tree: Node) -> Any:
        """What a formula gives."""
        return in_grad_mode(False, lambda: eval(Writer(code=True).text(tree), self.scope))

    def holds(self, tree: Node, node: Any, loose: bool = False) -> bool:
        """Whether a formula is the gradient of a node, wherever the engine's is finite.

        With ``loose``, where the formula's value is finite, too, if a gradient on the way is not: 0 * NaN is NaN, while
        the engine's ``scatter`` of one NaN leaves the other entries alone.
        """
        truth = self.gradients.get(node)
        if truth is None:
            return True
        value = torch.as_tensor(self.value(tree), dtype=torch.float64, device=truth.device)
        if loose and not all(bool(g.isfinite().all()) for g in self.gradients.values()):
            value, truth = torch.broadcast_tensors(value, truth)
            truth = truth.where(value.isfinite(), torch.nan)
        return self.near(value, truth, ABSOLUTE * self.largest)

    def same(self, a: Node, b: Node) -> bool:
        """Whether two formulas are equal, wherever the first is finite."""
        x, y = self.value(a), self.value(b)
        return self.near(y, torch.as_tensor(x, dtype=torch.float64), 1e-12)

    def near(self, value: Any, truth: torch.Tensor, slack: float) -> bool:
        """Whether a value broadcasts to another and equals it."""
        value = torch.as_tensor(value, dtype=torch.float64, device=truth.device)
        try:
            value, truth = torch.broadcast_tensors(value, truth)
        except RuntimeError:
            return False
        known = truth.isfinite()
        return bool(((value - truth).abs()[known] <= RELATIVE * finite(truth) + slack).all())


def onehot(indices: torch.Tensor, classes: int) -> torch.Tensor:
    """``F.one_hot`` in float64."""
    return F.one_hot(indices.long(), classes).double()


def finite(value: torch.Tensor) -> float:
    """The largest entry, of those that are finite."""
    known = value[value.isfinite()]
    return float(known.abs().max()) if known.numel() else 0.0


class Trials:
    """Some trials at once.

    Args:
        definitions: the tape.
        start: the node whose gradient is given.
        seeded: whether that gradient is 1; it is random otherwise.
        path: the nodes whose gradients are on the way.
    """

    def __init__(self, definitions: Definitions, start: Any, seeded: bool, path: Sequence[Any]) -> None:
        generator = torch.Generator().manual_seed(1)
        runs = [definitions.run, Run(definitions.tape, definitions.constants, other_value(generator))]
        self.trials = []
        for run in runs:
            like = run.value(start)
            g = (
                torch.ones_like(like)
                if seeded
                else torch.randn(like.shape, dtype=torch.float64, generator=generator).to(like.device)
            )
            self.trials.append(Trial(definitions, run, start, g, path))

    def holds(self, trees: Iterable[Node], node: Any, loose: bool = False) -> bool:
        """Whether formulas are the gradient of a node in every trial."""
        return all(_tried(trial.holds, tree, node, loose) for tree in trees for trial in self.trials)

    def known(self, node: Any) -> bool:
        """Whether there are numbers to hold formulas for a node's gradient to."""
        return any(bool(trial.gradients[node].isfinite().any()) for trial in self.trials if node in trial.gradients)

    def same(self, a: Node, b: Node) -> bool:
        """Whether two formulas are equal in every trial."""
        return all(_tried(trial.same, a, b) for trial in self.trials)


def _tried(check: Any, *args: Any) -> bool:
    try:
        return bool(check(*args))
    except (RuntimeError, TypeError, ZeroDivisionError, AttributeError, OverflowError):
        return False  # what cannot be computed is not printed either
