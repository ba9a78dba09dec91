"""Definitions as rules: a name may be unfolded into what it stands for, and what it stands for folded into the name.

``bnraw = bndiff * bnvar_inv`` can be read in three ways, one for each name in it: ``bnraw -> bndiff * bnvar_inv``
unfolds, ``bndiff -> bnraw / bnvar_inv`` folds. Whatever a sequence of such steps leads to is equal to where it began.
Unfolding all leads to a normal form, in which what cancels has cancelled; a search from there, and from the beginning,
finds the cheapest way to say it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations
from typing import Any

from tapegrad.algebra import sums, terms
from tapegrad.algebra.definitions import names_in, names_in_factor
from tapegrad.algebra.terms import Factor, Index, Polynomial

BEAM = 4  # states that a search goes on from
ROUNDS = 8  # steps that it goes
EFFORT = 12_000  # products that a search may form
PATIENCE = 2  # steps without anything cheaper, after which it ends


@dataclass(frozen=True)
class Rule:
    """``pattern ** exponent`` is ``replacement``, for all indices.

    Attributes:
        name: whose definition it is.
        pattern: a factor; its free indices are axes of the named tensor.
        exponent: the power of it that the definition is solved for.
        replacement: what that is, as a frozen polynomial.
        everywhere: False if only divisors are to be replaced.
        fact: a number that a sum is, for which there is a reason of its own.
    """

    name: str
    pattern: Factor
    exponent: Any
    replacement: tuple[Any, ...]
    everywhere: bool = True
    fact: bool = False

    def apply(self, p: Polynomial) -> Polynomial:
        """A polynomial with every power of the pattern replaced."""
        return self._apply(p, divided=False)

    def _apply(self, p: Polynomial, divided: bool) -> Polynomial:
        def change(factor: Factor, e: Any) -> Polynomial | None:
            if factor[0] == "power" and not self.everywhere:  # a divisor, or under a root: all of it may be unfolded
                inside = dict(factor[1])
                new = self._apply(inside, divided=True)
                return None if new is inside else terms.power(new, e)
            if factor[0] == "sum" and self._is_in_replacement(factor):
                return terms.single(factor, e)  # e / e.sum(1) is y, and not y / y.sum(1)
            names = matched(self.pattern, factor)
            if names is None or not (self.everywhere or divided or e < 0 or Fraction(e).denominator != 1):
                return None
            ratio = Fraction(e) / self.exponent
            if ratio.denominator != 1 and self.exponent != 1:
                return None  # a root would have lost its sign
            return terms.power(sums.renamed(dict(self.replacement), names), ratio)

        def outside(factor: Factor, e: Any) -> Polynomial | None:
            if factor[0] == "sum" and divided:
                return terms.single(factor, e)
            return change(factor, e)

        return sums.mapped(p, outside)

    def _is_in_replacement(self, factor: Factor) -> bool:
        """Whether a sum of what is replaced stands in the replacement, too."""
        if self.pattern[0] != "entry" or self.pattern[1] not in set(names_in_factor(factor)):
            return False
        theirs = [f for m, _ in self.replacement for f, _ in m if f[0] == "sum"]
        return any(matched(f, factor) is not None for f in theirs)


def matched(pattern: Factor, factor: Factor) -> dict[Index, Index] | None:
    """How the pattern's free indices have to be named to make it the factor, if they can."""
    if pattern[0] != factor[0]:
        return None
    match pattern[0]:
        case "entry":
            return dict(zip(pattern[2], factor[2], strict=True)) if pattern[1] == factor[1] else None
        case "function" if pattern[1] != factor[1]:
            return None
    if pattern == factor:
        return {}
    ours, theirs = sorted(sums.indices_of(pattern)), sorted(sums.indices_of(factor))
    if sorted(i[1] for i in ours) != sorted(i[1] for i in theirs) or len(ours) > 4:
        return None
    if sorted(names_in_factor(pattern)) != sorted(names_in_factor(factor)):
        return None
    for order in permutations(theirs):
        names = dict(zip(ours, order, strict=True))
        fits = all(i[1] == j[1] for i, j in names.items())
        if fits and sums.renamed(terms.single(pattern), names) == terms.single(factor):
            return names
    return None


