"""Symbols: torch tensors that remember how they are written.

A rule that runs on Symbols computes as it does on tensors, and each result carries the Python text that computes it.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

# How tightly an expression's outermost sign binds.
SUM, PRODUCT, SIGN, POWER, ATOM = range(5)
# For each sign: how it is written, how tightly it binds, and how tightly its operands must, to go without parentheses.
_INFIX = {
    "add": ("+", SUM, SUM, PRODUCT),
    "sub": ("-", SUM, SUM, PRODUCT),
    "mul": ("*", PRODUCT, PRODUCT, SIGN),
    "div": ("/", PRODUCT, PRODUCT, SIGN),
    "matmul": ("@", PRODUCT, PRODUCT, SIGN),
    "remainder": ("%", PRODUCT, PRODUCT, SIGN),
    "pow": ("**", POWER, ATOM, SIGN),
    "lt": ("<", SUM - 1, SUM, SUM),
    "le": ("<=", SUM - 1, SUM, SUM),
    "gt": (">", SUM - 1, SUM, SUM),
    "ge": (">=", SUM - 1, SUM, SUM),
    "eq": ("==", SUM - 1, SUM, SUM),
    "ne": ("!=", SUM - 1, SUM, SUM),
    "bitwise_and": ("&", SUM - 1, SUM, SUM),
    "bitwise_or": ("|", SUM - 1, SUM, SUM),
}
_ALIASES = {
    "true_divide": "div",
    "multiply": "mul",
    "subtract": "sub",
    "__and__": "bitwise_and",
    "__or__": "bitwise_or",
}
_ALIASES |= {"__pow__": "pow", "t": "t"}


LINE = 88  # what formatters take for the longest line


class Writer:
    """Where the lines go: a function body in the making.

    Args:
        called: raw tensors by the names that lines may call them.
    """

    width = LINE - 4  # the body is indented

    def __init__(self, called: Mapping[str, torch.Tensor]) -> None:
        self.called = dict(called)
        self.lines: list[str] = []
        self._name = {id(value): name for name, value in reversed(self.called.items())}
        self._taken = {*self.called, "torch"}

    def fresh(self, name: str) -> str:
        """A variable name like this one that nothing else has."""
        candidate, i = name, 2
        while candidate in self._taken:
            candidate, i = f"{name}_{i}", i + 1
        self._taken.add(candidate)
        return candidate

    def call(self, name: str, value: Any) -> None:
        """Give a raw tensor a name, if it has none."""
        if isinstance(value, torch.Tensor) and id(value) not in self._name:
            self._name[id(value)] = name = self.fresh(name)
            self.called[name] = value

    def assign(self, name: str, symbol: Symbol, comment: str = "") -> None:
        """Write ``name = symbol``; from then on the symbol is its name."""
        self.line(f"{name} = {symbol.text}", comment)
        symbol.text, symbol.binding = name, ATOM

    def line(self, text: str, comment: str = "") -> None:
        """Write a line, with a comment behind it if there is room."""
        if comment and len(text) + 4 + len(comment) <= self.width:
            text = f"{text}  # {comment}"
        self.lines.append(text)

    def mentioned(self) -> dict[str, torch.Tensor]:
        """The raw tensors that the lines mention, by name."""
        words = set(re.findall(r"\w+", " ".join(line.split("  # ")[0] for line in self.lines)))
        return {name: value for name, value in self.called.items() if name in words}

    def symbol(self, value: Any) -> Any:
        """The Symbol of a raw tensor, or of each in a tuple; anything else as it is."""
        if type(value) is tuple:
            return tuple([self.symbol(v) for v in value])
        return Symbol(value, self.constant(value), ATOM, self) if isinstance(value, torch.Tensor) else value

    def constant(self, value: torch.Tensor) -> str:
        """How a raw tensor is written: by its name, or as what it plainly is."""
        if id(value) not in self._name:
            if value.ndim == 0 and not value.is_meta:
                return f"torch.tensor({literal(value.item())}{_options(value)})"
            if value.ndim == 1 and value.dtype == torch.long and value.equal(torch.arange(len(value)).to(value.device)):
                return f"torch.arange({len(value)}{_device(value)})"
            self.call("constant", value)
        return self._name[id(value)]


class Symbol:
    """A raw tensor with the text that computes it.

    Attributes:
        value: the raw tensor.
        text: Python source of an expression.
        binding: how tightly the expression's outermost sign binds.
        writer: where to put lines that must come before it.
        number: the Python number that every element is, if the text is a plain number or filled with one; else None.
    """

    __slots__ = ("binding", "number", "text", "value", "writer")

    def __init__(self, value: torch.Tensor, text: str, binding: int, writer: Writer, number: Any = None) -> None:
        self.value = value
        self.text = text
        self.binding = binding
        self.writer = writer
        self.number = number

    # --- what a formula may ask of a tensor without computing ---

    @property
    def shape(self) -> torch.Size:
        """As the raw tensor's."""
        return self.value.shape

    ndim = property(lambda self: self.value.ndim)
    dtype = property(lambda self: self.value.dtype)
    device = property(lambda self: self.value.device)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __len__(self) -> int:
        return len(self.value)

    def within(self, binding: int) -> str:
        """The text where something that binds as tightly as ``binding`` is called for."""
        return self.text if self.binding >= binding else f"({self.text})"

    # --- computing ---

    def __getattr__(self, name: str) -> Any:
        found = getattr(torch.Tensor, name)
        if not callable(found):  # T, mT, ...
            value = getattr(self.value, name)
            if not isinstance(value, torch.Tensor):
                return value
            name = "T" if name == "mT" and self.ndim == 2 else name
            return self.writer_symbol(value, f"{self.within(ATOM)}.{name}")
        return lambda *args, **kwargs: method(self, name, args, kwargs)

    def writer_symbol(self, value: Any, text: str, binding: int = ATOM) -> Any:
        """A result: a Symbol, a tuple of them, or a plain value."""
        if isinstance(value, torch.Tensor):
            result = Symbol(value, text, binding, self.writer)
            if len(text) > self.writer.width - 20:  # too long to be part of anything
                self.writer.assign(self.writer.fresh("tmp"), result)
            return result
        if isinstance(value, (tuple, list)) and any(isinstance(v, torch.Tensor) for v in value):
            name = self.writer.fresh("parts")
            self.writer.line(f"{name} = {text}")
            return [Symbol(v, f"{name}[{i}]", ATOM, self.writer) for i, v in enumerate(value)]
        return value

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.__name__
        owner = next(s for s in _symbols((args, kwargs)))
        if name in _INFIX and len(args) == 2 and not kwargs:
            return infix(name, args[0], args[1], owner.writer)
        if isinstance(args[0], Symbol) and not kwargs and name in ("neg", "negative"):
            return -args[0]
        value = func(*_raw(args), **_raw(kwargs))
        return owner.writer_symbol(value, f"{_path(func)}({_arguments(args, kwargs, owner.writer)})")

    def __neg__(self) -> Any:
        if self.number is not None:
            return constant(-self.value, self.writer)
        return Symbol(-self.value, f"-{self.within(SIGN)}", SIGN, self.writer)

    def __getitem__(self, index: Any) -> Any:
        return self.writer_symbol(self.value[_raw(index)], f"{self.within(ATOM)}[{_index(index, self.writer)}]")

    def __setitem__(self, index: Any, value: Any) -> None:
        if not self.text.isidentifier():
            self.writer.assign(self.writer.fresh("tmp"), self)
        self.value = self.value.clone()
        self.value[_raw(index)] = _raw(value)
        self.writer.line(f"{self.text}[{_index(index, self.writer)}] = {_text(value, self.writer)}")

    __hash__ = object.__hash__


