"""Statements of a written function: what each binds, and what it needs."""

from __future__ import annotations

import ast
import io
import textwrap
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Statement:
    """A statement.

    Attributes:
        text: its source, without comments.
        targets: the variables that it binds or changes.
        uses: the names that it reads.
    """

    text: str
    targets: tuple[str, ...]
    uses: frozenset[str]

    def without(self, names: Iterable[str]) -> Statement:
        """It, binding what is left of its targets: ``_, i = x.max(1)``."""
        kept = [t for t in self.targets if t not in names]
        assign = ast.parse(self.text).body[0]
        for n in ast.walk(assign):
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and n.id not in kept:
                n.id = "_"
        return Statement(ast.unparse(assign), tuple(kept), self.uses)


def statements_of(source: str) -> dict[str, list[Statement]]:
    """The statements of each function in some source, by the function's name."""
    return {
        f.name: [_statement(source, s) for s in f.body]
        for f in ast.parse(source).body
        if isinstance(f, ast.FunctionDef)
    }


def results_of(source: str, function: str) -> dict[str, str]:
    """The dict of variables that a function returns: what each key stands for."""
    (found,) = [f for f in ast.parse(source).body if isinstance(f, ast.FunctionDef) and f.name == function]
    last = found.body[-1]
    if not isinstance(last, ast.Return) or not isinstance(last.value, ast.Dict):
        return {}
    return {ast.literal_eval(k): ast.unparse(v) for k, v in zip(last.value.keys, last.value.values, strict=True) if k}


def _statement(source: str, node: ast.stmt) -> Statement:
    text = textwrap.dedent(" " * node.col_offset + (ast.get_source_segment(source, node) or ast.unparse(node)))
    uses = frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
    return Statement(text, tuple(dict.fromkeys(_targets(node))), uses)


def _targets(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Assign):
        parts: list[ast.expr] = list(node.targets)
    elif isinstance(node, ast.AugAssign):
        parts = [node.target]
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):  # x.scatter_(...)
        parts = [node.value.func]
    else:
        parts = []
    found = []
    for part in parts:
        for one in part.elts if isinstance(part, (ast.Tuple, ast.List)) else [part]:
            while isinstance(one, (ast.Subscript, ast.Attribute)):
                one = one.value
            if isinstance(one, ast.Name):
                found.append(one.id)
    return found


def replaced(text: str, names: Mapping[str, str]) -> str:
    """Source with other expressions in place of some variables."""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    found = []
    before = ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and token.string in names and before != ".":
            row, column = token.start
            at = starts[row - 1] + column
            found.append((at, at + len(token.string), names[token.string]))
        before = token.string
    for first, last, new in reversed(found):
        text = text[:first] + new + text[last:]
    return text
