"""What a record computed, as Python would write it: ``embcat @ W1 + b1``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from tapegrad.op import Op
from tapegrad.tape import Record

# How tightly a sign binds. Next to it, what its left and right operands must bind as tightly as, to go without
# parentheses: a - b - c is (a - b) - c, but a ** b ** c is a ** (b ** c).
_SUM, _PRODUCT, _SIGN, _POWER, _ATOM = range(5)
_INFIX = {
    "add": ("+", _SUM, _SUM, _PRODUCT),
    "sub": ("-", _SUM, _SUM, _PRODUCT),
    "rsub": ("-", _SUM, _SUM, _PRODUCT),
    "mul": ("*", _PRODUCT, _PRODUCT, _SIGN),
    "div": ("/", _PRODUCT, _PRODUCT, _SIGN),
    "matmul": ("@", _PRODUCT, _PRODUCT, _SIGN),
    "pow": ("**", _POWER, _ATOM, _SIGN),
}
_SPELLINGS = {"max_all": "max", "max_dim": "max", "min_all": "min", "min_dim": "min", "moved": "to"}
_SETTINGS = {"ignore_index", "momentum", "eps"}  # numbers that say how, not what


class Text(NamedTuple):
    """A piece of an expression, and how tightly its outermost sign binds."""

    text: str
    binding: int = _ATOM

    def within(self, binding: int) -> str:
        """The piece where something that binds as tightly as ``binding`` is called for."""
        return self.text if self.binding >= binding else f"({self.text})"


def expression(record: Record, write: Callable[[Any], Text]) -> Text:
    """Write a record as an expression in its inputs.

    Args:
        record: of a tape that is not freed.
        write: gives the text of an input: a record, a leaf, or a torch tensor that takes no gradient. Called for each
            in turn, in the order in which they are written.
    """

    def operand(arg: Any, parent: Any = None) -> Text:
        if type(parent) is tuple:
            items = zip(arg or (None,) * len(parent), parent, strict=True)
            return Text(f"[{', '.join(operand(*item).text for item in items)}]")
        if parent is not None or isinstance(arg, torch.Tensor):
            return write(arg if parent is None else parent)
        text = number(arg)
        return Text(text, _SIGN if text.startswith("-") else _ATOM)

    def index(key: Any) -> str:
        if type(key) is tuple:
            return ", ".join(map(index, key))
        if isinstance(key, slice):
            ends = ["" if end is None else str(end) for end in (key.start, key.stop, key.step)]
            return ":".join(ends if ends[2] else ends[:2])
        return "..." if key is Ellipsis else operand(key).text

    name = spelling(record.op)
    places = list(zip(record.args, record.parents or (), strict=True))
    if name in _INFIX and len(places) == 2:
        sign, binding, left, right = _INFIX[name]
        a, b = [operand(*place) for place in (places[::-1] if name == "rsub" else places)]
        return Text(f"{a.within(left)} {sign} {b.within(right)}", binding)
    if name == "neg":
        return Text(f"-{operand(*places[0]).within(_SIGN)}", _SIGN)
    if name == "getitem":
        return Text(f"{operand(*places[0]).within(_ATOM)}[{index(places[1][0])}]")
    shown: list[str] = []
    for position, (parameter, place) in enumerate(zip(record.op.parameters, places, strict=True)):
        if parameter == "index" or place[1] is not None or _says_what(parameter, place[0]):
            text = index(place[0]) if parameter == "index" else operand(*place).text
            shown.append(text if len(shown) == position else f"{parameter}={text}")
    return Text(f"{name}({', '.join(shown)})")


def spelling(op: Op) -> str:
    """What torch calls an op."""
    return _SPELLINGS.get(op.name, op.name.lstrip("_"))


def number(value: Any) -> str:
    """A number to four digits, or several."""
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
    """Whether a constant says what is computed: a tensor, or numbers such as a dim. Flags and settings do not."""
    if isinstance(arg, torch.Tensor):
        return True
    numbers = arg if isinstance(arg, (list, tuple)) else [arg]
    plain = all(isinstance(n, (int, float, complex)) and not isinstance(n, bool) for n in numbers)
    return bool(numbers) and plain and not parameter.startswith("_") and parameter not in _SETTINGS