def _operator(name: str, reflected: bool = False) -> Callable[[Symbol, Any], Any]:
    if reflected:
        return lambda self, other: infix(name, other, self, self.writer)
    return lambda self, other: infix(name, self, other, self.writer)


for _dunder, _name in {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "matmul": "matmul", "mod": "remainder", "pow": "pow",
    "and": "bitwise_and", "or": "bitwise_or",
}.items():  # fmt: skip
    setattr(Symbol, f"__{_dunder}__", _operator(_name))
    setattr(Symbol, f"__r{_dunder}__", _operator(_name, reflected=True))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Symbol, f"__{_name}__", _operator(_name))


def constant(value: torch.Tensor, writer: Writer) -> Symbol:
    """The Symbol of a tensor that is one number throughout."""
    number = value.reshape(-1)[0].item()
    if value.ndim == 0:
        return Symbol(value, literal(number), _binding(literal(number)), writer, number)
    text = f"torch.full({_text(tuple(value.shape), writer)}, {literal(number)}{_options(value)})"
    return Symbol(value, text, ATOM, writer, number)


def infix(name: str, a: Any, b: Any, writer: Writer) -> Any:
    """``a sign b``, with constants folded: 1 * x and x + 0 are x."""
    sign, binding, left, right = _INFIX[name]
    value = getattr(torch, name)(_raw(a), _raw(b)) if name != "matmul" else _raw(a) @ _raw(b)
    x, y = _number(a), _number(b)
    if x is not None and y is not None and value.is_floating_point():
        return constant(value, writer)
    for one, other, number in ((a, b, y), (b, a, x)):
        neutral = {"mul": 1, "add": 0, "sub": 0, "div": 1, "pow": 1}.get(name)
        commutes = one is a or name in ("mul", "add")
        if isinstance(one, Symbol) and number == neutral and commutes and _scalar(other) and _alike(one.value, value):
            return one
    if name == "mul" and x == -1 and _scalar(a) and isinstance(b, Symbol) and b.shape == value.shape:
        return -b
    if name == "mul" and y == -1 and _scalar(b) and isinstance(a, Symbol) and a.shape == value.shape:
        return -a
    p, q = _operand(a, writer), _operand(b, writer)
    space = "" if sign == "**" and _simple(p) and _simple(q) else " "  # as formatters do
    text = f"{p.within(left)}{space}{sign}{space}{q.within(right)}"
    result = Symbol(value, text, binding, writer)
    if len(text) > writer.width - 20:
        writer.assign(writer.fresh("tmp"), result)
    return result


