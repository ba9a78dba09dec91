"""A whole backward pass in closed forms: which gradients to compute, from which, and each in its cheapest form.

Every gradient that is asked for, a leaf's, is computed from one that dominates it, and so on up to the output: a tree.
It begins with the nearest named tensors as its nodes. A node that only one other is computed from can be passed over,
if the closed form from further up costs less than the two together. In that way the eight lines of a cross-entropy
become one, while a gradient that many need stays.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

from tapegrad.algebra import terms
from tapegrad.algebra.checking import Trials
from tapegrad.algebra.chunk import Chunk, dominators
from tapegrad.algebra.code import Code
from tapegrad.algebra.definitions import Definitions
from tapegrad.algebra.derive import ClosedForm, closed_form
from tapegrad.algebra.folding import Rule, solved
from tapegrad.algebra.reading import free_indices
from tapegrad.algebra.terms import Polynomial
from tapegrad.algebra.tree import Node
from tapegrad.engine.tape import Record


class Closed:
    """A backward pass, every part of it in its cheapest form.

    Args:
        definitions: the tape, which leads to one output.

    Attributes:
        code: the statements.
    """

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        (self._output,) = definitions.tape.outputs
        self._seeded = self._output.shape.numel() == 1
        self._chunks: dict[tuple[Any, Any], Chunk] = {}
        self._found: dict[tuple[Any, Any], ClosedForm | None] = {}
        self._starts = self._tree()
        self._numbers: set[Any] = set()  # gradients that are numbers, and need no other
        self._shorten()
        self._trials = Trials(definitions, self._output, self._seeded, definitions.nodes)
        self._there: list[Rule] = []  # what leaves' gradients are, in case that they are part of others
        lines: dict[Any, Node] = {}
        for target, start in self._ordered():
            lines.update(self._written(start, target, lines))
        self.code = Code(definitions, self._output, lines, list(lines))

    # --- the tree ---

    def _above(self, target: Any) -> list[Any]:
        """What a gradient may be computed from, the nearest first."""
        found = dominators(self._definitions, [self._output], target)
        own = self._definitions.own
        return [n for n in found if n is self._output or self._definitions.names[n] in own]

    def _tree(self) -> dict[Any, Any]:
        """Each gradient that is needed, and the nearest that it can be computed from."""
        starts: dict[Any, Any] = {}
        needed = [leaf for leaf in self._definitions.tape.leaves if leaf is not self._output]
        for target in needed:
            if target not in starts and (above := self._above(target)):
                starts[target] = above[0]
                if above[0] is not self._output:
                    needed.append(above[0])
        return starts

    def _shorten(self) -> None:
        """Pass over the gradients that one other alone is computed from, where that saves something."""
        for target in list(self._starts):
            if target in self._starts:
                self._shorten_to(target)

    def _shorten_to(self, target: Any) -> None:
        start, spared = self._starts[target], 0
        best, passed, behind = self._cost(start, target), 0, [start]
        alone = True  # whether nobody else needs what is passed over
        while best and start is not self._output and alone:
            above = self._starts[start]
            alone = self._users(start) == 1
            step, whole = self._cost(above, start), self._cost(above, target)
            if step is None or whole is None:
                break
            spared += step if alone else 0
            if whole - spared < best:
                best, passed = whole - spared, len(behind)
            behind.append(above)
            start = above
        self._starts[target] = behind[passed]
        self._numbers |= set() if best else {target}
        for node in behind[:passed]:
            if not self._users(node):
                del self._starts[node]

    def _users(self, start: Any) -> int:
        return sum(s is start and target not in self._numbers for target, s in self._starts.items())

    def _chunk(self, start: Any, target: Any) -> Chunk:
        if (start, target) not in self._chunks:
            seeded = start is self._output and self._seeded
            self._chunks[start, target] = Chunk(self._definitions, start, target, seeded)
        return self._chunks[start, target]

    def _closed(self, start: Any, target: Any) -> ClosedForm | None:
        if (start, target) not in self._found:
            self._found[start, target] = closed_form(self._chunk(start, target))
        return self._found[start, target]

    def _cost(self, start: Any, target: Any) -> int | None:
        """What the closed form of one gradient from another costs, if there is one."""
        found = self._closed(start, target)
        return None if found is None else found.cost

    def _ordered(self) -> Iterator[tuple[Any, Any]]:
        """The pairs of target and start, so that a start is there before; leaves first, for others may use them."""
        position = {n: i for i, n in enumerate(reversed(self._definitions.nodes))}
        leaves = set(self._definitions.tape.leaves)
        pairs = self._starts.items()
        return iter(sorted(pairs, key=lambda p: (position[p[1]], p[0] not in leaves, position[p[0]])))

    # --- the statements ---

    def _written(self, start: Any, target: Any, there: Container[Any]) -> dict[Any, Node]:
        """A gradient in closed form; or, where there is none that holds, line by line, what is not yet there."""
        chunk, found = self._chunk(start, target), self._closed(start, target)
        if found is not None:
            for form in (self._with_those_there(chunk, found.form), found.form):
                tree = chunk.layout.tree(form, len(target.shape))
                if self._trials.holds([tree], target):
                    self._remember(target, form)
                    return {target: tree}
        missing = [(node, line) for node, line in chunk.lines.items() if node not in there]
        return {node: chunk.layout.tree(line, len(node.shape)) for node, line in missing}

    def _remember(self, target: Any, form: Polynomial) -> None:
        """A leaf's gradient costs nothing where it is a part of another: ``dhpreact.sum(0)`` is ``dbnbias``."""
        if type(target) is not Record:
            name = self._definitions.gradient_name(target)
            self._definitions.shapes.setdefault(name, target.shape)
            self._there += solved(name, terms.entry(name, free_indices(target.shape)), form)

    def _with_those_there(self, chunk: Chunk, form: Polynomial) -> Polynomial:
        cost = chunk.layout.cost
        for rule in self._there:
            if rule.pattern[0] == "sum":
                shorter = rule.apply(form)
                form = shorter if cost(shorter) < cost(form) else form
        return form
