"""Derivations in columns: formulas on the left, reasons on the right, and nothing wider than a screen."""

from __future__ import annotations

import re
from collections.abc import Iterator

WIDTH = 120
COLUMN = 58  # where reasons stand


def in_columns(head: str, text: str, reason: str) -> Iterator[str]:
    """The lines of ``head = text  # reason``."""
    *lines, last = broken(text, WIDTH - len(head) - 3)
    indent = " " * (len(head) + 5)
    rows = [f"{head} = {line}" if not k else indent + line for k, line in enumerate([*lines, last])]
    if not reason:
        yield from rows
    elif len(rows[-1]) > COLUMN and len(rows[-1]) + len(reason) + 4 <= WIDTH:
        yield from [*rows[:-1], f"{rows[-1]}  # {reason}"]
    else:
        reasons = [f"  # {part}" for part in parted(reason, WIDTH - COLUMN - 4)]
        beside = reasons.pop(0) if len(rows[-1]) <= COLUMN else ""
        yield from rows[:-1]
        yield f"{rows[-1]:<{COLUMN}}{beside}" if beside else rows[-1]
        yield from [" " * COLUMN + r for r in reasons]


def broken(text: str, width: int) -> list[str]:
    """A formula in lines, broken before a sign that binds as loosely as can be."""
    if len(text) <= width:
        return [text]
    signs = [m for m in re.finditer(r" [-+*/] ", text) if width // 3 < m.start() <= width]
    if not signs:
        return [text]
    at = min(signs, key=lambda m: (depth(text, m.start()), m[0] in (" * ", " / "), -m.start())).start()
    return [text[:at], *broken(text[at + 1 :], width - 2)]


def depth(text: str, at: int) -> int:
    """How many brackets are open."""
    before = text[:at]
    return sum(before.count(c) for c in "([") - sum(before.count(c) for c in ")]")


def parted(reason: str, width: int) -> list[str]:
    """A reason in lines, each of whole parts if they fit."""
    lines = [""]
    for part in re.split(r"(?<=[,]) (?=\w+ = )| (?=and )", reason):
        if lines[-1] and len(lines[-1]) + len(part) + 1 > width:
            lines.append("")
        lines[-1] += f" {part}" if lines[-1] else part
    return lines
