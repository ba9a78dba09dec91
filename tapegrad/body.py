"""The body of a function in the making: statements become lines, with what they share on lines of its own."""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tapegrad.trace import Node
from tapegrad.writing import ATOM, LINE, Text, expression, stretches, wrapped

INDENT = 4
_LONG = 56  # characters of an expression that is not written inside another
_WORTH = 24  # characters of an operand that is worth a line, to make another shorter
_SHORT = 16  # characters of a moved tensor that is written out twice
_OWNED = ("method", "attribute", "index", "item")  # what is written behind its first operand


@dataclass
class Statement:
    """``name = node``, with a comment behind it if there is room: as many of its parts as fit."""

    name: str
    node: Node
    comment: Sequence[str] = ()


class Body:
    """Lines that compute some statements.

    Args:
        statements: what to compute; names that are taken get a number.
        hints: what to call nodes that need a line of their own.
        reserved: names that mean something else.

    Attributes:
        inputs: the tensors that the lines need, in the order in which they were made known.
        lines: the lines, indented.
    """

    def __init__(self, statements: Sequence[Statement], hints: Mapping[Node, str], reserved: Iterable[str]) -> None:
        self.statements = statements
        self._hints = hints
        roots = [s.node for s in statements]
        self._uses = _uses(roots)
        for node in _reached(roots):
            self._simplify(node)
        self._uses = _uses(roots)
        reached = _reached(roots)
        self._items: dict[Node, dict[int, Node]] = {}
        self._taken = {*reserved}
        self.inputs = sorted([n for n in reached if n.kind == "input"], key=lambda n: n.order)
        for node in self.inputs:
            node.name = node.name if node.name not in self._taken else self.fresh(node.name)
            self._taken.add(node.name)
        self._planned: dict[Node, Statement] = {}
        for statement in statements:
            if statement.node.kind != "input" or statement.name != statement.node.name:
                statement.name = self.fresh(statement.name)
            self._planned.setdefault(statement.node, statement)
        for node in sorted(reached, key=lambda n: -n.order):
            if node.kind == "item":
                self._items.setdefault(node.args[0], {})[node.args[1]] = node
            if node.kind == "after" and node in self._planned:  # a buffer bears one name as it is written into
                before = node.args[0].args[0]
                if before.kind == "after" and self._uses[before] == 1:
                    self._planned[before] = Statement(self._planned[node].name, before)
        self._texts: dict[Node, Text] = {}
        self._named: set[Node] = set()
        self.lines: list[str] = []
        for statement in statements:
            self._state(statement)

    def fresh(self, name: str) -> str:
        """A variable name like this one that nothing else has."""
        candidate, i = name, 2
        while candidate in self._taken:
            candidate, i = f"{name}_{i}", i + 1
        self._taken.add(candidate)
        return candidate

    def _simplify(self, node: Node) -> None:
        """Leave out an ``expand`` that an elementwise operation does anyway."""
        if node.kind != "infix" or node.name == "matmul":
            return
        for one, other in (node.args, node.args[::-1]):
            if isinstance(one, Node) and isinstance(other, Node) and one.name == "expand" and self._uses[one] == 1:
                inner: Node = one.args[0]
                if other.value.shape == node.value.shape and stretches(inner.value.shape, node.value.shape):
                    node.args = tuple([inner if arg is one else arg for arg in node.args])

    def _state(self, statement: Statement) -> None:
        node = statement.node
        unwritten = sorted(_reached([node], self._texts), key=lambda n: n.order)
        for part in unwritten:
            if part is not node:
                self._take_in(part)
        if node in self._named and self._texts[node].text == statement.name:
            return  # it was needed earlier
        if node in self._texts:
            self._line(statement.name, self._texts[node].text, statement.comment)
        else:
            self._bind(statement.name, node, statement.comment)

    def _take_in(self, node: Node) -> None:
        """Make a node's text known: its expression, or its name after a line that says what it is."""
        if node in self._texts:
            return
        if node.kind in ("buffer", "write", "after"):
            self._bind("", node)
            return
        text = self._texts[node] = expression(node, self._texts)
        if node.kind in ("input", "filled") or node.number is not None:
            return
        moved = node.view or node.kind in ("attribute", "item")
        shared = self._uses[node] > 1 and not (moved and len(text.text) <= _SHORT)
        if shared or (len(text.text) > _LONG and not isinstance(node.value, tuple)):
            planned = self._planned.get(node)
            if planned:
                self._bind(planned.name, node, planned.comment)
            else:
                self._bind(self.fresh(self._hints.get(node) or _hint(node)), node)

    def _bind(self, name: str, node: Node, comment: Sequence[str] = ()) -> None:
        """Write ``name = node``; from then on the node is its name."""
        match node.kind:
            case "buffer":
                name = self._buffer(node)
            case "write":
                self._bind_operands(node, 0)
                self._line("", expression(node, self._texts).text, self._comment_of(node))
            case "after":
                own = self._texts[node.args[0]].text
                if name and name != own:
                    self._line(name, own, comment)
                name = name or own
            case _:
                if isinstance(node.value, tuple) and 1 < len(node.value) == len(self._items.get(node, ())) < 5:
                    items = [self._items[node][i] for i in range(len(node.value))]
                    names = [self._name_for(item) for item in items]
                    self._bind_operands(node, len(", ".join(names)) + 3)
                    self._line(", ".join(names), expression(node, self._texts).text)
                    for item, item_name in zip(items, names, strict=True):
                        self._texts[item] = Text(item_name)
                        self._named.add(item)
                else:
                    self._bind_operands(node, len(f"{name} = "))
                    self._line(name, expression(node, self._texts).text, comment)
        self._texts[node] = Text(name)
        self._named.add(node)

    def _name_for(self, node: Node) -> str:
        return self._planned[node].name if node in self._planned else self.fresh(self._hints.get(node) or _hint(node))

    def _comment_of(self, write: Node) -> Sequence[str]:
        after = next((n for n in self._planned if n.kind == "after" and n.args[1] is write), None)
        return self._planned[after].comment if after else ()

    def _buffer(self, node: Node) -> str:
        """The name of a tensor that may be written into, after a line that makes it if need be."""
        base: Node = node.args[0]
        ours = self._uses[base] == 1 and not base.view and base.kind not in ("input", "item")
        if ours and base in self._named:
            return self._texts[base].text
        after = next((n for n in self._planned if n.kind == "after" and n.args[0] is node), None)
        name = self._planned[after].name if after else self.fresh(self._hints.get(base) or _hint(base))
        self._line(name, self._texts[base].text if ours else f"{self._texts[base].within(ATOM)}.clone()")
        return name

    def _bind_operands(self, node: Node, room: int) -> None:
        """Give operands names until the node fits on a line."""
        while INDENT + room + len(expression(node, self._texts).text) > LINE:
            candidates = [n for n in node.operands() if n not in self._named and n.kind != "input" and n.number is None]
            longest = max(candidates, key=lambda n: len(self._texts[n].text), default=None)
            if longest is not None and len(self._texts[longest].text) < _WORTH:
                longest = node.args[0] if node.args[0] in candidates and node.kind in _OWNED else None
            if longest is None:
                return
            self._bind(self._name_for(longest), longest)

    def _line(self, name: str, text: str, comment: Sequence[str] = ()) -> None:
        lines = wrapped(f"{name} = {text}" if name else text, INDENT)
        for n in range(len(comment), 0, -1):
            behind = f"{lines[-1]}  # {', '.join(comment[:n])}"
            if len(behind) <= LINE:
                lines[-1] = behind
                break
        self.lines += lines


def _reached(roots: Iterable[Node], without: Any = ()) -> set[Node]:
    """Nodes that some others are computed from, themselves included."""
    seen: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node not in seen and node not in without:
            seen.add(node)
            stack.extend(node.operands())
    return seen


def _uses(roots: Sequence[Node]) -> Counter[Node]:
    """How often each node is asked for."""
    uses = Counter(operand for node in _reached(roots) for operand in node.operands())
    uses.update(roots)
    return uses


def _hint(node: Node) -> str:
    """A name that says what made a node."""
    if node.number is not None:
        return "zeros" if not node.number else "filled"
    name = node.name if isinstance(node.name, str) else node.name.__name__
    name = {"getitem": "entries", "T": "transposed", "mT": "transposed"}.get(name, name).strip("_")
    if node.kind == "item" or not name.isidentifier():
        return "part"
    return f"{name}_" if hasattr(builtins, name) else name
