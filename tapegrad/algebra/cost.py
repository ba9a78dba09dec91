"""What a polynomial costs: the elements that are read and written to compute it, as it would be written.

An estimate for the search, which asks thousands of times, without writing anything: numbers and signs are free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tapegrad.algebra import sums
from tapegrad.algebra.terms import Factor, Index, Monomial, Polynomial

Indices = frozenset[Index]


def volume(indices: Iterable[Index]) -> int:
    """How many elements a tensor with these indices has."""
    return math.prod([n for _, n in indices])


class Cost:
    """Costs of polynomials, remembered.

    Args:
        inline: name -> what will be written in its place.
        atom: name -> what it takes to have a tensor, if it is written as an expression.
    """

    def __init__(self, inline: Mapping[str, Polynomial], atom: Callable[[str], int]) -> None:
        self._inline = inline
        self._atom = atom
        self._factors: dict[tuple[Factor, Any], int] = {}

    def __call__(self, p: Polynomial) -> int:
        """A sum of products, after what all terms share has been pulled out."""
        if len(p) <= 1:
            return self._product([(f, e) for m in p for f, e in m])
        shared = shared_factors(p)
        total, before = 0, 0
        for m in p:
            rest = [(f, e - shared.get(f, 0)) for f, e in m]
            rest = [(f, e) for f, e in rest if e]
            size = volume(sums.monomial_indices(tuple(rest)))
            total += self._product(rest) + (size + before + max(size, before) if before else 0)
            before = max(size, before)
        return total + (self._product(list(shared.items()), before) if shared else 0)

    def _product(self, m: Iterable[tuple[Factor, Any]], last: int = 0) -> int:
        """Small tensors first: each step reads what there is and one factor more, and writes the product."""
        sized = sorted([(volume(sums.indices_of(f)), i, f, e) for i, (f, e) in enumerate(m)])
        total, indices = 0, frozenset[Index]()
        for k, (size, _, factor, e) in enumerate(sized):
            total += self._factor(factor, e)
            before, indices = volume(indices), indices | sums.indices_of(factor)
            total += before + size + volume(indices) if k else 2 * size if e == -1 else 0
        return total + (volume(indices) + 2 * last if last else 0)

    def _factor(self, factor: Factor, e: Any) -> int:
        """What it takes to have a power of a factor."""
        key = (factor, e)
        if key not in self._factors:
            size = volume(sums.indices_of(factor))
            plain = e == 1 or (e == -1 and factor[:2] != ("function", "exp"))  # x.exp()**-1 is (-x).exp()
            self._factors[key] = self._inside(factor, size) + (0 if plain else 2 * size)
        return self._factors[key]

    def _inside(self, factor: Factor, size: int) -> int:
        match factor[0]:
            case "entry":
                return self(self._inline[factor[1]]) if factor[1] in self._inline else self._atom(factor[1])
            case "hot":
                return int(size // factor[3][1])
            case "sum":
                body: Monomial = factor[2]
                return self._product(body) + volume(sums.monomial_indices(body)) + size
            case "power":
                return self(dict(factor[1]))
        return self(dict(factor[2])) + 2 * size


def shared_factors(p: Polynomial) -> dict[Factor, Any]:
    """What all terms have, to the power that all of them have."""
    everything = [dict(m) for m in p]
    result = {}
    for factor in everything[0]:
        exponents = [m.get(factor, 0) for m in everything]
        if all(e > 0 for e in exponents):
            result[factor] = min(exponents)
        elif all(e < 0 for e in exponents):
            result[factor] = max(exponents)
    return result
