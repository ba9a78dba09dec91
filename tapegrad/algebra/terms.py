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
linear, what lacks the index leaves the Σ, Σ 1 = n, Σ_j δ(j, y) = 1, δ(j, y) Σ_k δ(k, y) x[k] = δ(j, y) x[j], and
exp(c x) = exp(x)^c. Factors are plain tuples, for hashing and sorting them is all that happens here, and it happens
often.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import lru_cache, reduce
from typing import Any

Index = tuple[int, int]  # a label, and the size of the axis; a free index's label is its axis, from the right
Factor = tuple[Any, ...]
Monomial = tuple[tuple[Factor, Any], ...]
Polynomial = dict[Monomial, Fraction]

_DEEPEST = 60  # cancellations within one another
_NESTED = 25  # sums, powers and functions within one another
_HIGHEST = 1000  # exponent
_DIGITS = 600  # bits of a numerator or denominator
_WIDEST = 400  # terms of a polynomial, beyond which the work is given up

ONE: Monomial = ()


# What functions give for a number, which is then as exact as a float is.
_OF_NUMBERS: dict[str, Callable[[Any], float]] = {
    **{name: getattr(math, name) for name in ("exp", "log", "tanh", "sin", "cos", "erf", "log1p", "expm1")},
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "abs": abs,
    "relu": lambda x: max(x, 0),
}


class TooMuch(Exception):
    """An expression grows beyond what is worth following, or the effort that was allowed for it is spent."""


class _Effort(threading.local):
    """How many products may still be formed, and how deep cancelling has gone."""

    left = math.inf
    depth = 0


_effort = _Effort()


@contextmanager
def effort(products: float) -> Iterator[None]:
    """Allow for so many products of monomials, and no more than the surrounding allowance has left."""
    before = _effort.left
    allowed = _effort.left = min(products, before)
    try:
        yield
    finally:
        _effort.left = before - (allowed - _effort.left)


def spent() -> bool:
    """Whether the effort that was allowed is used up."""
    return _effort.left < 0


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
    if height(p) > _NESTED:
        raise TooMuch
    return tuple(sorted(p.items()))


def height(p: Polynomial) -> int:
    """How many sums, powers and functions stand within one another."""
    return max([_height(factor) for m in p for factor, _ in m], default=0)


@lru_cache(maxsize=100_000)
def _height(factor: Factor) -> int:
    """Likewise of a factor."""
    if factor[0] in ("entry", "hot"):
        return 0
    inside = [factor[2]] if factor[0] == "sum" else [m for m, _ in factor[-1]]
    return 1 + max([_height(f) for m in inside for f, _ in m], default=0)


# --- other names for indices ---


def renamed_factor(factor: Factor, names: Mapping[Index, Index]) -> Factor:
    """A factor with other indices, bound ones too, if it is one that they are renamed in without reordering."""
    match factor[0]:
        case "entry":
            return (*factor[:2], tuple([names.get(i, i) for i in factor[2]]))
        case "hot":
            return (*factor[:2], tuple([names.get(i, i) for i in factor[2]]), names.get(factor[3], factor[3]))
        case "sum":
            return ("sum", factor[1], renamed_monomial(factor[2], names))
        case _:
            inside = tuple(sorted((renamed_monomial(m, names), c) for m, c in factor[-1]))
            return (*factor[:-1], inside)


def renamed_monomial(m: Monomial, names: Mapping[Index, Index]) -> Monomial:
    """Likewise of a monomial."""
    return tuple(sorted((renamed_factor(factor, names), e) for factor, e in m))


# --- arithmetic ---


def add(*polynomials: Polynomial) -> Polynomial:
    """Their sum; like terms are collected."""
    if len(polynomials) == 1:
        return polynomials[0]
    total: Polynomial = {}
    for p in polynomials:
        for m, c in p.items():
            if m not in total or (c := c + total[m]):
                total[m] = c
            else:
                del total[m]
    return total


def scale(p: Polynomial, c: Any) -> Polynomial:
    """A polynomial times a number."""
    if c == 1:
        return p
    return {m: _short(v * c) for m, v in p.items()} if c else {}


def _short(c: Any) -> Fraction:
    """A coefficient, rounded as a float is if it has more digits than anybody wants to see: 1.001**300."""
    if c.denominator.bit_length() < _DIGITS > c.numerator.bit_length():
        return Fraction(c)
    try:
        return Fraction(float(c))
    except OverflowError:
        raise TooMuch from None


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
    return collected(exponents)


