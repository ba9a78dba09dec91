"""Atoms: expressions that algebra takes as they stand. Their source in one line, and what they are computed from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tapegrad.source.expression import Expression
from tapegrad.source.layout import ATOM, Text, plain, subscript, text_of


class Unreadable(Exception):
    """An expression that index notation has no words for."""


def source_of(expression: Expression, within: bool = False) -> str:
    """An expression in one line; with ``within``, so that a method can be called on it."""
    texts: dict[Expression, Text] = {}
    for part in sorted(parts_of(expression), key=lambda e: e.order):
        if part.kind == "write":
            continue
        if part.kind == "buffer":
            texts[part] = texts[part.args[0]]
        elif part.kind == "after":
            texts[part] = _written_text(part, texts)
        else:
            texts[part] = text_of(part, texts)
    return texts[expression].within(ATOM) if within else texts[expression].text


def _written_text(after: Expression, texts: Mapping[Expression, Text]) -> Text:
    """A tensor after something was written into it, without writing: at the positions that the index selects."""
    buffer, write = after.args
    if write.name not in ("setitem", "index_put_") or write.args[0].kind != "buffer":
        raise Unreadable
    _, index, given, *rest = write.args
    adds = bool(rest and rest[0]) or bool(write.kwargs.get("accumulate"))
    shape, n = tuple(after.value.shape), after.value.numel()
    at = subscript(tuple(index) if isinstance(index, list) else index, lambda v: _plain_text(v, texts))
    positions = f"torch.arange({n}).view{shape}[{at}]"
    value = _plain_text(given, texts)
    call = f"{'index_add' if adds else 'index_copy'}(0, {positions}.reshape(-1), "
    target = texts[buffer].within(ATOM)
    return Text(f"{target}.reshape(-1).{call}({value}).expand_as({positions}).reshape(-1)).view{shape}")


def _plain_text(value: Any, texts: Mapping[Expression, Text]) -> str:
    return texts[value].text if isinstance(value, Expression) else plain(value).text


def parts_of(expression: Expression) -> set[Expression]:
    """An expression and all that it is computed from."""
    seen: set[Expression] = set()
    stack = [expression]
    while stack:
        part = stack.pop()
        if part not in seen:
            seen.add(part)
            stack.extend(part.operands())
    return seen


def inputs_of(expression: Expression) -> Iterator[Expression]:
    """The named tensors that an expression is computed from."""
    return (part for part in parts_of(expression) if part.kind == "input")