def method(self: Symbol, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """``self.name(...)``, written as a person would."""
    functional = name[:-1] if name.endswith("_") and not name.startswith("_") else name
    if functional in _INFIX and len(args) == 1 and not kwargs:
        return infix(functional, self, args[0], self.writer)
    if functional in ("neg", "negative"):
        return -self
    value: Any = getattr(self.value, functional)(*_raw(args), **_raw(kwargs))
    if not isinstance(value, torch.Tensor):
        text = f"{self.within(ATOM)}.{functional}({_arguments(args, kwargs, self.writer)})"
        return self.writer_symbol(value, text)
    if functional == "new_zeros":
        return Symbol(value, f"torch.zeros({_text(_flat(args), self.writer)}{_options(value)})", ATOM, self.writer, 0)
    if self.number is not None and functional in ("expand", "view", "reshape", "unsqueeze", "squeeze", "clone"):
        return constant(value, self.writer)
    if functional in ("expand", "view", "reshape") and value.shape == self.shape:
        return self
    if functional == "sum":
        text = _sum(args, kwargs)
    elif functional in ("view", "reshape", "expand", "permute"):
        text = ", ".join(literal(int(n)) for n in _flat(args))
    else:
        text = _arguments(args, kwargs, self.writer)
    return self.writer_symbol(value, f"{self.within(ATOM)}.{functional}({text})")


# --- text ---


def literal(value: Any) -> str:
    """A plain value as Python source."""
    if isinstance(value, torch.Size):
        value = tuple(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, float) and value and len(repr(value)) > 10 and 1 / round(1 / value) == value:
        return f"1 / {round(1 / value)}"
    if isinstance(value, torch.device):
        return f'"{value}"'
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(literal, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)


def _text(value: Any, writer: Writer) -> str:
    if isinstance(value, (tuple, list)) and not isinstance(value, torch.Size):
        inner = ", ".join(_text(v, writer) for v in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner},)" if len(value) == 1 else f"({inner})"
    return _operand(value, writer).text


