"""Expressions as Python source: one line each, or several, laid out as formatters do."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from tapegrad.source.expression import INFIX, PLAIN, PREFIX, Expression, exact

LINE = 88  # what formatters take for the longest line

# How tightly an expression's outermost sign binds.
COMPARISON, SUM, PRODUCT, SIGN, POWER, ATOM = range(6)
# For each sign: how tightly it binds, and how tightly its operands must, to go without parentheses: a - b - c is
# (a - b) - c, but a ** b ** c is a ** (b ** c).
BINDING = {
    **dict.fromkeys(("+", "-"), (SUM, SUM, PRODUCT)),
    **dict.fromkeys(("*", "/", "//", "@", "%"), (PRODUCT, PRODUCT, SIGN)),
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!=", "&", "|"), (COMPARISON, SUM, SUM)),
    "**": (POWER, ATOM, SIGN),
}
_REDUCTIONS = {"sum", "mean", "max", "min", "var", "std", "prod", "logsumexp", "amax", "amin", "median", "norm", "all"}
_FLOATING = {"eye", "empty", "linspace", "rand", "randn"}  # have the default dtype
_FUNCTIONS = {"where"}  # though methods too
_SPREAD = {"view", "reshape", "expand", "permute"}  # x.view(2, 3), not x.view((2, 3))
_MODULES = {"torch": torch, "F": F} | {
    f"torch.{name}": getattr(torch, name) for name in ("special", "linalg", "fft", "Tensor")
}
# torch rounds a number to the type that it computes in: for the half types, that is float32.
_OPERAND = dict.fromkeys((torch.float32, torch.float16, torch.bfloat16), torch.float32)
_SIMPLE = re.compile(r"-?[\w.]+|-?\d+(\.\d+)?(e-?\d+)?")  # what ** hugs


class Text(NamedTuple):
    """A piece of source, and how tightly its outermost sign binds."""

    text: str
    binding: int = ATOM

    def within(self, binding: int) -> str:
        """The piece where something that binds as tightly as ``binding`` is called for."""
        return self.text if self.binding >= binding else f"({self.text})"


def infix(sign: str, a: Text, b: Text) -> Text:
    """``a sign b``."""
    binding, left, right = BINDING[sign]
    p, q = a.within(left), b.within(right)
    hugs = sign == "**" and _SIMPLE.fullmatch(p) and _SIMPLE.fullmatch(q)
    return Text(f"{p}{sign}{q}" if hugs else f"{p} {sign} {q}", binding)


def prefix(sign: str, a: Text) -> Text:
    """``sign a``; -(x**2), as formatters have it."""
    return Text(f"{sign}{a.within(SIGN if a.binding != POWER else ATOM)}", SIGN)


def text_of(expression: Expression, texts: Mapping[Expression, Text]) -> Text:
    """Write an expression.

    Args:
        expression: what to write.
        texts: how its operands are written.
    """
    args = expression.args
    if expression.number is not None:
        return Text(_full(expression, expression.number))
    match expression.kind:
        case "input":
            return Text(expression.name)
        case "filled":
            return Text(_full(expression, args[0]))
        case "infix":
            a, b = _operand(expression, 0, texts), _operand(expression, 1, texts)
            if expression.name == "mul" and _is_number(args[1]) and a.binding >= SIGN:  # 2 * x, not x * 2
                a, b = b, a
            return infix(INFIX[expression.name], a, b)
        case "prefix":
            return prefix(PREFIX[expression.name], _text(args[0], texts))
        case "index":
            return Text(
                f"{_text(args[0], texts).within(ATOM)}[{subscript(args[1], lambda value: _value(value, texts))}]"
            )
        case "item":
            fields = getattr(type(args[0].value), "__match_args__", ())  # .values, if it has names
            return Text(texts[args[0]].text + (f".{fields[args[1]]}" if fields else f"[{args[1]}]"))
        case "attribute":
            name = "T" if expression.name == "mT" and expression.value.ndim == 2 else expression.name
            return Text(f"{_text(args[0], texts).within(ATOM)}.{name}")
        case "write":
            into = texts[args[0]].text
            if expression.name == "setitem":
                given = (
                    plain(args[2].number, args[2].value.dtype).text if _is_filled(args[2]) else _value(args[2], texts)
                )
                return Text(f"{into}[{subscript(args[1], lambda value: _value(value, texts))}] = {given}")
            plain_target = args[0].kind in ("buffer", "index")
            if expression.name == "add_" and len(args) == 2 and not expression.kwargs and plain_target:
                return Text(f"{into} += {_value(args[1], texts)}")
            return Text(f"{into}.{expression.name}({_arguments(args[1:], expression.kwargs, texts)})")
    path = expression.name if isinstance(expression.name, str) else _path(expression.name)
    name = path.removeprefix("torch.")
    rest: Any = args[1:]
    first = args[0] if args else None
    alone = isinstance(first, Expression) and not any(
        isinstance(v, Expression) for v in (*rest, *expression.kwargs.values())
    )
    kwargs = {k: v for k, v in expression.kwargs.items() if k != "device" or v != torch.get_default_device()}
    if path.startswith("F."):
        usual = _defaults(expression.name)
        kwargs = {k: v for k, v in kwargs.items() if k not in usual or usual[k] is not v}
    if kwargs.get("dtype") == torch.get_default_dtype() and name in _FLOATING:
        del kwargs["dtype"]
    if expression.kind == "call" and not (alone and hasattr(torch.Tensor, name) and name not in _FUNCTIONS):
        return Text(f"{path}({_arguments(args, kwargs, texts)})")
    if not isinstance(first, Expression):  # of a number: it has no such method
        return Text(f"torch.{name}({_arguments(args, kwargs, texts)})")
    if name == "t" and expression.value.ndim == 2:
        return Text(f"{_text(args[0], texts).within(ATOM)}.T")
    if name in _REDUCTIONS:
        rest = _dims(rest, kwargs)
    elif name in _SPREAD and len(rest) == 1 and isinstance(rest[0], (tuple, list)) and rest[0]:
        rest = rest[0]
    return Text(f"{_text(args[0], texts).within(ATOM)}.{name}({_arguments(rest, kwargs, texts)})")


def stretches(shape: torch.Size, wanted: torch.Size) -> bool:
    """Whether a shape broadcasts to another."""
    tail = wanted[len(wanted) - len(shape) :]
    return len(shape) <= len(wanted) and all(m in (1, n) for m, n in zip(shape, tail, strict=True))


@cache
def _defaults(function: Any) -> dict[str, Any]:
    """What the arguments of a Python function are if nobody says otherwise."""
    if not inspect.isfunction(function):
        return {}
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


def _dims(rest: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments of a reduction as a person writes them: the dims, and ``keepdim=True`` if so."""
    if len(rest) > 1 and isinstance(rest[-1], bool):
        rest, kwargs["keepdim"] = rest[:-1], rest[-1]
    if kwargs.get("keepdim") is False:
        del kwargs["keepdim"]
    if "dim" in kwargs and not rest:
        rest = (kwargs.pop("dim"),)
    if rest and isinstance(rest[0], (tuple, list)):
        rest = (rest[0][0] if len(rest[0]) == 1 else tuple(rest[0]), *rest[1:])
    return () if rest == (None,) and not kwargs else rest


