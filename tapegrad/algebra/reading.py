"""From what a trace recorded to index notation: what each torch function does to the entries of a tensor.

A function that has no reading here is not an error: what it computes becomes one atom, called by its source text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import torch

from tapegrad.algebra import sums, terms
from tapegrad.algebra.atoms import Unreadable, inputs_of, source_of
from tapegrad.algebra.terms import Index, Polynomial
from tapegrad.source.expression import Expression

# Functions of one number that are taken as they are; sigmoid and exp are known to be positive.
FUNCTIONS = set("exp log tanh sigmoid sin cos abs erf log1p expm1 relu softplus sign".split())
POWERS = {"sqrt": Fraction(1, 2), "rsqrt": Fraction(-1, 2), "reciprocal": Fraction(-1), "square": Fraction(2)}
SAME = {"expand", "expand_as", "clone", "contiguous", "detach", "broadcast_to", "positive", "resolve_conj"}
RESHAPING = {"view", "reshape", "unsqueeze", "squeeze", "view_as", "flatten", "reshape_as"}
MOVING = {"permute", "transpose", "T", "mT", "t", "swapaxes", "movedim"}


def free_indices(shape: Sequence[int]) -> tuple[Index, ...]:
    """An index for each axis that is longer than 1, the leftmost first."""
    return tuple([(len(shape) - 1 - i, n) for i, n in enumerate(shape) if n != 1])


def fraction(value: Any) -> Fraction:
    """A number, exactly: as the simple fraction that rounds to it if there is one, else as the float that it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Unreadable
    exact = Fraction(value)
    simple = exact.limit_denominator(1_000_000)
    return simple if float(simple) == value else exact


def axes_from_right(shape: Sequence[int], dim: Any) -> list[int]:
    """The axes that a ``dim`` argument names, counted from the right."""
    n = len(shape)
    dims = range(n) if dim is None or dim in ((), []) else [dim] if isinstance(dim, int) else dim
    return [n - 1 - d % n for d in dims] if n else []


