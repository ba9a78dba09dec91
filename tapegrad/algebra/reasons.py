"""Why one line equals the next, in words, and whether that is so."""

from __future__ import annotations

from typing import Any

from tapegrad.algebra import terms
from tapegrad.algebra.checking import Trials
from tapegrad.algebra.chunk import Chunk
from tapegrad.algebra.folding import Rule
from tapegrad.algebra.tree import Writer
from tapegrad.engine.tape import Record

MULTIPLIED = "multiplied out"


class Reasons:
    """Says why a rule holds, and tries whether it does.

    Args:
        chunk: what the rules are about.
        trials: the numbers to try them on.
    """

    def __init__(self, chunk: Chunk, trials: Trials) -> None:
        self._chunk = chunk
        self._trials = trials
        self._held: dict[Rule, bool] = {}
        self._nodes = {name: node for node, name in chunk.definitions.names.items()}

    def forward(self, node: Any) -> str:
        """The forward lines that a gradient comes back through: ``logprobs = probs.log()``."""
        definitions = self._chunk.definitions
        users = [n for n in self._chunk.path if type(n) is Record and node in definitions.operands(n)]
        named = [
            n
            for n in users
            if definitions.names[n] in definitions.own or n in self._chunk.lines or n is self._chunk.start
        ]
        return ", ".join([f"{definitions.names[n]} = {definitions.spelled(n)}" for n in named])

    def text(self, rule: Rule) -> str:
        """``since probs = counts * counts_sum_inv``, ``since each row of onehot(Yb) sums to 1``."""
        if rule.fact:
            return f"since {self._sum(rule)}"
        if rule.name in self._nodes:
            if rule.name not in self._chunk.definitions.own:
                return MULTIPLIED
            return f"since {rule.name} = {self._chunk.definitions.spelled(self._nodes[rule.name])}"
        if rule.name in self._chunk.definitions.spelled_out:
            return f"since {rule.name} = {Writer().text(self._chunk.layout.tree(dict(rule.replacement)))}"
        return f"since {rule.name} has a single 1 in each row"

    def _sum(self, rule: Rule) -> str:
        _, bound, body = rule.pattern
        indices = body[0][0][2]
        axes = [k for k, i in enumerate(indices) if i in bound]
        value = dict(rule.replacement).get(terms.ONE, 0)
        if len(indices) == 2 and len(axes) == 1:
            return f"each {('column', 'row')[axes[0]]} of {rule.name} sums to {value}"
        over = f" over dim {axes[0]}" if len(axes) < len(indices) else ""
        return f"{rule.name} sums to {value}{over}"

    def hold(self, rule: Rule) -> bool:
        """Whether the two sides of a rule have the same values."""
        if rule not in self._held:
            tree = self._chunk.layout.tree
            left, right = terms.single(rule.pattern, rule.exponent), dict(rule.replacement)
            self._held[rule] = self._trials.same(tree(left), tree(right))
        return self._held[rule]