def _operand(expression: Expression, i: int, texts: Mapping[Expression, Text]) -> Text:
    """An operand of a sign; numbers may stand there for tensors filled with them."""
    value, other = expression.args[i], expression.args[1 - i]
    if not _is_filled(value) or not isinstance(other, Expression) or expression.name == "matmul":
        return _text(value, texts)
    a, b = value.value, other.value
    if not stretches(a.shape, b.shape):
        return _text(value, texts)
    whole = not a.is_floating_point() and b.is_floating_point()
    default = not b.is_floating_point() and a.dtype == expression.value.dtype == torch.get_default_dtype()
    if a.dtype == b.dtype or whole or default:
        return plain(value.number, _OPERAND.get(a.dtype, torch.float64))
    return _text(value, texts)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, complex)) or _is_filled(value)


def _is_filled(value: Any) -> bool:
    return isinstance(value, Expression) and value.number is not None


def _text(value: Any, texts: Mapping[Expression, Text]) -> Text:
    return texts[value] if isinstance(value, Expression) else plain(value)


def _value(value: Any, texts: Mapping[Expression, Text]) -> str:
    """An argument."""
    if isinstance(value, (tuple, list)) and not isinstance(value, torch.Size):
        inner = ", ".join([_value(v, texts) for v in value])
        return f"[{inner}]" if isinstance(value, list) else f"({inner},)" if len(value) == 1 else f"({inner})"
    return _text(value, texts).text


def _arguments(args: Any, kwargs: Mapping[str, Any], texts: Mapping[Expression, Text]) -> str:
    return ", ".join([_value(a, texts) for a in args] + [f"{k}={_value(v, texts)}" for k, v in kwargs.items()])


def subscript(index: Any, write: Callable[[Any], str]) -> str:
    """What stands between the brackets of ``x[...]``.

    Args:
        index: the index.
        write: gives the text of a number or a tensor in it.
    """
    if type(index) is tuple:
        return ", ".join([subscript(i, write) for i in index]) or "()"
    if isinstance(index, slice):
        ends = ["" if end is None else str(end) for end in (index.start, index.stop, index.step)]
        return ":".join(ends if ends[2] else ends[:2])
    return "..." if index is Ellipsis else write(index)


