"""Index notation: what a tensor is element by element, as a sum of products of indexed entries.

``probs - onehot(Yb)`` is ``probs[i, j] - δ(j, Yb[i])``. Axes are counted from the right and an axis of size 1 has no
index, so that broadcasting and ``keepdim`` need no rule: ``x[i, j] * s[i]`` is a product like any other.

A **polynomial** is a dict from monomial to coefficient, an exact fraction. A **monomial** is a sorted tuple of
(factor, exponent); exponents may be negative (Laurent) or fractional (roots). A **factor** is a tuple:

    ("entry", name, indices)        an element of a tensor that has a name
    ("hot", name, indices, index)   δ: 1 where ``index`` equals that element of an integer tensor, else 0
    ("sum", indices, monomial)      Σ over bound indices of a monomial
    ("power", polynomial)           a sum that is raised to a negative or fractional power, as one unit
    ("function", name, polynomial)  a function of one number, such as log

Equal expressions have equal normal forms as far as the rules here reach: distribute, x^a x^b = x^(a+b), δ² = δ, Σ is
linear, what lacks the index leaves the Σ, Σ 1 = n, Σ_j δ(j, y) = 1, exp(c x) = exp(x)^c. Factors are plain tuples, for
hashing and sorting them is all that happens here, and it happens often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import lru_cache, reduce
from itertools import count, permutations
from typing import Any

Index = tuple[int, int]  # a label, and the size of the axis; a free index's label is its axis, from the right
Factor = tuple[Any, ...]
Monomial = tuple[tuple[Factor, Any], ...]
Polynomial = dict[Monomial, Fraction]

BOUND = 100  # labels from here on are bound by a Σ; the further out, the higher
_FRESH = 10_000  # labels from here on are in use only while a Σ is open
_WIDEST = 400  # terms of a polynomial, beyond which the work is given up

ONE: Monomial = ()
ONEHOT_SUM = Fraction(1)  # Σ_j δ(j, y)
fresh_label = count(_FRESH).__next__


class TooMuch(Exception):
    """The expression grows beyond what is worth following."""


def size_of(index: Index) -> int:
    """Σ 1 over an index."""
    return index[1]


# --- making polynomials ---


def number(value: Any) -> Polynomial:
    """A constant."""
    value = Fraction(value)
    return {ONE: value} if value else {}


def single(factor: Factor, exponent: Any = 1) -> Polynomial:
    """A factor alone."""
    return {((factor, exponent),): Fraction(1)}


def entry(name: str, indices: Iterable[Index]) -> Factor:
    """An element of a tensor."""
    return ("entry", name, tuple(indices))


def constant(p: Polynomial) -> Fraction | None:
    """The number that a polynomial is, if it is one."""
    if not p:
        return Fraction(0)
    return p[ONE] if len(p) == 1 and ONE in p else None


def frozen(p: Polynomial) -> tuple[Any, ...]:
    """A polynomial as a factor holds it."""
    return tuple(sorted(p.items()))


# --- arithmetic ---


def add(*polynomials: Polynomial) -> Polynomial:
    """Their sum; like terms are collected."""
    if len(polynomials) == 1:
        return polynomials[0]
    total: Polynomial = {}
    for p in polynomials:
        for m, c in p.items():
            if m not in total:
                total[m] = c
            elif c := c + total[m]:
                total[m] = c
            else:
                del total[m]
    return total


def scale(p: Polynomial, c: Any) -> Polynomial:
    """A polynomial times a number."""
    if c == 1:
        return p
    return {m: v * c for m, v in p.items()} if c else {}


def multiply(*polynomials: Polynomial) -> Polynomial:
    """Their product, multiplied out."""
    return reduce(_times, polynomials) if polynomials else number(1)


def _times(p: Polynomial, q: Polynomial) -> Polynomial:
    if len(p) * len(q) > _WIDEST:
        raise TooMuch
    if len(p) == 1 and ONE in p:
        return scale(q, p[ONE])
    if len(q) == 1 and ONE in q:
        return scale(p, q[ONE])
    return add(*[scale(scale(_product(m, n), c), d) for m, c in p.items() for n, d in q.items()])


def _product(m: Iterable[tuple[Factor, Any]], n: Monomial) -> Polynomial:
    """x^a x^b = x^(a+b)."""
    exponents = dict(m)
    for factor, e in n:
        exponents[factor] = exponents.get(factor, 0) + e
    return _collected(exponents)


def _collected(exponents: Mapping[Factor, Any]) -> Polynomial:
    """A product of powers: a sum to a positive whole power is multiplied out, and others cancel against it."""
    opened = []
    kept = []
    for factor, e in exponents.items():
        e = int(e) if e == int(e) else e
        if factor[0] == "hot" and e > 0:
            e = 1
        if factor[0] == "power" and type(e) is int and e > 0:
            opened += [dict(factor[1])] * e
        elif e:
            kept.append((factor, e))
    m = tuple(sorted(kept))
    result = {m: Fraction(1)}
    if opened:
        return multiply(result, *opened)
    for factor, e in kept:
        if factor[0] == "power" and e < 0 and (shorter := _cancelled(m, factor, e)) is not None:
            return shorter
    return result


def leading(factor: Factor) -> tuple[Monomial, Fraction] | None:
    """The term of a sum in a denominator that is expressed by the others: the one of the highest degree."""
    terms = [(sum(e for _, e in m), m, c) for m, c in factor[1] if m and all(e > 0 for _, e in m)]
    return max(terms)[1:] if len(factor[1]) > 1 and terms else None


def _cancelled(m: Monomial, denominator: Factor, e: Any) -> Polynomial | None:
    """Partial fractions: x / (1 + x) = 1 - 1 / (1 + x), and 1 / (x (1 + x)) = 1 / x - 1 / (1 + x).

    A numerator loses the leading term of a sum that it is divided by; beside a sum of two terms, one of them a number,
    a divisor loses it too. Returns None if there is nothing to cancel.
    """
    lead = leading(denominator)
    if lead is None:
        return None
    exponents = dict(m)
    terms = dict(denominator[1])
    if all(exponents.get(factor, 0) >= k for factor, k in lead[0]):
        pivot, c = lead
    elif len(terms) == 2 and ONE in terms and all(exponents.get(factor, 0) < 0 for factor, _ in lead[0]):
        pivot, c = ONE, terms[ONE]
    else:
        return None
    rest = {**exponents, **{f: exponents[f] - k for f, k in pivot}}
    others = [scale(_product(rest.items(), n), -v) for n, v in terms.items() if n != pivot]
    raised = {**rest, denominator: e + 1}
    return scale(add(_collected(raised), *others), 1 / c)


# --- powers and functions ---


def power(p: Polynomial, e: Any) -> Polynomial:
    """``p ** e``, for a rational e.

    Of several terms, a negative power is one factor, after what all terms share has been taken out; a root is one unit
    as it stands. A product's root is its factors' only where no sign is lost: (x²)^½ is not x.
    """
    e = Fraction(e)
    if e.denominator == 1:
        e = int(e)
        if e == 0:
            return number(1)
        if e > 0 and len(p) ** e <= 32:
            return multiply(*[p] * e)
    if not p:
        return single(("power", ()), e)
    if len(p) == 1:
        ((m, c),) = p.items()
        root = root_of(c, e)
        if root is not None and (type(e) is int or _splits(m)):
            return scale(_collected({factor: k * e for factor, k in m}), root)
        return single(("power", frozen(p)), e)
    if type(e) is not int:
        return _collected({("power", frozen(p)): e})
    shared = common_factors(p)
    inverse = {factor: -k for factor, k in shared.items()}
    rest = _times(p, _collected(inverse)) if shared else p
    if len(rest) == 1:
        return multiply(power(rest, e), _collected({factor: k * e for factor, k in shared.items()}))
    unit = max(rest.items())[1]
    whole = {("power", frozen(scale(rest, 1 / unit))): e, **{factor: k * e for factor, k in shared.items()}}
    return scale(_collected(whole), unit**e)


def common_factors(p: Polynomial) -> dict[Factor, Any]:
    """What all terms can be divided by: for each factor the least exponent, an absent one being 0."""
    terms = [dict(m) for m in p]
    factors = {factor for m in terms for factor in m}
    least = {factor: min(m.get(factor, 0) for m in terms) for factor in factors}
    return {factor: e for factor, e in least.items() if e}


def root_of(c: Fraction, e: Any) -> Fraction | None:
    """``c ** e``, if it is a fraction."""
    if type(e) is int:
        return c**e
    if c <= 0:
        return None
    parts = [round(v ** (1 / e.denominator)) for v in (c.numerator, c.denominator)]
    exact = all(part**e.denominator == v for part, v in zip(parts, (c.numerator, c.denominator), strict=True))
    return Fraction(*parts) ** e.numerator if exact else None


def is_positive(factor: Factor) -> bool:
    """Whether a factor is never negative where it is defined."""
    return factor[:2] in (("function", "exp"), ("function", "sigmoid"), ("function", "abs")) or factor[0] == "hot"


def _splits(m: Monomial) -> bool:
    """Whether a root of a product is the product of the roots."""
    unknown = [e for factor, e in m if not is_positive(factor) and Fraction(e).denominator == 1]
    return not unknown or (len(unknown) == 1 and unknown[0] % 2 == 1)


def function(name: str, p: Polynomial) -> Polynomial:
    """A function of one number. exp(c x) = exp(x)^c, log(exp(x)) = x."""
    value = constant(p)
    if (name == "exp" and value == 0) or (name in ("log", "tanh") and value == (name == "log")):
        return number(name == "exp")
    if name == "exp" and p:
        c = max(p.items())[1]
        return _collected({("function", "exp", frozen(scale(p, 1 / c))): c})
    if name == "log" and len(p) == 1:
        ((m, c),) = p.items()
        if c == 1 and len(m) == 1 and m[0][0][:2] == ("function", "exp"):
            return scale(dict(m[0][0][2]), m[0][1])
    return single(("function", name, frozen(p)))


# --- indices ---


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
            return single(_renamed(factor, names), e)
        return None

    return mapped(p, change) if any(k != v for k, v in names.items()) else p


def _renamed(factor: Factor, names: Mapping[Index, Index]) -> Factor:
    """A factor with other indices, bound ones too, if it is one that they are renamed in without reordering."""
    match factor[0]:
        case "entry":
            return (*factor[:2], tuple([names.get(i, i) for i in factor[2]]))
        case "hot":
            return (*factor[:2], tuple([names.get(i, i) for i in factor[2]]), names.get(factor[3], factor[3]))
        case "sum":
            return ("sum", factor[1], _renamed_monomial(factor[2], names))
        case _:
            inside = tuple(sorted((_renamed_monomial(m, names), c) for m, c in factor[-1]))
            return (*factor[:-1], inside)


def _renamed_monomial(m: Monomial, names: Mapping[Index, Index]) -> Monomial:
    return tuple(sorted((_renamed(factor, names), e) for factor, e in m))


# --- sums ---


def opened(factor: Factor) -> tuple[list[Index], Monomial]:
    """The inside of a Σ, with bound indices that nothing else has."""
    fresh = {i: (fresh_label(), i[1]) for i in factor[1]}
    return list(fresh.values()), _renamed_monomial(factor[2], fresh)


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
    collected = _collected(exponents)
    if len(collected) != 1:
        return sum_over(bound, collected)
    ((m, c),) = collected.items()
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
        choices.append((tuple(names.values()), _renamed_monomial(m, names)))
    return single(("sum", *min(choices)))


@lru_cache(maxsize=100_000)
def _height(factor: Factor) -> int:
    """The highest label that is bound inside a factor."""
    match factor[0]:
        case "sum":
            return max([i[0] for i in factor[1]] + [_height(f) for f, _ in factor[2]])
        case "power" | "function":
            return max([_height(f) for m, _ in factor[-1] for f, _ in m], default=BOUND - 1)
    return BOUND - 1
