"""Indices: which are free and which are bound, other names for them, and Σ.

Bound indices are numbered from the inside out, so that equal sums are equal factors whatever their indices were called.
While a Σ is open its indices have labels that nothing else has; closing it gives them their numbers back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import count, permutations
from typing import Any

from tapegrad.algebra.terms import (
    Factor,
    Index,
    Monomial,
    Polynomial,
    add,
    collected,
    function,
    multiply,
    number,
    power,
    renamed_factor,
    renamed_monomial,
    scale,
    single,
)

BOUND = 100  # labels from here on are bound by a Σ; the further out, the higher
_FRESH = 10_000  # labels from here on are in use only while a Σ is open
ONEHOT_SUM = Fraction(1)  # Σ_j δ(j, y)
fresh_label = count(_FRESH).__next__


def size_of(index: Index) -> int:
    """Σ 1 over an index."""
    return index[1]


@lru_cache(maxsize=100_000)
def indices_of(factor: Factor) -> frozenset[Index]:
    """The free indices of a factor."""
    match factor[0]:
        case "entry":
            return frozenset(factor[2])
        case "hot":
            return frozenset((*factor[2], factor[3]))
        case "sum":
            return monomial_indices(factor[2]) - frozenset(factor[1])
        case _:
            return frozenset(i for m, _ in factor[-1] for i in monomial_indices(m))


def monomial_indices(m: Monomial) -> frozenset[Index]:
    """The free indices of a monomial."""
    return frozenset().union(*[indices_of(factor) for factor, _ in m])


def polynomial_indices(p: Polynomial) -> frozenset[Index]:
    """The free indices of a polynomial."""
    return frozenset().union(*map(monomial_indices, p))


def mapped(p: Polynomial, change: Callable[[Factor, Any], Polynomial | None]) -> Polynomial:
    """A polynomial with each power of a factor changed, inside Σ, powers and functions too, and normal again.

    Args:
        p: what to change.
        change: gives a factor's power as a polynomial, or None to look inside.
    """
    parts = []
    same = True
    for m, c in p.items():
        powers = [_mapped(factor, e, change) for factor, e in m]
        if all(new is None for new in powers):
            parts.append({m: c})
        else:
            same = False
            unchanged = {tuple([fe for fe, new in zip(m, powers, strict=True) if new is None]): c}
            parts.append(multiply(unchanged, *[new for new in powers if new is not None]))
    return p if same else add(*parts)


def _mapped(factor: Factor, e: Any, change: Callable[[Factor, Any], Polynomial | None]) -> Polynomial | None:
    """What becomes of a factor's power, or None if it stays as it is."""
    changed = change(factor, e)
    if changed is not None:
        return changed
    if factor[0] == "sum":
        bound, body = opened(factor)
        inside = {body: Fraction(1)}
        new = mapped(inside, change)
        return None if new is inside else power(sum_over(bound, new), e)
    if factor[0] in ("power", "function"):
        inside = dict(factor[-1])
        new = mapped(inside, change)
        if new is inside:
            return None
        return power(new if factor[0] == "power" else function(factor[1], new), e)
    return None


def renamed(p: Polynomial, names: Mapping[Index, Index]) -> Polynomial:
    """A polynomial with other free indices."""

    def change(factor: Factor, e: Any) -> Polynomial | None:
        if indices_of(factor).isdisjoint(names):
            return single(factor, e)
        if factor[0] in ("entry", "hot"):
            return single(renamed_factor(factor, names), e)
        return None

    return mapped(p, change) if any(k != v for k, v in names.items()) else p


# --- sums ---


def opened(factor: Factor) -> tuple[list[Index], Monomial]:
    """The inside of a Σ, with bound indices that nothing else has."""
    fresh = {i: (fresh_label(), i[1]) for i in factor[1]}
    return list(fresh.values()), renamed_monomial(factor[2], fresh)


def sum_over(indices: Iterable[Index], p: Polynomial) -> Polynomial:
    """Σ over some indices: linear, and what lacks the index leaves it."""
    indices = set(indices)
    return add(*[scale(_summed(set(indices), m), c) for m, c in p.items()])


def _summed(bound: set[Index], m: Monomial) -> Polynomial:
    """Σ of a monomial: nested sums become one, and a sum of independent products becomes a product of sums."""
    exponents: dict[Factor, Any] = {}
    for factor, e in m:
        body: Monomial = ((factor, e),)
        if factor[0] == "sum" and e == 1 and not bound.isdisjoint(indices_of(factor)):
            inner, body = opened(factor)
            bound.update(inner)
        for f, k in body:
            exponents[f] = exponents.get(f, 0) + k
    product = collected(exponents)
    if len(product) != 1:
        return sum_over(bound, product)
    ((m, c),) = product.items()
    result = {tuple([fe for fe in m if bound.isdisjoint(indices_of(fe[0]))]): c}
    for index in bound - monomial_indices(m):
        result = scale(result, size_of(index))
    for group in _hanging_together(bound, m):
        result = multiply(result, _sum_factor(bound & monomial_indices(group), group))
    return result


def _hanging_together(bound: set[Index], m: Monomial) -> list[Monomial]:
    """The factors that bound indices tie together, group by group."""
    groups: list[tuple[set[Index], list[Any]]] = []
    for factor, e in m:
        tied = bound & indices_of(factor)
        if not tied:
            continue
        others = [g for g in groups if not tied.isdisjoint(g[0])]
        groups = [g for g in groups if g not in others]
        members = [(factor, e), *[member for _, theirs in others for member in theirs]]
        groups.append((tied.union(*[g[0] for g in others]), members))
    return [tuple(sorted(members)) for _, members in groups]


def _sum_factor(bound: set[Index], m: Monomial) -> Polynomial:
    """Σ of a monomial whose factors hang together, by a name for each bound index that depends on nothing else."""
    if len(m) == 1 and m[0][0][0] == "hot" and bound == {m[0][0][3]}:
        return number(ONEHOT_SUM)
    height = max([BOUND - 1, *[_height(factor) for factor, _ in m]]) + 1
    ordered = sorted(bound, key=lambda i: i[1])
    orders = permutations(ordered) if len(ordered) <= 3 else [ordered]
    choices = []
    for order in orders:
        names = {i: (height + k, i[1]) for k, i in enumerate(order)}
        choices.append((tuple(names.values()), renamed_monomial(m, names)))
    return single(("sum", *min(choices)))


@lru_cache(maxsize=100_000)
def _height(factor: Factor) -> int:
    """The highest label that is bound inside a factor."""
    match factor[0]:
        case "sum":
            return max([*[int(i[0]) for i in factor[1]], *[_height(f) for f, _ in factor[2]]])
        case "power" | "function":
            return max([_height(f) for m, _ in factor[-1] for f, _ in m], default=BOUND - 1)
    return BOUND - 1
