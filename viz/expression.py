"""What a record computed, as Python would write it: ``embcat @ W1 + b1``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from tapegrad.engine.tape import Record
from tapegrad.source.expression import INFIX, exact
from tapegrad.source.layout import ATOM, SIGN, Text, infix, prefix, subscript

_SPELLINGS = {"max_all": "max", "max_dim": "max", "min_all": "min", "min_dim": "min", "moved": "to"}
_SIGNS = {"add", "sub", "mul", "div", "matmul", "pow"}
_SETTINGS = {"ignore_index", "momentum", "eps"}  # numbers that say how, not what


def expression(record: Record, write: Callable[[Any], Text]) -> Text:
    """Write a record as an expression in its inputs.

    Args:
        record: of a tape that is not freed.
        write: gives the text of an input: a record, a leaf, or a torch tensor that takes no gradient. Called for each
            in turn, in the order in which they are written.
    """

    def operand(arg: Any, parent: Any = None) -> Text:
        if type(parent) is tuple:
            return Text(f"[{', '.join(operand(*item).text for item in each(arg, parent))}]")
        if parent is not None or isinstance(arg, torch.Tensor):
            return write(arg if parent is None else parent)
        text = number(arg)
        return Text(text, SIGN if text.startswith("-") else ATOM)

    def index(key: Any) -> str:
        return subscript(key, lambda value: operand(value).text)

    name = spelling(record)
    pairs = list(zip(record.args, record.parents or (), strict=True))
    if name == "rsub":
        name, pairs = "sub", pairs[::-1]
    if name in _SIGNS and len(pairs) == 2:
        a, b = [operand(*pair) for pair in pairs]
        return infix(INFIX[name], a, b)
    if name == "neg":
        return prefix("-", operand(*pairs[0]))
    if name == "getitem":
        return Text(f"{operand(*pairs[0]).within(ATOM)}[{index(pairs[1][0])}]")
    shown: list[str] = []
    for position, (parameter, pair) in enumerate(zip(record.op.parameters, pairs, strict=True)):
        if parameter == "index" or pair[1] is not None or _says_what(parameter, pair[0]):
            if parameter == record.op.starred and type(pair[1]) is tuple:
                shown.extend(operand(arg, parent).text for arg, parent in each(*pair))
                continue
            text = index(pair[0]) if parameter == "index" else operand(*pair).text
            by_position = len(shown) == position and parameter != "keepdim"
            shown.append(text if by_position else f"{parameter}={text}")
    return Text(f"{name}({', '.join(shown)})")


def each(args: Any, parents: tuple[Any, ...]) -> Iterator[tuple[Any, Any]]:
    """The elements of a sequence of tensors, each with its node or None."""
    return zip(args or (None,) * len(parents), parents, strict=True)


def spelling(record: Record) -> str:
    """What torch calls a record's op."""
    name = record.op.name
    return _SPELLINGS.get(name, name.lstrip("_"))


def number(value: Any) -> str:
    """A number to four digits, or several; an equation as it stands in a call."""
    if isinstance(value, str):
        return repr(value)
    value = exact(value)
    if isinstance(value, (list, tuple)):
        text = ", ".join(map(number, value))
        return f"[{text}]" if isinstance(value, list) else text
    if isinstance(value, complex):
        return f"({value:.4g})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def constant(data: torch.Tensor) -> str:
    """A tensor that the user has no name for: a number, the range that an index was, or just ``const``."""
    if not readable(data) or data.ndim > 1:
        return "const"
    if data.ndim == 0:
        return number(data.item())
    return f"range({len(data)})" if data.equal(torch.arange(len(data), device=data.device)) else "const"


def readable(data: torch.Tensor) -> bool:
    """Whether there are elements to read off."""
    return data.device.type != "meta" and data.layout is torch.strided


def _says_what(parameter: str, arg: Any) -> bool:
    """Whether a constant says what is computed: a tensor, numbers such as a dim, keepdim. Other settings do not."""
    if isinstance(arg, torch.Tensor) or parameter == "equation" or (parameter == "keepdim" and arg is True):
        return True
    numbers = arg if isinstance(arg, (list, tuple)) else [arg]
    plain = all(isinstance(n, (int, float, complex)) and not isinstance(n, bool) for n in numbers)
    return bool(numbers) and plain and not parameter.startswith("_") and parameter not in _SETTINGS