class Folding:
    """The rules that some definitions give.

    Args:
        definitions: name, its indices, what it stands for; the newest first.
        foldable: whether a name may be written in place of what it stands for.
        named: whether it is the user's.
        passes: what a polynomial costs, as it would be written.
    """

    def __init__(
        self,
        definitions: Sequence[tuple[str, tuple[Index, ...], Polynomial]],
        foldable: Callable[[str], bool],
        named: Callable[[str], bool],
        passes: Callable[[Polynomial], int],
    ) -> None:
        self.definitions = {name: (indices, p) for name, indices, p in definitions}
        self.passes = passes
        self._is_own = named
        self._normal: dict[str, Polynomial] = {}
        self._sums: dict[Factor, Fraction | None] = {}
        self.unfolding: dict[str, Rule] = {}
        self.rules: list[Rule] = []
        alike: dict[Any, str] = {}  # normal form -> who has it
        for name in reversed(self.definitions):  # the oldest first: a definition's normal form needs those before
            indices, p = self.definitions[name]
            try:
                with terms.effort(EFFORT):
                    self._normal[name] = self.normal(p)
            except terms.TooMuch:
                self._normal[name] = p
            other = alike.setdefault((indices, terms.frozen(self._normal[name])), name)
            if other != name and not named(name):
                p = terms.single(terms.entry(other, indices))
                self.definitions[name] = (indices, p)
                self._normal[name] = self.normal(p)
            entry = terms.entry(name, indices)
            whole = len(self._normal[name]) == 1
            self.unfolding[name] = Rule(name, entry, 1, terms.frozen(p), everywhere=whole)
        for name in self.definitions:
            if foldable(name):
                with suppress(terms.TooMuch), terms.effort(EFFORT):
                    self.rules += self._rules(name)

    def _rules(self, name: str) -> Iterator[Rule]:
        indices, p = self.definitions[name]
        entry = terms.entry(name, indices)
        yield Rule(name, entry, 1, terms.frozen(p))
        seen = set()
        bare = self._without_unnamed(p)
        for form in (p, bare, self._normal[name], self.normal(bare)):
            for rule in solved(name, entry, form):
                if rule not in seen:
                    seen.add(rule)
                    yield rule
        if any(f[:2] == ("function", "log") for m in bare for f, _ in m):  # of y = x - log(s), exp(x) = s exp(y)
            yield from solved(name, ("function", "exp", terms.frozen(terms.single(entry))), terms.function("exp", bare))

    def _without_unnamed(self, p: Polynomial) -> Polynomial:
        """A definition with what nobody has named written out, under exp too."""
        for name in [n for n in self.definitions if n in self.unfolding and not self._is_own(n)]:
            if name in set(names_in(p)):
                p = Rule(name, self.unfolding[name].pattern, 1, self.unfolding[name].replacement).apply(p)
        return p

    # --- the normal form ---

    def normal(self, p: Polynomial) -> Polynomial:
        """All definitions of one term unfolded, and those of several where they are divided by."""
        return self.unfolded(p)[0]

    def unfolded(self, p: Polynomial) -> tuple[Polynomial, list[Rule]]:
        """The normal form, and the rules that led there."""
        used = []
        for name, rule in [(n, self.unfolding[n]) for n in self.definitions if n in self.unfolding]:
            if name not in set(names_in(p)):
                continue
            if not rule.everywhere and self._shares_a_divisor(name, p):
                rule = Rule(name, rule.pattern, 1, rule.replacement)
            new = rule.apply(p)
            if new != p:
                used.append(rule)
                p = new
        for rule in self.sums(p):
            p = rule.apply(p)
            used.append(rule)
        return p, used

    def _shares_a_divisor(self, name: str, p: Polynomial) -> bool:
        """Whether a sum stands beside a divisor with which it has something in common, so that they may cancel."""
        ours = self._normal[name]
        for m in p:
            if any(f[:2] == ("entry", name) and e > 0 for f, e in m):
                others = [(f, e) for f, e in m if f[:2] != ("entry", name)]
                for f, e in others:
                    divisor = f[0] == "power" and e < 0
                    theirs = set(factors_of(self.normal_of(dict(f[1]) if divisor else terms.single(f))))
                    if not theirs.isdisjoint(factors_of(ours) if divisor else sums_divided_by(ours)):
                        return True
        return False

    def normal_of(self, p: Polynomial) -> Polynomial:
        """The normal form of what stands in a divisor."""
        for name, rule in [(n, self.unfolding[n]) for n in self.definitions if n in self.unfolding]:
            if name in set(names_in(p)):
                p = Rule(name, rule.pattern, 1, rule.replacement).apply(p)
        return p

    def sums(self, p: Polynomial) -> Iterator[Rule]:
        """For each Σ of a tensor alone that is a number, the rule that says so."""
        for factor in factors_of(p):
            if factor[0] == "sum" and len(factor[2]) == 1 and factor[2][0][0][0] == "entry" and factor[2][0][1] == 1:
                name = factor[2][0][0][1]
                if name not in self.definitions or name not in self.unfolding:
                    continue
                if factor not in self._sums:
                    self._sums[factor] = self._sum_of(factor, name)
                value = self._sums[factor]
                if value is not None:
                    yield Rule(name, factor, 1, terms.frozen(terms.number(value)), fact=True)

    def _sum_of(self, factor: Factor, name: str) -> Fraction | None:
        rule = self.unfolding[name]
        try:
            opened = Rule(name, rule.pattern, 1, rule.replacement).apply(terms.single(factor))
            return terms.constant(self.normal(opened))
        except terms.TooMuch:
            return None

    # --- the search ---

    def search(self, start: Polynomial) -> tuple[Polynomial, list[Rule]]:
        """The cheapest form that is found, and the rules that lead there."""
        with terms.effort(EFFORT):
            end, path = self._search(start)
        return end, self.shortest(start, end, path)

    def _search(self, start: Polynomial) -> tuple[Polynomial, list[Rule]]:
        seeds: list[tuple[Polynomial, tuple[Rule, ...]]] = [(start, ())]
        try:
            normal, used = self.unfolded(start)
            if normal != start:
                seeds.append((normal, tuple(used)))
        except terms.TooMuch:
            normal = start
        divisors = {f for q in (start, normal) for f in divisors_of(q)}
        seen: dict[Any, tuple[Rule, ...]] = {}
        frontier = []
        best: tuple[Any, Polynomial, tuple[Rule, ...]] | None = None

        def visit(p: Polynomial, path: tuple[Rule, ...]) -> bool:
            nonlocal best
            key = terms.frozen(p)
            if key in seen:
                if len(path) < len(seen[key]):
                    seen[key] = path
                return False
            seen[key] = path
            cost = (self.passes(p), len(path), len(str(key)))
            frontier.append((cost, p, path))
            safe = all(f in divisors or never_zero(f) for f in divisors_of(p))
            if safe and (best is None or cost < best[0]):
                best = (cost, p, path)
                return True
            return False

        for p, path in seeds:
            visit(p, path)
        waited = 0
        for _ in range(ROUNDS):
            frontier.sort(key=lambda item: item[0])
            going, frontier = frontier[:BEAM], []
            better = False
            for _, p, path in going:
                present = set(names_in(p))
                for rule in [*self.sums(p), *self.rules]:
                    if terms.spent():
                        break
                    if not set(names_in_factor(rule.pattern)) <= present:
                        continue
                    try:
                        new = rule.apply(p)
                    except terms.TooMuch:
                        continue
                    if len(new) <= 4 * len(p) + 8:
                        better |= visit(new, (*path, rule))
            waited = 0 if better else waited + 1
            if waited >= PATIENCE or not frontier:
                break
        assert best is not None
        return best[1], list(seen[terms.frozen(best[1])])

    def shortest(self, start: Polynomial, end: Polynomial, path: list[Rule]) -> list[Rule]:
        """The path without the steps that it does not need."""
        i = 0
        while i < len(path):
            shorter = path[:i] + path[i + 1 :]
            try:
                needless = replayed(start, shorter) == end
            except terms.TooMuch:
                needless = False
            if needless:
                path = shorter
            else:
                i += 1
        return path


