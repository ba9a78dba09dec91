"""The body of a function in the making: statements become lines, with what they share on lines of its own."""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tapegrad.source.expression import Expression
from tapegrad.source.fold import MOVES
from tapegrad.source.layout import ATOM, LINE, Text, stretches, text_of, wrapped
from tapegrad.source.quotes import Headings, Quote
from tapegrad.source.variables import Variables

INDENT = 4
_LONG = 56  # characters of an expression that is not written inside another
_WORTH = 24  # characters of an operand that is worth a line, to make another shorter
_SHORT = 16  # characters of a moved tensor that is written out twice
_OWNED = ("method", "attribute", "index", "item")  # what is written behind its first operand


@dataclass
class Statement:
    """``name = expression``.

    Attributes:
        name: of the variable.
        expression: what it is bound to.
        comment: what to say behind it if there is room: as many of its parts as fit.
        quotes: the user's statements that it undoes, to stand above it.
        reasons: sentences that explain it, to stand above it.
    """

    name: str
    expression: Expression
    comment: Sequence[str] = ()
    quotes: Sequence[Quote] = ()
    reasons: Sequence[str] = ()


class Body:
    """Lines that compute some statements.

    Args:
        statements: what to compute; names that are taken get a number.
        hints: what to call expressions that need a line of their own.
        reserved: names that mean something else.

    Attributes:
        inputs: the tensors that the lines need, in the order in which they became known.
        lines: the lines, indented.
    """

    def __init__(
        self, statements: Sequence[Statement], hints: Mapping[Expression, str], reserved: Iterable[str]
    ) -> None:
        self.statements = statements
        self._hints = hints
        roots = [s.expression for s in statements]
        self._uses = _uses(roots)
        for expression in _reached(roots):
            self._simplify(expression)
        self._uses = _uses(roots)
        reached = _reached(roots)
        self._items: dict[Expression, dict[int, Expression]] = {}
        self.inputs = sorted([n for n in reached if n.kind == "input"], key=lambda n: n.order)
        self._variables = Variables([*reserved, *[n.name for n in self.inputs]])
        self._planned: dict[Expression, Statement] = {}
        self._afters: dict[Expression, Statement] = {}  # what is done to a buffer -> the statement that it is for
        for statement in statements:
            if statement.expression.kind != "input" or statement.name != statement.expression.name:
                statement.name = self._variables.fresh(statement.name)
            self._planned.setdefault(statement.expression, statement)
        for expression in sorted(reached, key=lambda n: -n.order):
            if expression.kind == "item":
                self._items.setdefault(expression.args[0], {})[expression.args[1]] = expression
            if expression.kind == "after" and expression in self._planned:  # a buffer keeps its name all along
                self._afters.update(dict.fromkeys(expression.args, self._planned[expression]))
                before = expression.args[0].args[0]
                if before.kind == "after" and self._uses[before] == 1:
                    self._planned[before] = Statement(self._planned[expression].name, before)
        self._texts: dict[Expression, Text] = {}
        self._named: set[Expression] = set()
        self._headings = Headings(INDENT)
        self._current: Statement | None = None
        self.lines: list[str] = []
        for statement in statements:
            self._state(statement)

    def _simplify(self, expression: Expression) -> None:
        """Leave out an ``expand`` that an elementwise operation does anyway."""
        if expression.kind != "infix" or expression.name == "matmul":
            return
        shape = expression.value.shape
        for i in (0, 1):
            one, other = expression.args[i], expression.args[1 - i]  # as they are now: one of two has to stretch
            if not isinstance(one, Expression) or one.name != "expand" or self._uses[one] != 1:
                continue
            whole = isinstance(other, Expression) and other.number is None and other.value.shape == shape
            if whole and stretches(one.args[0].value.shape, shape):
                expression.args = tuple([one.args[0] if arg is one else arg for arg in expression.args])

    def _state(self, statement: Statement) -> None:
        self._current = statement
        expression = statement.expression
        unwritten = sorted(_reached([expression], self._texts), key=lambda n: n.order)
        for part in unwritten:
            if part is not expression:
                self._take_in(part)
        if expression in self._named and self._texts[expression].text == statement.name:
            return  # it was needed earlier
        if expression in self._texts:
            self._line(statement.name, self._texts[expression].text, statement.comment)
        else:
            self._bind(statement.name, expression, statement.comment)

    def _take_in(self, expression: Expression) -> None:
        """Make an expression's text known: its expression, or its name after a line that says what it is."""
        if expression in self._texts:
            return
        if expression.kind in ("buffer", "write", "after"):
            self._bind("", expression)
            return
        text = self._texts[expression] = text_of(expression, self._texts)
        if expression.kind in ("input", "filled") or expression.number is not None:
            return
        moved = expression.view or expression.kind in ("attribute", "item")
        shared = self._uses[expression] > 1 and not (moved and len(text.text) <= _SHORT)
        if shared or (len(text.text) > _LONG and not isinstance(expression.value, tuple)):
            planned = self._planned.get(expression)
            if planned:
                outer, self._current = self._current, planned
                self._bind(planned.name, expression, planned.comment)
                self._current = outer
            else:
                self._bind(self._variables.fresh(self._hints.get(expression) or _hint(expression)), expression)

    def _bind(self, name: str, expression: Expression, comment: Sequence[str] = ()) -> None:
        """Write ``name = expression``; from then on the expression is its name."""
        match expression.kind:
            case "buffer":
                name = self._buffer(expression)
            case "write":
                self._bind_operands(expression, 0)
                after = self._afters.get(expression)
                self._line("", text_of(expression, self._texts).text, after.comment if after else ())
            case "after":
                own = self._texts[expression.args[0]].text
                if name and name != own:
                    self._line(name, own, comment)
                name = name or own
            case _:
                if (
                    isinstance(expression.value, tuple)
                    and 1 < len(expression.value) == len(self._items.get(expression, ())) < 5
                ):
                    items = [self._items[expression][i] for i in range(len(expression.value))]
                    names = [self._name_for(item) for item in items]
                    self._bind_operands(expression, len(", ".join(names)) + 3)
                    self._line(", ".join(names), text_of(expression, self._texts).text)
                    for item, item_name in zip(items, names, strict=True):
                        self._texts[item] = Text(item_name)
                        self._named.add(item)
                else:
                    self._bind_operands(expression, len(f"{name} = "))
                    self._line(name, text_of(expression, self._texts).text, comment)
        self._texts[expression] = Text(name)
        self._named.add(expression)

    def _name_for(self, expression: Expression) -> str:
        planned = self._planned.get(expression)
        return planned.name if planned else self._variables.fresh(self._hints.get(expression) or _hint(expression))

    def _buffer(self, expression: Expression) -> str:
        """The name of a tensor that may be written into, after a line that makes it if need be."""
        base: Expression = expression.args[0]
        apart = base.kind not in ("input", "item") and not base.view and base.name not in MOVES and not base.spread
        ours = self._uses[base] == 1 and apart
        if ours and base in self._named:
            return self._texts[base].text
        after = self._afters.get(expression)
        name = after.name if after else self._variables.fresh(self._hints.get(base) or _hint(base))
        self._line(name, self._texts[base].text if ours else f"{self._texts[base].within(ATOM)}.clone()")
        return name

    def _bind_operands(self, expression: Expression, room: int) -> None:
        """Give operands names until the expression fits on a line."""
        free = [n for n in expression.operands() if n not in self._named and n.kind != "input"]
        free = [n for n in free if n.number is None or n.spread]
        free = sorted(dict.fromkeys(free), key=lambda n: -len(self._texts[n].text))
        long = [n for n in free if len(self._texts[n].text) >= _WORTH]
        if expression.kind in _OWNED and expression.args[0] in free and expression.args[0] not in long:
            long.append(expression.args[0])
        missing = INDENT + room + len(text_of(expression, self._texts).text) - LINE
        for operand in long:
            if missing <= 0:
                return
            before = len(self._texts[operand].text)
            self._bind(self._name_for(operand), operand)
            missing -= before - len(self._texts[operand].text)

    def _line(self, name: str, text: str, comment: Sequence[str] = ()) -> None:
        if self._current is not None:
            self.lines += self._headings.above(self._current.quotes, self._current.reasons)
            self._current.reasons = ()
        lines = wrapped(f"{name} = {text}" if name else text, INDENT)
        for n in range(len(comment), 0, -1):
            behind = f"{lines[-1]}  # {', '.join(comment[:n])}"
            if len(behind) <= LINE:
                lines[-1] = behind
                break
        self.lines += lines


def _reached(roots: Iterable[Expression], without: Any = ()) -> set[Expression]:
    """Expressions that some others are computed from, themselves included."""
    seen: set[Expression] = set()
    stack = list(roots)
    while stack:
        expression = stack.pop()
        if expression not in seen and expression not in without:
            seen.add(expression)
            stack.extend(expression.operands())
    return seen


def _uses(roots: Sequence[Expression]) -> Counter[Expression]:
    """How often each expression is asked for."""
    uses = Counter(operand for expression in _reached(roots) for operand in expression.operands())
    uses.update(roots)
    return uses


def _hint(expression: Expression) -> str:
    """A name that says what made an expression."""
    if expression.number is not None:
        return "zeros" if not expression.number else "filled"
    name = expression.name if isinstance(expression.name, str) else expression.name.__name__
    name = {"getitem": "entries", "T": "transposed", "mT": "transposed"}.get(name, name).strip("_")
    if expression.kind == "item" or not name.isidentifier():
        return "part"
    return f"{name}_" if hasattr(builtins, name) else name