class Reader:
    """Reads expressions.

    Attributes:
        atoms: the expressions that were taken as atoms, by their text.
        spelled_out: of those, the ones that are functions of whole rows, in terms of sums.
        gradients: the names that are gradients.
    """

    def __init__(self) -> None:
        self.atoms: dict[str, Expression] = {}
        self.spelled_out: dict[str, Polynomial] = {}
        self.gradients: set[str] = set()
        self._read: dict[Expression, Polynomial] = {}

    def read(self, expression: Expression) -> Polynomial:
        """What an expression is, element by element: a free index for each of its axes."""
        if expression not in self._read:
            try:
                self._read[expression] = self._reading(expression)
            except Unreadable:
                self._read[expression] = self.atom(expression)
        return self._read[expression]

    def atom(self, expression: Expression) -> Polynomial:
        """An expression as an entry of a tensor that is called by its source; integers and booleans as numbers."""
        name = self.name(expression)
        if not expression.value.is_floating_point():
            name = f"{source_of(expression, within=True)}.to(torch.float64)"
            self.atoms[name] = expression
        return terms.single(terms.entry(name, free_indices(expression.value.shape)))

    def name(self, expression: Expression) -> str:
        """What an atom is called: an input by its name, anything else by its source."""
        if expression.kind == "input":
            return str(expression.name)
        if not expression.value.is_floating_point():
            for part in inputs_of(expression):  # y.masked_fill(y == -100, 0).unsqueeze(1), where all of y is valid
                if part.value.dtype == expression.value.dtype and same_entries(part.value, expression.value):
                    return str(part.name)
        text = source_of(expression)
        self.atoms[text] = expression
        return text

    def _reading(self, e: Expression) -> Polynomial:
        if not isinstance(e.value, torch.Tensor):
            raise Unreadable
        if e.number is not None:
            return terms.number(fraction(e.number))
        if not e.value.is_floating_point() and is_uniform(e.value):
            return terms.number(int(e.value.reshape(-1)[0]))
        match e.kind:
            case "filled":
                return terms.number(fraction(e.args[0]))
            case "infix":
                return self._infix(e)
            case "prefix" if e.name == "neg":
                return terms.scale(self.read(e.args[0]), -1)
            case "index":
                return self._index(e)
            case "after":
                return self._written(e)
            case "call" if e.name is torch.zeros:  # its value is no guide: it may have been written into since
                return terms.number(0)
            case "method" | "call" | "attribute":
                return self._function(e)
        raise Unreadable

    def _operand(self, value: Any) -> Polynomial:
        return self.read(value) if isinstance(value, Expression) else terms.number(fraction(value))

    def _unit(self, value: Any) -> Polynomial:
        """An operand of a product: ``x - x.mean(0)`` within a rule is a tensor, as if it had a name."""
        p = self._operand(value)
        if len(p) < 2 or not isinstance(value, Expression) or value.name not in ("add", "sub"):
            return p
        has_sum = any(factor[0] == "sum" for m in p for factor, _ in m)
        if not has_sum or any(part.name in self.gradients for part in inputs_of(value)):
            return p
        self.spelled_out[self.name(value)] = p
        return self.atom(value)

    def _infix(self, e: Expression) -> Polynomial:
        a, b = e.args
        if e.name == "pow":
            exponent = fraction(b.number if isinstance(b, Expression) else b)
            if exponent.denominator > 12 or abs(exponent) > 12:
                raise Unreadable
            return terms.power(self._unit(a), exponent)
        match e.name:
            case "add":
                return terms.add(self._operand(a), self._operand(b))
            case "sub":
                return terms.add(self._operand(a), terms.scale(self._operand(b), -1))
            case "mul":
                return terms.multiply(self._unit(a), self._unit(b))
            case "div":
                divisor = self._unit(b)
                if not divisor:
                    raise Unreadable
                return terms.multiply(self._unit(a), terms.power(divisor, -1))
        raise Unreadable

    def _function(self, e: Expression) -> Polynomial:
        name = e.name if isinstance(e.name, str) else e.name.__name__
        x = e.args[0] if e.args else None
        if not isinstance(x, Expression):
            raise Unreadable
        if name in SAME:
            return self.read(x)
        if name in ("to", "double") and e.value.is_floating_point():
            return self.read(x)
        if name == "masked_fill" and isinstance(e.args[1], Expression) and self.read(e.args[1]) == {}:
            return self.read(x)  # a mask that masks nothing
        if name == "where" and len(e.args) == 3 and not e.kwargs and self._operand(e.args[2]) == {}:
            return self._where_hot(x, e.args[1])
        if name in FUNCTIONS and len(e.args) == 1 and not e.kwargs:
            return terms.function(name, self.read(x))
        if name in POWERS and len(e.args) == 1:
            return terms.power(self.read(x), POWERS[name])
        if name in ("sum", "mean"):
            return self._reduced(e, x, name)
        if name in RESHAPING:
            return reshaped(self.read(x), x.value.shape, e.value.shape)
        if name in MOVING:
            return self._moved(e, x)
        if name in ("logsumexp", "softmax", "log_softmax", "var"):
            atom = self.atom(e)
            self.spelled_out[self.name(e)] = self._spelled_out(e, x, name)
            return atom
        if name == "gather":
            return self._gathered(e, x)
        if name == "one_hot":
            column = (0, e.value.shape[-1])
            rows = [(axis + 1, n) for axis, n in free_indices(x.value.shape)]
            return terms.single(("hot", self.name(x), tuple(rows), column)) if column[1] > 1 else terms.number(1)
        if name == "index_put" and self.read(x) == {} and (e.args[3:] == (True,) or e.kwargs == {"accumulate": True}):
            return self._put(list(e.args[1]), self._operand(e.args[2]), e.value.shape)
        if name in ("scatter_add", "scatter", "scatter_") and self.read(x) == {}:
            dim, index, source = e.args[1:4]
            return self._scattered(dim, index, source, e.value.shape)
        raise Unreadable

    def _where_hot(self, mask: Expression, value: Any) -> Polynomial:
        """``where(mask, value, 0)`` of a mask that has one entry in each row: δ times the value."""
        hot = self.read(mask)
        if any(factor[0] != "hot" for m in hot for factor, _ in m):
            raise Unreadable
        return terms.multiply(hot, self._operand(value))

    def _reduced(self, e: Expression, x: Expression, name: str) -> Polynomial:
        values = {**dict(zip(("dim", "keepdim"), e.args[1:], strict=False)), **e.kwargs}
        if not set(values) <= {"dim", "keepdim"}:
            raise Unreadable
        axes = axes_from_right(x.value.shape, values.get("dim"))
        keepdim = values.get("keepdim", False)
        result = summed(self.read(x), x.value.shape, axes, keepdim)
        n = math.prod([x.value.shape[::-1][a] for a in axes])
        return terms.scale(result, Fraction(1, n)) if name == "mean" and n else result

    def _spelled_out(self, e: Expression, x: Expression, name: str) -> Polynomial:
        """Functions of a whole row, in terms of sums."""
        values = {**dict(zip(("dim", "keepdim"), e.args[1:], strict=False)), **e.kwargs}
        if name == "var":
            axes, keep = axes_from_right(x.value.shape, values.get("dim")), values.get("keepdim", False)
            n = math.prod([x.value.shape[::-1][a] for a in axes])
            freedom = fraction(n - values.get("correction", 1))
            if freedom <= 0 or not set(values) <= {"dim", "keepdim", "correction"}:
                raise Unreadable
            mean = terms.scale(summed(self.read(x), x.value.shape, axes, True), Fraction(1, n))
            deviation = terms.add(self.read(x), terms.scale(mean, -1))
            squares = terms.power(deviation, 2)
            return terms.scale(summed(squares, x.value.shape, axes, keep), 1 / freedom)
        axes = axes_from_right(x.value.shape, values.get("dim"))
        exponentials = terms.function("exp", self.read(x))
        if name == "logsumexp":
            keep = values.get("keepdim", False)
            return terms.function("log", summed(exponentials, x.value.shape, axes, keep))
        total = summed(exponentials, x.value.shape, axes, True)
        if name == "softmax":
            return terms.multiply(exponentials, terms.power(total, -1))
        return terms.add(self.read(x), terms.scale(terms.function("log", total), -1))

    def _moved(self, e: Expression, x: Expression) -> Polynomial:
        """A transposition: found by moving the axes of a small tensor whose sizes tell them apart."""
        n = x.value.ndim
        probe = torch.empty(tuple(range(2, 2 + n)), device="meta")
        arguments = e.args[1:]
        if e.kind == "attribute":
            after = getattr(probe, e.name)
        else:
            after = getattr(torch.Tensor, e.name if isinstance(e.name, str) else e.name.__name__)(
                probe, *arguments, **e.kwargs
            )
        shape = x.value.shape
        names = {
            (n - 1 - (old - 2), shape[old - 2]): (n - 1 - new, shape[old - 2]) for new, old in enumerate(after.shape)
        }
        return sums.renamed(self.read(x), names)

    # --- indices that are tensors ---

    def _index(self, e: Expression) -> Polynomial:
        """``x[arange, y]`` is Σ_j δ(j, y[i]) x[i, j]; slices of everything and None only move axes."""
        x, index = e.args
        entries = list(index) if isinstance(index, tuple) else [index]
        if all(isinstance(i, Expression) for i in entries):
            return self._picked(x, entries, e.value.shape)
        if _only_moves_axes(entries, x.value, e.value):
            return reshaped(self.read(x), x.value.shape, e.value.shape)
        raise Unreadable

    def _picked(self, x: Expression, entries: Sequence[Expression], shape: torch.Size) -> Polynomial:
        place = [self._position(i, x.value.shape[d], shape, len(entries), x) for d, i in enumerate(entries)]
        n = x.value.ndim
        old = {i: (sums.fresh_label(), i[1]) for i in free_indices(x.value.shape)}
        body = sums.renamed(self.read(x), old)
        bound, hots = [], []
        rest = n - len(entries)  # axes that the index leaves as they are, the last ones
        names = {old[i]: i for i in free_indices(x.value.shape) if i[0] < rest}
        for d, where in enumerate(place):
            axis = (n - 1 - d, x.value.shape[d])
            if axis not in old:
                continue
            if isinstance(where, int):
                names[old[axis]] = (where, axis[1])
            else:
                bound.append(old[axis])
                hots.append(terms.single(("hot", *where, old[axis])))
        return sums.renamed(sums.sum_over(bound, terms.multiply(body, *hots)), names)

    def _position(self, i: Expression, size: int, shape: torch.Size, given: int, x: Expression) -> Any:
        """Where an index tensor points: along an axis of the result, or as its entries say."""
        value = i.value
        if value.dtype not in (torch.long, torch.int32, torch.int16, torch.uint8, torch.int8):
            raise Unreadable
        rest = x.value.ndim - given  # the axes behind those of the index
        for axis, n in free_indices(value.shape):
            if n == size and value.equal(
                torch.arange(n, device=value.device).to(value).view(-1, *[1] * axis).expand_as(value)
            ):
                return axis + rest
        if value.numel() and int(value.min()) < 0:
            raise Unreadable
        indices = tuple([(axis + rest, n) for axis, n in free_indices(value.shape)])
        return self.name(i), indices

    def _written(self, e: Expression) -> Polynomial:
        """Zeros with something written or added at an index, each place once for each entry of what is written."""
        buffer, write = e.args
        if write.name not in ("setitem", "index_put_") or not self._is_zero(buffer.args[0]):
            raise Unreadable
        _, index, given, *rest = write.args
        if write.name == "index_put_" and not (rest or write.kwargs.get("accumulate")):
            raise Unreadable
        entries = list(index) if isinstance(index, (tuple, list)) else [index]
        if isinstance(given, Expression) and _only_moves_axes(entries, e.value, given.value):
            return reshaped(self._operand(given), given.value.shape, e.value.shape)
        if not all(isinstance(i, Expression) for i in entries):
            raise Unreadable
        return self._put(entries, self._operand(given), e.value.shape)

    def _is_zero(self, e: Expression) -> bool:
        return isinstance(e, Expression) and self.read(e) == {}

    def _put(self, entries: Sequence[Expression], given: Polynomial, shape: torch.Size) -> Polynomial:
        """What is added at ``[arange, y]``: δ(j, y[i]) g[i]. Only where each axis of the index is one of the result."""
        n = len(shape)
        rest = n - len(entries)
        whole = torch.broadcast_shapes(*[i.value.shape for i in entries])
        blank = Expression("input", "", (), {}, torch.empty(shape, device="meta"))
        names: dict[Index, Index] = {}
        hots = []
        for d, i in enumerate(entries):
            axis = (n - 1 - d, shape[d])
            where = self._position(i, shape[d], shape, len(entries), blank)
            if isinstance(where, int):
                names[(where, shape[d])] = axis
            elif shape[d] > 1:
                hots.append(("hot", *where, axis))
        if any((axis + rest, size) not in names for axis, size in free_indices(whole)):
            raise Unreadable  # an axis of the index would be summed over: left to torch
        old = {i: (sums.fresh_label(), i[1]) for i in names}
        body = terms.multiply(sums.renamed(given, old), *[_hot(h, old) for h in hots])
        return sums.renamed(body, {old[i]: names[i] for i in names})

    def _gathered(self, e: Expression, x: Expression) -> Polynomial:
        """``x.gather(1, y)[i, k]`` is Σ_j δ(j, y[i, k]) x[i, j]."""
        dim, index = e.args[1], e.args[2]
        n = x.value.ndim
        axis = n - 1 - dim % n
        size = x.value.shape[dim]
        others = [i for i in range(n) if i != dim % n]
        if any(index.value.shape[i] != x.value.shape[i] for i in others) or size == 1:
            raise Unreadable
        fresh = (sums.fresh_label(), size)
        body = sums.renamed(self.read(x), {(axis, size): fresh})
        hot = terms.single(("hot", self.name(index), free_indices(index.value.shape), fresh))
        return sums.sum_over([fresh], terms.multiply(body, hot))

    def _scattered(self, dim: int, index: Expression, source: Any, shape: torch.Size) -> Polynomial:
        """Its transpose: Σ_k δ(j, y[i, k]) g[i, k]."""
        n = len(shape)
        axis = n - 1 - dim % n
        size = shape[dim]
        others = [i for i in range(n) if i != dim % n]
        if any(index.value.shape[i] != shape[i] for i in others) or size == 1 or index.value.shape[dim] != 1:
            raise Unreadable
        hot = terms.single(("hot", self.name(index), free_indices(index.value.shape), (axis, size)))
        return terms.multiply(hot, self._operand(source))