def replayed(p: Polynomial, path: Iterable[Rule]) -> Polynomial:
    """Where some rules lead, one after the other."""
    for rule in path:
        p = rule.apply(p)
    return p


def solved(name: str, entry: Factor, p: Polynomial) -> Iterator[Rule]:
    """An equation ``name = p``, solved for each factor in it that all its indices belong to."""
    own = sums.indices_of(entry)
    for m, c in p.items():
        others = {n: -v for n, v in p.items() if n != m}
        for factor, e in m:
            if factor[0] == "hot" or not own <= sums.indices_of(factor):
                continue
            if others and any(factor in dict(n) for n in others):
                continue
            rest = {f: -k for f, k in m if f != factor}
            isolated = terms.add(terms.single(entry), others)
            try:
                divided = terms.multiply(isolated, {tuple(sorted(rest.items())): 1 / c})
            except terms.TooMuch:
                continue
            if sums.polynomial_indices(divided) <= sums.indices_of(factor):
                yield Rule(name, factor, e, terms.frozen(divided))


def factors_of(p: Polynomial) -> Iterator[Factor]:
    """All factors of a polynomial, those inside others too."""
    for m in p:
        for factor, _ in m:
            yield factor
            if factor[0] == "sum":
                yield from factors_of({factor[2]: Fraction(1)})
            elif factor[0] in ("power", "function"):
                yield from factors_of(dict(factor[-1]))


def sums_divided_by(p: Polynomial) -> Iterator[Factor]:
    """What the sums in its divisors consist of."""
    for m in p:
        for factor, e in m:
            if factor[0] == "power" and e < 0:
                yield from factors_of(dict(factor[1]))


def divisors_of(p: Polynomial) -> Iterator[Factor]:
    """What is divided by, by the names of tensors and the kinds of what else there is."""
    for m in p:
        for factor, e in m:
            if e < 0:
                yield factor if factor[0] != "entry" else factor[:2]
            if factor[0] == "sum":
                yield from divisors_of({factor[2]: Fraction(1)})
            elif factor[0] in ("power", "function"):
                yield from divisors_of(dict(factor[-1]))


def never_zero(factor: Factor) -> bool:
    """Whether a factor cannot be 0 in any case."""
    return factor[:2] == ("function", "exp")