def collected(exponents: Mapping[Factor, Any]) -> Polynomial:
    """A product of powers: a sum to a positive whole power is multiplied out, and others cancel against it."""
    _effort.left -= 1
    if _effort.left < 0:
        raise TooMuch
    for hot in [f for f, e in exponents.items() if f[0] == "hot" and e > 0]:
        if (picked := _picked(exponents, hot)) is not None:
            return collected(picked)
    opened = []
    kept = []
    for factor, e in exponents.items():
        e = int(e) if e == int(e) else e
        if abs(e) > _HIGHEST:
            raise TooMuch
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


def _picked(exponents: Mapping[Factor, Any], hot: Factor) -> dict[Factor, Any] | None:
    """Beside δ(j, y), what y picks is the entry at j; None if there is nothing of that kind."""
    for factor, e in exponents.items():
        if factor[0] != "sum" or len(factor[1]) != 1 or e != int(e):
            continue
        (k,), body = factor[1], dict(factor[2])
        if body.pop((*hot[:3], k), 0) == 1:
            rest = {f: n for f, n in exponents.items() if f != factor}
            for f, n in renamed_monomial(tuple(body.items()), {k: hot[3]}):
                rest[f] = rest.get(f, 0) + n * e
            return rest
    return None


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
    if _effort.depth > _DEEPEST:
        raise TooMuch
    _effort.depth += 1
    try:
        return _reduced(exponents, dict(pivot), c, terms, denominator, e)
    finally:
        _effort.depth -= 1


def _reduced(
    exponents: Mapping[Factor, Any],
    pivot: Mapping[Factor, Any],
    c: Fraction,
    terms: Polynomial,
    divisor: Factor,
    e: Any,
) -> Polynomial:
    """A product with ``pivot``, a term of a divisor, written as the divisor less the other terms."""
    rest = {**exponents, **{f: exponents[f] - k for f, k in pivot.items()}}
    others = [scale(_product(rest.items(), n), -v) for n, v in terms.items() if dict(n) != pivot]
    raised = {**rest, divisor: e + 1}
    return scale(add(collected(raised), *others), 1 / c)


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
            return scale(collected({factor: k * e for factor, k in m}), root)
        return single(("power", frozen(p)), e)
    if type(e) is not int:
        return collected({("power", frozen(p)): e})
    shared = common_factors(p)
    inverse = {factor: -k for factor, k in shared.items()}
    rest = _times(p, collected(inverse)) if shared else p
    if len(rest) == 1:
        return multiply(power(rest, e), collected({factor: k * e for factor, k in shared.items()}))
    unit = max(rest.items())[1]
    whole = {("power", frozen(scale(rest, 1 / unit))): e, **{factor: k * e for factor, k in shared.items()}}
    return scale(collected(whole), unit**e)


def common_factors(p: Polynomial) -> dict[Factor, Any]:
    """What all terms can be divided by: for each factor the least exponent, an absent one being 0."""
    terms = [dict(m) for m in p]
    factors = {factor for m in terms for factor in m}
    least = {factor: min(m.get(factor, 0) for m in terms) for factor in factors}
    return {factor: e for factor, e in least.items() if e}


def root_of(c: Fraction, e: Any) -> Fraction | None:
    """``c ** e``, if it is a fraction."""
    if type(e) is int:
        if abs(e) * max(c.numerator.bit_length(), c.denominator.bit_length()) > 10 * _DIGITS and abs(c) != 1:
            raise TooMuch
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
    """A function of one number. exp(c x) = exp(x)^c, exp(a + c log(b)) = exp(a) b^c, log(exp(x)) = x."""
    value = constant(p)
    if (name == "exp" and value == 0) or (name in ("log", "tanh") and value == (name == "log")):
        return number(name == "exp")
    if value is not None and name in _OF_NUMBERS:
        with suppress(ValueError, OverflowError):
            return number(Fraction(_OF_NUMBERS[name](value)))
    if name == "exp":
        for m, c in p.items():
            if len(m) == 1 and m[0][0][:2] == ("function", "log") and m[0][1] == 1 and c.denominator == 1:
                rest = {n: k for n, k in p.items() if n != m}
                return multiply(function("exp", rest), power(dict(m[0][0][2]), c))
    if name == "exp" and p:
        c = max(p.items())[1]
        return collected({("function", "exp", frozen(scale(p, 1 / c))): c})
    if name == "log" and len(p) == 1:
        ((m, c),) = p.items()
        if c == 1 and len(m) == 1 and m[0][0][:2] == ("function", "exp"):
            return scale(dict(m[0][0][2]), m[0][1])
    return single(("function", name, frozen(p)))
