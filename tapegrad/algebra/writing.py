"""From index notation back to tensor code: where each index lies, what is pulled out, and what is multiplied first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from tapegrad.algebra import sums, terms
from tapegrad.algebra.cost import Cost, shared_factors
from tapegrad.algebra.definitions import names_in_factor
from tapegrad.algebra.reading import free_indices
from tapegrad.algebra.terms import Factor, Index, Monomial, Polynomial
from tapegrad.algebra.tree import Node, passes

MANY = 60  # terms in which nobody looks for what they share
ELEMENTWISE = ("neg", "add", "sub", "mul", "div", "pow", "call")
Places = Mapping[Index, int]  # the axis, counted from the right, along which each index lies


class Layout:
    """Writes polynomials as trees.

    Args:
        shapes: name -> shape of its tensor.
        inline: name -> what to write in its place, for tensors that nobody has named.
        atom: name -> the elements that it takes to have a tensor, if it is written as an expression.
        onehots: name -> the integer tensor and the number of classes, for those that are one-hot.
        order: name -> which of two factors is written first.
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        inline: Mapping[str, Polynomial],
        onehots: Mapping[str, tuple[str, int]],
        atom: Callable[[str], int],
        order: Callable[[str], int],
    ) -> None:
        self.shapes = shapes
        self.inline = inline
        self.onehots = onehots
        self._atom = atom
        self._order = order
        self.cost = Cost(inline, atom)
        self._cache: dict[Any, Node] = {}

    def tree(self, p: Polynomial, ndim: int = 0) -> Node:
        """A polynomial whose free indices are axes of the result, with ``keepdim`` to have so many of them."""
        key = terms.frozen(p)
        if key not in self._cache:
            self._cache[key] = self._sum(p, {i: i[0] for i in sums.polynomial_indices(p)})
        return keeping(self._cache[key], ndim)

    # --- sums of products ---

    def _sum(self, p: Polynomial, places: Places) -> Node:
        """The terms, with what they share pulled out if that is cheaper."""
        if len(p) <= 1:
            m, c = next(iter(p.items()), (terms.ONE, Fraction(0)))
            return self._product(m, c, places)
        if len(p) > MANY:  # halves within halves: no deeper than it has to be
            items = list(p.items())
            halves = [self._sum(dict(part), places) for part in (items[: len(p) // 2], items[len(p) // 2 :])]
            return Node("add", tuple(halves), joined(halves[0].axes, halves[1].axes))
        options = []
        shared = shared_factors(p)
        numbers = sorted({abs(c) for c in p.values()}, key=lambda c: (c.denominator, c))
        numbers = numbers if len(numbers) == 1 else [Fraction(1), *numbers[:3]]
        for factors, c in [*[(shared, c) for c in numbers], ({}, Fraction(1))]:
            inverse = {f: -e for f, e in factors.items()}
            rest = terms.scale(terms.multiply(p, {tuple(sorted(inverse.items())): Fraction(1)}), 1 / c)
            if len(rest) != len(p):
                continue
            inside = self._terms(rest, places)
            outside = tuple(sorted(factors.items()))
            options.append(self._product(outside, c, places, inside) if factors or c != 1 else inside)
        return min(options, key=passes)

    def _terms(self, p: Polynomial, places: Places) -> Node:
        """a + b - c: a positive term first, short ones before long ones."""
        ordered = sorted(
            p.items(), key=lambda mc: (mc[1] < 0, not mc[0] and mc[1] > 0, len(mc[0]), [*map(self._rank, mc[0])])
        )
        result = None
        for m, c in ordered:
            if result is None:
                result = self._product(m, c, places)
            else:
                term = self._product(m, abs(c), places)
                result = Node("sub" if c < 0 else "add", (result, term), joined(result.axes, term.axes))
        assert result is not None
        return result

    def _product(self, m: Monomial, c: Fraction, places: Places, inside: Node | None = None) -> Node:
        """A number times factors, small tensors first, so that few elements are multiplied often."""
        above: list[Node] = [] if inside is None else [inside]
        below: list[Node] = []
        for factor, e in sorted(m, key=self._rank):
            node, c = self._averaged(factor, e, c, places)
            if node is not None:
                above.append(node)
            elif factor[:2] == ("function", "exp"):
                above.append(self._exponential(factor, e, places))
            elif e > 0 or (Fraction(e).denominator != 1):
                above.append(powered(self._factor(factor, places), e))
            else:
                below.append(powered(self._factor(factor, places), -e))
        sign, c = (-1, -c) if c < 0 else (1, c)
        steps: list[tuple[int, int, int, Node]] = sorted(
            [(n.size, k, i, n) for k, ns in enumerate((above, below)) for i, n in enumerate(ns)]
        )
        if steps and steps[0][1] and above:  # a numerator first
            first = next(i for i, step in enumerate(steps) if not step[1])
            steps.insert(0, steps.pop(first))
        smallest = steps[0][0] if steps else 1
        result: Node | None = None
        top, bottom = Fraction(c.numerator), Fraction(c.denominator)
        decimal = None if _simple(c) else c
        if decimal is not None:
            top, bottom = decimal, Fraction(1)
        if top != 1 or not above or (steps and steps[0][1] == 1):
            result = Node("number", data=top)
        divided = bottom == 1
        for size, k, _, n in steps:
            if not divided and (size > smallest or (k and result is not None and result.kind != "number")):
                result = Node(
                    "div",
                    (result or Node("number", data=Fraction(1)), Node("number", data=bottom)),
                    result.axes if result else (),
                )
                divided = True
            if result is None or (result.kind == "number" and result.data == 1 and k == 0):
                result = n
            else:
                result = Node(("mul", "div")[k], (result, n), joined(result.axes, n.axes))
        if result is None:
            result = Node("number", data=top)
        if not divided:
            if result.kind == "number":
                result = Node("number", data=result.data / bottom)
            else:
                result = Node("div", (result, Node("number", data=bottom)), result.axes)
        if sign < 0:
            return negated(result)
        return result

    def _averaged(self, factor: Factor, e: Any, c: Fraction, places: Places) -> tuple[Node | None, Fraction]:
        """Σ / n as a mean, if the coefficient has the n."""
        if factor[0] != "sum" or e != 1:
            return None, c
        n = math.prod([i[1] for i in factor[1]])
        if c.denominator % n:
            return None, c
        node = self._factor(factor, places)
        return _with_kind(node, "mean"), c * n

    def _exponential(self, factor: Factor, e: Any, places: Places) -> Node:
        inside = self._sum(terms.scale(dict(factor[2]), e), places)
        return Node("call", (inside,), inside.axes, "exp")

    def _rank(self, power: tuple[Factor, Any]) -> tuple[Any, ...]:
        """What is written first: a tensor before a sum, and the older tensor."""
        factor, e = power
        orders = sorted(map(self._order, names_in_factor(factor)))
        return factor[0] not in ("entry", "hot"), orders[:1], len(orders), orders, e

    # --- factors ---

    def _factor(self, factor: Factor, places: Places) -> Node:
        match factor[0]:
            case "entry":
                return self._entry(factor[1], factor[2], places)
            case "hot":
                return self._onehot(factor, places)
            case "sum":
                return self._reduced(factor, places)
            case "power":
                return self._sum(dict(factor[1]), places)
        inside = self._sum(dict(factor[2]), places)
        return Node("call", (inside,), inside.axes, factor[1])

    def _entry(self, name: str, indices: Sequence[Index], places: Places) -> Node:
        shape = self.shapes[name]
        own = free_indices(shape)
        if name in self.onehots:
            called, classes = self.onehots[name]
            axes = tuple([indices[own.index(i)] if i in own else None for i in all_axes(shape)])
            return moved(Node("onehot", (), axes, (called, classes, "")), places)
        if name in self.inline:
            key = name, tuple(indices), tuple([places[i] for i in indices])
            if key not in self._cache:
                names = dict(zip(own, indices, strict=True))
                self._cache[key] = self._sum(sums.renamed(self.inline[name], names), places)
            return self._cache[key]
        axes = tuple([indices[own.index(i)] if i in own else None for i in all_axes(shape)])
        cost = self._atom(name)
        return moved(Node("atom", (), axes, (name, cost)) if cost else Node("name", (), axes, name), places)

    def _onehot(self, factor: Factor, places: Places) -> Node:
        _, name, indices, index = factor
        shape = self.shapes[name]
        axes = (*indices, index)
        squeezed = f".view({', '.join(map(str, [i[1] for i in axes]))})" if len(indices) != len(shape) else ""
        return moved(Node("onehot", (), axes, (name, index[1], squeezed)), places)

    def _reduced(self, factor: Factor, places: Places) -> Node:
        """Σ along the axes where the bound indices lie by nature, with ``keepdim`` if the others need it."""
        bound, m = factor[1], factor[2]
        free = sums.indices_of(factor)
        natural = self._natural(m)
        if natural is not None:
            for keepdim in (False, True):
                left = sorted([k for i, k in natural.items() if i not in bound])
                after = {
                    i: k if keepdim else k - sum([natural[b] < k for b in bound])
                    for i, k in natural.items()
                    if i in free
                }
                if all(after[i] == places[i] for i in free) and len(left) == len(set(left)):
                    return self._summed(bound, m, natural, keepdim)
        inside = {i: places[i] for i in free}
        for b in bound:
            wanted = (natural or {}).get(b)
            taken = set(inside.values())
            inside[b] = (
                wanted
                if wanted is not None and wanted not in taken
                else next(k for k in range(len(taken) + 1) if k not in taken)
            )
        return self._summed(bound, m, inside, True)

    def _summed(self, bound: Sequence[Index], m: Monomial, places: Places, keepdim: bool) -> Node:
        body = self._sum({m: Fraction(1)}, places)
        dims = tuple(sorted(len(body.axes) - 1 - places[b] for b in bound))
        left = [i for i in body.axes if i is not None and i not in bound]
        keepdim = keepdim and bool(left)
        axes = tuple([None if i in bound else i for i in body.axes if keepdim or i not in bound])
        everything = not left and len(dims) == sum(i is not None for i in body.axes)
        if not left:
            axes = ()
        return Node("sum", (body,), axes, (None if everything else dims, keepdim))

    def _natural(self, m: Monomial) -> dict[Index, int] | None:
        """The axis of each index in the tensors of a product, if they agree."""
        found: dict[Index, int] = {}
        for factor, _ in m:
            pairs: list[tuple[Index, int]] = []
            if factor[0] == "entry":
                own = free_indices(self.shapes[factor[1]])
                pairs = [(i, k[0]) for i, k in zip(factor[2], own, strict=True)]
            elif factor[0] == "hot":
                axes = (*factor[2], factor[3])
                pairs = [(i, len(axes) - 1 - k) for k, i in enumerate(axes)]
            else:
                inside = [fe for n in ([factor[2]] if factor[0] == "sum" else [n for n, _ in factor[-1]]) for fe in n]
                theirs = self._natural(tuple(inside))
                if theirs is None:
                    return None
                pairs = [(i, k) for i, k in theirs.items() if i in sums.indices_of(factor)]
            for i, k in pairs:
                if found.setdefault(i, k) != k:
                    return None
        return found if len(set(found.values())) == len(found) else None


# --- pieces ---


def keeping(node: Node, ndim: int) -> Node:
    """A formula whose sums keep their axes, if it has too few without."""
    if len(node.axes) >= ndim:
        return node
    if node.kind in ("sum", "mean"):
        (body,), (dims, _) = node.args, node.data
        if dims is None or len(body.axes) != ndim:
            return node
        return Node(
            node.kind, (body,), tuple([None if k in dims else i for k, i in enumerate(body.axes)]), (dims, True)
        )
    args = tuple([keeping(a, ndim) for a in node.args])
    axes: tuple[Index | None, ...] = ()
    for a in args:
        axes = joined(axes, a.axes)
    return Node(node.kind, args, axes, node.data) if node.kind in ELEMENTWISE else node


def all_axes(shape: Sequence[int]) -> list[Index]:
    """An index for every axis."""
    return [(len(shape) - 1 - k, n) for k, n in enumerate(shape)]


def joined(a: Sequence[Index | None], b: Sequence[Index | None]) -> tuple[Index | None, ...]:
    """The axes of an elementwise result: broadcast from the right."""
    n = max(len(a), len(b))
    pairs = zip([None] * (n - len(a)) + list(a), [None] * (n - len(b)) + list(b), strict=True)
    return tuple([i if i is not None else j for i, j in pairs])


def powered(node: Node, e: Any) -> Node:
    """``node ** e``."""
    if e == 1:
        return node
    return Node("call", (node,), node.axes, "sqrt") if e == Fraction(1, 2) else Node("pow", (node,), node.axes, e)


def negated(node: Node) -> Node:
    """Minus a piece: a difference the other way round, or a sign in front."""
    if node.kind == "number":
        return Node("number", data=-node.data)
    if node.kind == "neg":
        return node.args[0]
    if node.kind == "sub" and negated(node.args[0]).kind == "neg":  # a - b: as b - a
        return Node("sub", node.args[::-1], node.axes)
    if node.kind in ("mul", "div"):
        return Node(node.kind, (negated(node.args[0]), node.args[1]), node.axes)
    return Node("neg", (node,), node.axes)


def moved(node: Node, places: Places) -> Node:
    """A tensor with its axes where they are wanted: transposed, and with axes of size 1 put in."""
    n = len(node.axes)
    if all(i is None or places[i] == n - 1 - k for k, i in enumerate(node.axes)):
        return node
    present = [i for i in node.axes if i is not None]
    wanted = sorted(present, key=lambda i: -places[i])
    if present != wanted:
        if len(node.axes) == 2:
            node = Node("view", (node,), node.axes[::-1], ".T")
        else:
            order = [k for k, i in enumerate(node.axes) if i is None] + [node.axes.index(i) for i in wanted]
            axes = tuple([node.axes[k] for k in order])
            node = Node("view", (node,), axes, f".permute({', '.join(map(str, order))})")
        return moved(node, places)
    width = places[wanted[0]] + 1
    axes = tuple([next((i for i in wanted if places[i] == width - 1 - k), None) for k in range(width)])
    if None in node.axes:
        sizes = ", ".join([str(1 if i is None else i[1]) for i in axes])
        return Node("view", (node,), axes, f".reshape({sizes})")
    return Node("view", (node,), axes, f"[{', '.join([':' if i is not None else 'None' for i in axes])}]")


def _with_kind(node: Node, kind: str) -> Node:
    return Node(kind, node.args, node.axes, node.data)


def _simple(c: Fraction) -> bool:
    """Whether a coefficient reads well as a ratio."""
    return c.denominator <= 1_000_000 and c.numerator <= 1_000_000
