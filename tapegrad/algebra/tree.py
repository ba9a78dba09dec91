"""Formulas as trees: how many elements they read and write, and how they are written in Python and in LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tapegrad.algebra.terms import Index

COMPARISON, SUM, PRODUCT, SIGN, POWER, ATOM = range(6)  # how tightly the outermost sign of a text binds


@dataclass(frozen=True)
class Node:
    """A piece of a formula.

    Attributes:
        kind: ``name``, ``atom`` (an expression as it stands), ``number``, ``onehot``, ``call``, ``neg``, ``add``,
            ``sub``, ``mul``, ``div``, ``pow``, ``sum``, ``mean``, ``view``.
        args: the pieces that it is computed from.
        axes: what it is laid out along, from left to right: an index, or None for an axis of size 1.
        data: the name, number, function or exponent; (text, cost) of an atom; (dims, keepdim) of sums; of a view, what
            is appended.
    """

    kind: str
    args: tuple[Node, ...] = ()
    axes: tuple[Index | None, ...] = ()
    data: Any = None

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod([i[1] for i in self.axes if i is not None])


def passes(node: Node) -> int:
    """How many elements are read and written to compute a formula, one operation after another."""
    if node.kind == "atom":
        return int(node.data[1])
    below = sum([passes(a) for a in node.args])
    if node.kind in ("name", "number", "view"):
        return below
    if node.kind == "onehot":  # as many ones as there are rows
        return int(node.size // node.data[1])
    return below + node.size + sum([a.size for a in node.args if a.kind != "number"])


def replaced(node: Node, trees: Mapping[str, Node]) -> Node:
    """A formula with other formulas in the place of names."""
    if node.kind == "name":
        return trees.get(node.data, node)
    return Node(node.kind, tuple([replaced(a, trees) for a in node.args]), node.axes, node.data)


def number_text(value: Fraction) -> tuple[str, int]:
    """A number as Python writes it: a whole number, a short decimal, or a ratio."""
    if value < 0:
        text, binding = number_text(-value)
        return f"-{text}", min(binding, SIGN)
    if value.denominator == 1 and value < 10**12:
        return str(value.numerator), ATOM
    decimal = repr(float(value))
    if Fraction(decimal) == value and len(decimal) <= 7:
        return decimal, ATOM
    if value.denominator <= 1_000_000 and value.numerator <= 1_000_000:
        return f"{value.numerator} / {value.denominator}", PRODUCT
    return decimal, ATOM


class Writer:
    """Writes trees as Python.

    Args:
        code: write what runs as it stands, ``F.one_hot(Yb, 27)``, not what reads best, ``onehot(Yb)``.
    """

    def __init__(self, code: bool = False) -> None:
        self.code = code

    def text(self, node: Node) -> str:
        """A tree as text."""
        return self._text(node)[0]

    def _within(self, node: Node, binding: int) -> str:
        text, own = self._text(node)
        return text if own >= binding else f"({text})"

    def _text(self, node: Node) -> tuple[str, int]:
        match node.kind:
            case "name":
                return node.data, ATOM
            case "atom":
                text = node.data[0]
                return text, ATOM if re.fullmatch(r"[\w.]+(\([^()]*\))?", text) else COMPARISON
            case "number":
                return number_text(node.data)
            case "onehot":
                indices, classes, view = node.data
                if not self.code:
                    return f"onehot({indices})", ATOM
                return f"F.one_hot({indices}, {classes}){view}", ATOM
            case "call":
                return f"{self._within(node.args[0], ATOM)}.{node.data}()", ATOM
            case "view" if node.args[0].kind == "onehot" and not self.code:
                return self._text(node.args[0])
            case "view":
                return f"{self._within(node.args[0], ATOM)}{node.data}", ATOM
            case "neg":
                return f"-{self._within(node.args[0], POWER)}", SIGN
            case "pow":
                exponent, binding = number_text(Fraction(node.data))
                exponent = exponent if binding >= SIGN else f"({exponent})"
                base = self._within(node.args[0], ATOM)
                hugs = re.fullmatch(r"[\w.]+", base)
                return f"{base}**{exponent}" if hugs else f"{base} ** {exponent}", POWER
            case "sum" | "mean":
                dims, keepdim = node.data
                shown = "" if dims is None else str(dims[0]) if len(dims) == 1 else str(dims)
                shown += ", keepdim=True" if keepdim else ""
                return f"{self._within(node.args[0], ATOM)}.{node.kind}({shown})", ATOM
        sign, left, right, binding = {
            "add": ("+", SUM, SUM + 1, SUM), "sub": ("-", SUM, PRODUCT, SUM),
            "mul": ("*", PRODUCT, SIGN, PRODUCT), "div": ("/", PRODUCT, SIGN, PRODUCT),
        }[node.kind]  # fmt: skip
        return f"{self._within(node.args[0], left)} {sign} {self._within(node.args[1], right)}", binding


# --- LaTeX ---


def latex_name(name: str) -> str:
    """A variable: one letter as it is, more as a word; a gradient ``dx`` as ∂x."""
    escaped = re.sub(r"([_#%&$])", r"\\\1", name)
    if len(name) == 1:
        return name
    return rf"\mathrm{{{escaped}}}" if re.fullmatch(r"\w+", name) else rf"\mathtt{{{escaped}}}"


def latex(node: Node) -> str:
    """A tree as LaTeX: sums by the axis that they go over."""
    return _latex(node)[0]


def _latex_within(node: Node, binding: int) -> str:
    text, own = _latex(node)
    return text if own >= binding else rf"\left({text}\right)"


def _latex(node: Node) -> tuple[str, int]:
    args = node.args
    match node.kind:
        case "name" | "atom":
            return latex_name(node.data if node.kind == "name" else node.data[0]), ATOM
        case "number":
            value = node.data
            sign = "-" if value < 0 else ""
            if value.denominator == 1:
                return str(value), SIGN if value < 0 else ATOM
            text = number_text(abs(value))[0]
            if " / " in text:
                return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}", PRODUCT
            return f"{sign}{text}", SIGN if value < 0 else ATOM
        case "onehot":
            return rf"\mathrm{{onehot}}({latex_name(node.data[0])})", ATOM
        case "call":
            function = {"exp": r"\exp", "log": r"\log", "tanh": r"\tanh"}.get(node.data, rf"\mathrm{{{node.data}}}")
            if node.data == "sqrt":
                return rf"\sqrt{{{latex(args[0])}}}", ATOM
            return rf"{function}\left({latex(args[0])}\right)", ATOM
        case "view":
            return _latex(args[0])
        case "neg":
            return f"-{_latex_within(args[0], PRODUCT)}", SIGN
        case "pow":
            exponent = Fraction(node.data)
            return f"{{{_latex_within(args[0], ATOM)}}}^{{{exponent}}}", POWER
        case "sum" | "mean":
            over = "" if node.data[0] is None else "_{" + ",".join(map(str, node.data[0])) + "}"
            symbol = r"\textstyle\sum" if node.kind == "sum" else r"\operatorname{mean}"
            return rf"{symbol}{over} {_latex_within(args[0], SIGN)}", PRODUCT
        case "div":
            return rf"\frac{{{latex(args[0])}}}{{{latex(args[1])}}}", PRODUCT
        case "mul":
            return rf"{_latex_within(args[0], PRODUCT)} \cdot {_latex_within(args[1], SIGN)}", PRODUCT
    return f"{_latex_within(args[0], SUM)} {'+' if node.kind == 'add' else '-'} {_latex_within(args[1], PRODUCT)}", SUM
