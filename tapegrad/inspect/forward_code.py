"""The user's code that computed a tape: its statements, as they were written."""

from __future__ import annotations

import ast
import io
import linecache
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

from tapegrad.inspect.names import Scope

_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


@dataclass(frozen=True, eq=False)
class Line:
    """An assignment of the user's.

    Attributes:
        target: the variable that it binds, as Python writes it: ``h``, ``self.h``, ``hs[0]``.
        value: what it binds the variable to; of ``c += 1``, ``c + 1``.
        text: the statement as it was written, without its comment, on one line.
        file, number: where it stands.
    """

    target: str
    value: ast.expr
    text: str
    file: str
    number: int


class Code(NamedTuple):
    """The assignments of some code in their order, and the variables of its loops and comprehensions."""

    lines: tuple[Line, ...]
    loops: frozenset[str]


NOTHING = Code((), frozenset())


def code_of(scope: Scope) -> Code:
    """The code that a scope belongs to, as far as it can be read."""
    if scope.code is None:
        return NOTHING
    found = [_of_source(cell, f"In [{i}]") for i, cell in enumerate(scope.cells)]
    found.append(_of_code(scope.code))
    return Code(tuple(line for one in found for line in one.lines), frozenset().union(*[one.loops for one in found]))


@lru_cache(maxsize=256)
def _of_code(code: CodeType) -> Code:
    source = linecache.getlines(code.co_filename)
    tree = _parsed("".join(source))
    if tree is None:
        return NOTHING
    within: ast.AST | None = tree
    if not code.co_name.startswith("<"):  # a function: the innermost of those that begin where it does
        functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
        starts = [(min([n.lineno, *[d.lineno for d in n.decorator_list]]), n) for n in functions]
        within = next((n for at, n in starts if n.name == code.co_name and at == code.co_firstlineno), None)
    return NOTHING if within is None else _read(within, source, code.co_filename)


@lru_cache(maxsize=1024)
def _of_source(source: str, file: str) -> Code:
    tree = _parsed(source)
    # Not splitlines(), for which a line also ends where Python's does not, as at a form feed in a string.
    return NOTHING if tree is None else _read(tree, list(io.StringIO(source, newline=None)), file)


@lru_cache(maxsize=64)
def _parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):  # a cell with magic, a template, a file that was changed
        return None


def _read(block: ast.AST, source: Sequence[str], file: str) -> Code:
    lines: list[Line] = []
    loops: set[str] = set()
    for statement in _statements(block):
        if isinstance(statement, (ast.For, ast.AsyncFor)):
            loops |= {n.id for n in ast.walk(statement.target) if isinstance(n, ast.Name)}
        for part in ast.walk(statement):
            if isinstance(part, ast.comprehension):
                loops |= {n.id for n in ast.walk(part.target) if isinstance(n, ast.Name)}
        targets: list[ast.expr] = []
        value: ast.expr | None = None
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign):
            targets, value = [statement.target], statement.value
        elif isinstance(statement, ast.AugAssign):
            targets, value = [statement.target], ast.BinOp(statement.target, statement.op, statement.value)
        if value is not None:
            text = _text(statement, source)
            for target in targets:
                for one, part in _pairs(target, value):
                    lines.append(Line(ast.unparse(one), part, text, file, statement.lineno))
    return Code(tuple(lines), frozenset(loops))


def _statements(block: ast.AST) -> Iterator[ast.stmt]:
    """The statements of a block and of the blocks in it, but not of functions and classes."""
    for name in _BLOCKS:
        for inner in getattr(block, name, ()):
            if isinstance(inner, ast.stmt):
                yield inner
            if not isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield from _statements(inner)


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """``a, b = x, y`` as ``a = x`` and ``b = y``."""
    if isinstance(target, (ast.Tuple, ast.List)):
        if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts):
            for one, part in zip(target.elts, value.elts, strict=True):
                yield from _pairs(one, part)
    else:
        yield target, value


def _text(statement: ast.stmt, source: Sequence[str]) -> str:
    """A statement as it was written; of several lines, on one."""
    first, last = statement.lineno - 1, (statement.end_lineno or statement.lineno) - 1
    rows = [row.encode() for row in source[first : last + 1]]  # Python counts columns in bytes
    if not rows:
        return ast.unparse(statement)
    rows[-1] = rows[-1][: statement.end_col_offset]
    rows[0] = rows[0][statement.col_offset :]
    if len(rows) == 1:
        return rows[0].decode()
    return ast.unparse(statement)
