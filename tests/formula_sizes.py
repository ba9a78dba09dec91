"""How long the formulas of the rules are.

python tests/formula_sizes.py
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

RULES = Path(__file__).parent.parent / "tapegrad" / "rules"


def formulas(text: str) -> Iterator[tuple[int, int]]:
    """The first line and the number of lines of each formula: of ``input=lambda g: g``, the argument with its name."""
    tree = ast.parse(text)
    named = {id(node.value): node for node in ast.walk(tree) if isinstance(node, ast.keyword)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda):
            first = named.get(id(node), node).lineno
            yield first, (node.end_lineno or first) - first + 1


def longest_formula(rules: Path = RULES) -> tuple[int, str]:
    """The number of lines of the longest formula, and where it is."""
    sizes = [
        (lines, f"{file.name}:{first}")
        for file in sorted(rules.glob("*.py"))
        for first, lines in formulas(file.read_text())
    ]
    return max(sizes, key=lambda size: size[0])


if __name__ == "__main__":
    size, where = longest_formula()
    print(f"{size} lines, {where}")