def same_entries(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors differ in axes of size 1 only."""
    sizes = [[n for n in t.shape if n != 1] for t in (a, b)]
    return sizes[0] == sizes[1] and a.reshape(-1).equal(b.reshape(-1))


def _only_moves_axes(entries: Sequence[Any], whole: torch.Tensor, part: torch.Tensor) -> bool:
    """Whether an index takes all there is: None, ``...``, slices of everything, and numbers in axes of size 1."""
    return whole.numel() == part.numel() and all(
        i is None or i is Ellipsis or isinstance(i, int) or (isinstance(i, slice) and i == slice(None)) for i in entries
    )


def is_uniform(value: torch.Tensor) -> bool:
    """Whether integers or booleans, which come from the data and not from parameters, are all the same."""
    return value.numel() > 0 and bool((value == value.reshape(-1)[0]).all())


def _hot(hot: Any, names: Any) -> Polynomial:
    """δ with the indices of its integer tensor renamed, the other left."""
    return terms.single((hot[0], hot[1], tuple([names.get(i, i) for i in hot[2]]), hot[3]))


def summed(p: Polynomial, shape: Sequence[int], axes: Sequence[int], keepdim: bool) -> Polynomial:
    """Σ over axes, counted from the right; without ``keepdim`` the axes to their left move up."""
    shape = list(shape)[::-1]
    fresh = {(a, shape[a]): (sums.fresh_label(), shape[a]) for a in axes if shape[a] != 1}
    p = sums.sum_over(fresh.values(), sums.renamed(p, fresh))
    if keepdim:
        return p
    left = [a for a in range(len(shape)) if a not in axes]
    return sums.renamed(p, {(a, shape[a]): (new, shape[a]) for new, a in enumerate(left)})


def reshaped(p: Polynomial, old: Sequence[int], new: Sequence[int]) -> Polynomial:
    """A view that adds or drops axes of size 1; one that merges axes cannot be read."""
    before, after = free_indices(old), free_indices(new)
    if [n for _, n in before] != [n for _, n in after]:
        raise Unreadable
    return sums.renamed(p, dict(zip(before, after, strict=True)))