def plain(value: Any, dtype: torch.dtype = torch.float64) -> Text:
    """A plain value.

    Args:
        value: a number, a string, or what else torch functions take.
        dtype: of floating-point numbers: as many digits are needed.
    """
    value = exact(value)
    if isinstance(value, bool) or value is None:
        return Text(repr(value))
    if isinstance(value, complex):
        return Text(f"{plain(value.real).text} + {plain(value.imag).within(SIGN)}j".replace("+ -", "- "), SUM)
    if isinstance(value, float) and not math.isfinite(value):
        return Text("torch.nan") if math.isnan(value) else Text("torch.inf") if value > 0 else Text("-torch.inf", SIGN)
    if isinstance(value, (int, float)):
        return _number(value, dtype)
    if isinstance(value, (torch.device, str)):
        text = repr(str(value))
        return Text(text if '"' in text else f'"{text[1:-1]}"')
    if isinstance(value, torch.Size):
        value = tuple(value)
    elif type(value) not in PLAIN:
        raise NotImplementedError(
            f"source: a {type(value).__name__} cannot be written; give torch numbers, strings or tensors"
        )
    return Text(repr(value))


def _number(value: float, dtype: torch.dtype) -> Text:
    """The shortest spelling of a number, as a decimal or as a fraction."""

    def same(other: float) -> bool:
        return bool(torch.tensor(other, dtype=dtype) == torch.tensor(value, dtype=dtype))

    spellings = [Text(repr(value).replace("e+", "e"), SIGN if value < 0 else ATOM)]
    if isinstance(value, float) and value:
        with torch._C.DisableTorchFunction():
            short = [float(f"{value:.{digits}g}") for digits in range(1, 9)]
            spellings += [Text(repr(s).replace("e+", "e"), SIGN if s < 0 else ATOM) for s in short if same(s)][:1]
            ratio = Fraction(value).limit_denominator(100_000)
            if ratio and same(ratio.numerator / ratio.denominator):
                spellings.append(Text(f"{ratio.numerator} / {ratio.denominator}", PRODUCT))
    return min(spellings, key=lambda s: len(s.text))


def _full(expression: Expression, number: Any) -> str:
    """A tensor filled with a number."""
    value = expression.value
    options = "" if value.dtype == torch.get_default_dtype() else f", dtype={value.dtype}"
    options = "" if isinstance(number, (bool, int)) and value.dtype in (torch.bool, torch.long) else options
    options += "" if value.device == torch.get_default_device() else f', device="{value.device}"'
    sizes = ", ".join(map(str, value.shape))
    text = plain(number, value.dtype if value.is_floating_point() else torch.float64).text
    if value.ndim == 0:
        return f"torch.tensor({text}{options})"
    if expression.spread:
        return f"torch.tensor({text}{options}).expand({sizes})"
    if number in (0.0, 1.0) and not math.copysign(1, number) < 0:
        return f"torch.{'ones' if number else 'zeros'}({sizes}{options})"
    return f"torch.full(({sizes}{',' if value.ndim == 1 else ''}), {text}{options})"


def _path(function: Any) -> str:
    """Where a function is found: ``torch.where``, ``F.softmax``."""
    if isinstance(function, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        return f"torch.ops.{str(function).replace('::', '.')}"
    for path, module in _MODULES.items():
        for name in (function.__name__, function.__name__.removeprefix(f"{path.rpartition('.')[2]}_")):
            if getattr(module, name, None) is function:
                return f"{path}.{name}"
    name = next((name for name, value in vars(F).items() if value is function), function.__name__)
    return f"F.{name}" if hasattr(F, name) and name != "elu" else f"torch.ops.aten.{name}"


# --- lines ---


def wrapped(text: str, indent: int = 4) -> list[str]:
    """A statement in lines that are not too long: what is in its last brackets goes on lines of its own."""
    pad = " " * indent
    if len(pad + text) <= LINE:
        return [pad + text]
    opening = _opening(text)
    if opening is None or len(pad) + opening + 1 > LINE:
        name, equals, rest = text.partition(" = ")
        if not equals:
            return [pad + text]
        fits = len(pad) + 4 + len(rest) <= LINE
        parts = [rest] if fits or opening is not None else re.split(r" (?=[-+*/@%<>=!&|]+ )", rest)
        return [f"{pad}{name} = (", *[line for part in parts for line in wrapped(part, indent + 4)], f"{pad})"]
    head, inner, tail = text[: opening + 1], text[opening + 1 : -1], text[-1]
    if len(pad) + 4 + len(inner) <= LINE:
        return [pad + head, f"{pad}    {inner}", pad + tail]
    lines = [pad + head]
    for part in _parts(inner):
        lines += wrapped(part, indent + 4)
        lines[-1] += ","
    return [*lines, pad + tail]


def _opening(text: str) -> int | None:
    """Where the bracket opens that the text's last character closes."""
    depth = 0
    for i in range(len(text) - 1, -1, -1):
        depth += (text[i] in ")]}") - (text[i] in "([{")
        if not depth:
            return i if text[-1] in ")]}" else None
    return None


def _parts(text: str) -> list[str]:
    """The items of a list, split at the commas between them."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c == "," and not depth:
            parts.append(text[start:i])
            start = i + 2
    return [*parts, text[start:]] if text[start:] else parts
