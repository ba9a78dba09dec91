"""The user's forward lines, as comments above the backward lines that undo them."""

from __future__ import annotations

import ast
import textwrap
from collections import Counter
from collections.abc import Container, Sequence
from typing import Any, NamedTuple

from tapegrad.engine.tape import Record, parents_of
from tapegrad.inspect.tape import Tape
from tapegrad.source.layout import LINE

_ROWS, _LONGEST = 3, 9  # lines of a comment that quotes a statement, and of a sentence
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Quote(NamedTuple):
    """A statement of the user's that ran: one that ran again, in a loop, is another."""

    file: str
    number: int
    run: int
    text: str


class Quotes:
    """What the user wrote to compute each record of a tape."""

    def __init__(self, tape: Tape) -> None:
        self._quotes: dict[Any, Quote] = {}
        runs: Counter[Any] = Counter()
        for record in tape:
            line = tape.lines.get(record)
            if line is not None:
                runs[line] += not any(isinstance(part, _COMPREHENSIONS) for part in ast.walk(line.value))
                self._quotes[record] = Quote(line.file, line.number, runs[line], line.text)
        self._hosts = hosts(tape)
        self._users: dict[Any, list[Record]] = {}
        for record in reversed(tape):
            for node in dict.fromkeys(parents_of(record)):
                self._users.setdefault(node, []).append(record)

    def of_users(self, node: Any, stated: Container[Any] | None = None) -> list[Quote]:
        """The statements that use a record or leaf, newest first, as far as they can be told.

        Args:
            node: the record or leaf.
            stated: if given, those count too that use what is not among these, and was computed from the node.
        """
        users = dict.fromkeys(self._users.get(node, ()))
        stack = list(users)
        while stack and stated is not None:
            record = stack.pop()
            further = [r for r in self._users.get(record, ()) if r not in users] if record not in stated else []
            users |= dict.fromkeys(further)
            stack += further
        found = [self._quotes.get(self._hosts[record]) for record in sorted(users, key=lambda r: r.rank)]
        return list(dict.fromkeys([quote for quote in found if quote is not None]))


def hosts(tape: Tape) -> dict[Record, Record]:
    """For each record the one whose statement, or name, it is a part of: ``y @ W`` of ``z = (y @ W).exp()``."""
    users: dict[Any, Record] = {}
    for record in tape:
        for node in parents_of(record):
            users.setdefault(node, record)
    found: dict[Record, Record] = {}
    for record in reversed(tape):
        known = record in tape.lines or record in tape.names or record not in users
        found[record] = record if known else found[users[record]]
    return found


def comment(text: str, indent: int, most: int = _ROWS, inner: str = "") -> list[str]:
    """A text as lines of comment, whatever is in it: nothing that ends a line, or turns it around, is left.

    Args:
        text: what to write.
        indent: how far in.
        most: how many lines; what is left of a longer text is cut off.
        inner: what to put before each line of the text.
    """
    text = "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)
    options: Any = {"max_lines": most, "placeholder": " …", "break_on_hyphens": False}
    rows = textwrap.wrap(text, LINE - indent - 2, initial_indent=inner, subsequent_indent=inner + "    ", **options)
    return [f"{' ' * indent}# {row}" for row in rows]


class Headings:
    """What stands above the lines of a function: the statements that they undo, and why they are as they are.

    A statement is quoted once, and again where the lines of another came between.

    Args:
        indent: how far in the lines are.
    """

    def __init__(self, indent: int) -> None:
        self._indent = indent
        self._quoted: set[Quote] = set()
        self._last: list[Quote] = []

    def above(self, quotes: Sequence[Quote], reasons: Sequence[str]) -> list[str]:
        """The comments to write above the next line, which undoes some statements, and has reasons."""
        new = [quote for quote in quotes if quote not in self._quoted]
        if not new and not set(quotes) & set(self._last):
            new = list(quotes[-1:])
        self._quoted.update(new)
        self._last = new or self._last
        lines = [line for text in dict.fromkeys(q.text for q in new) for line in comment(text, self._indent)]
        return lines + [line for text in reasons for line in comment(f"{text}.", self._indent, _LONGEST, "  ")]