def _operand(value: Any, writer: Writer) -> Symbol:
    if isinstance(value, Symbol):
        return value
    if isinstance(value, torch.Tensor):
        symbol: Symbol = writer.symbol(value)
        return symbol
    text = literal(value)
    return Symbol(torch.empty(0), text, _binding(text), writer)


def _binding(text: str) -> int:
    """How tightly a literal binds."""
    return PRODUCT if " / " in text else SIGN if text.startswith("-") else ATOM


def _arguments(args: Any, kwargs: Mapping[str, Any], writer: Writer) -> str:
    return ", ".join([_text(a, writer) for a in args] + [f"{k}={_text(v, writer)}" for k, v in kwargs.items()])


def _sum(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    dim = kwargs.get("dim", args[0] if args else None)
    keepdim = kwargs.get("keepdim", args[1] if len(args) > 1 else False)
    dims = [] if dim is None else [dim] if isinstance(dim, int) else list(dim)
    parts = [literal(dims[0] if len(dims) == 1 else tuple(dims))] if dims else []
    return ", ".join([*parts, *(["keepdim=True"] if keepdim else [])])


def _index(index: Any, writer: Writer) -> str:
    if type(index) is tuple:
        return ", ".join(_index(i, writer) for i in index) or "()"
    if isinstance(index, slice):
        start, stop, step = ("" if e is None else str(e) for e in (index.start, index.stop, index.step))
        return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"
    return "..." if index is Ellipsis else _text(index, writer)


def _path(func: Any) -> str:
    """Where a function is found: ``torch.where``, ``F.softmax``."""
    name = func.__name__
    if getattr(torch, name, None) is func:
        return f"torch.{name}"
    if getattr(torch.nn.functional, name, None) is func:
        return f"torch.nn.functional.{name}"
    for module in ("special", "linalg"):
        bare = name.removeprefix(f"{module}_")
        if getattr(getattr(torch, module), bare, None) is func:
            return f"torch.{module}.{bare}"
    return f"torch.{name}" if hasattr(torch, name) else f"torch.Tensor.{name}"


def _options(value: torch.Tensor) -> str:
    dtype = "" if value.dtype == torch.float32 or value.dtype in (torch.long, torch.bool) else f", dtype={value.dtype}"
    return dtype + _device(value)


def _device(value: torch.Tensor) -> str:
    return "" if value.device == torch.get_default_device() else f', device="{value.device}"'


# --- values ---


def _raw(value: Any) -> Any:
    if isinstance(value, Symbol):
        return value.value
    if isinstance(value, (tuple, list)) and not isinstance(value, torch.Size):
        return type(value)([_raw(v) for v in value])
    if isinstance(value, dict):
        return {k: _raw(v) for k, v in value.items()}
    return value


def _symbols(value: Any) -> Any:
    if isinstance(value, Symbol):
        yield value
    elif isinstance(value, dict):
        yield from _symbols(list(value.values()))
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from _symbols(v)


def _number(value: Any) -> Any:
    if isinstance(value, Symbol):
        return value.number
    return value if isinstance(value, numbers.Number) else None


def _alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype


def _scalar(value: Any) -> bool:
    return not isinstance(value, Symbol) or value.ndim == 0


def _simple(operand: Symbol) -> bool:
    text = operand.text.removeprefix("-")
    return text.isidentifier() or text.replace(".", "", 1).isdecimal()


def _flat(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
