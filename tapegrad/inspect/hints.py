"""What is wrong with a gradient that was worked out by hand, found by trying typical mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, permutations

import torch

Named = tuple[str, torch.Tensor]


@dataclass
class Facts:
    """What is known of a gradient.

    Attributes:
        name: whose gradient it is.
        truth: the right one.
        parts: of a tensor that is used more than once, what each use contributes, and where it is used.
        others: the gradients of other tensors, by name.
        values: the tensors that stand beside this one in the forward pass, by name.
        slips: further wrong answers, each with what it says.
        sizes: of the dimensions of the tensors around it: what one may have divided by.
    """

    name: str
    truth: torch.Tensor
    parts: Sequence[Named] = ()
    others: Mapping[str, torch.Tensor] = field(default_factory=dict)
    values: Mapping[str, torch.Tensor] = field(default_factory=dict)
    slips: Callable[[], Iterator[tuple[torch.Tensor, str]]] = lambda: iter(())
    sizes: Sequence[int] = ()


def hint(given: torch.Tensor, facts: Facts) -> str:
    """What most likely went wrong; "" if nothing that is known of gives this answer."""
    truth = facts.truth
    if given.is_complex() or not given.dtype.is_floating_point:
        return f"it is of {given.dtype}, and a gradient has the dtype of its tensor, {truth.dtype}"
    given, truth = given.double(), truth.double()
    if given.isnan().any() and not truth.isnan().any():
        return f"{int(given.isnan().sum())} of its elements are NaN"
    if given.shape != truth.shape:
        return _other_shape(given, truth, facts.sizes)
    if not given.any():
        return "it is zero everywhere"
    return (
        _among(_mistakes(truth, facts), given, facts)
        or _not_picked(given, truth)
        or _among(_along_dims(truth), given, facts)
        or _where(given, truth)
    )


def _among(mistakes: Iterator[tuple[torch.Tensor, str]], given: torch.Tensor, facts: Facts) -> str:
    """What the first of some mistakes says that gives this answer, or a multiple of it; "" if none does."""
    for wrong, text in mistakes:
        if wrong.shape == given.shape and (by := _times(given, wrong.double(), facts.sizes)) is not None:
            if text:
                return text + (f", and {by}" if by else "")
            if by:
                return by
    return ""


def _mistakes(truth: torch.Tensor, facts: Facts) -> Iterator[tuple[torch.Tensor, str]]:
    """Wrong answers, the likeliest first, and what each says; the truth itself for a mere factor."""
    yield truth, ""
    parts = _by_place(facts.parts)
    for where, part in parts:
        if len(parts) == 2:
            other = next(w for w, p in parts if p is not part)
            yield part, f"a branch is forgotten: this is the part through {where} alone; add the part through {other}"
        else:
            yield part, f"branches are forgotten: this is the part through {where} alone, one of {len(parts)}"
    for k, (where, part) in enumerate(parts):
        rest = truth - part
        yield rest, f"a branch is forgotten: the part through {where} is missing, and parts add up (+=)"
        for other, second in parts[k + 1 :] if len(parts) > 3 else ():
            yield rest - second, f"branches are forgotten: the parts through {where} and {other}"
        yield truth + part, f"the part through {where} is added twice"
        yield rest - part, f"the part through {where} has the wrong sign"
    for name, g in facts.others.items():
        yield g, f"this is the gradient of {name}: the step from {name} to {facts.name} is missing"
    for dims in permutations(range(truth.ndim)) if 1 < truth.ndim < 5 else ():
        if dims != tuple(range(truth.ndim)):
            yield truth.permute(dims), "it is transposed"
    yield from facts.slips()
    for name, value in facts.values.items():
        if value.numel() > 1 and _stretches(value.shape, truth.shape):
            yield truth / value.double(), f"a factor {name} is missing"
            yield truth * value.double(), f"a factor {name} too many"


def _along_dims(truth: torch.Tensor) -> Iterator[tuple[torch.Tensor, str]]:
    for d, n in enumerate(truth.shape):
        if n > 1:
            mean = truth.mean(d, keepdim=True).expand(truth.shape)
            yield mean * n, f"it is summed over dim {d}, and should not be"
            yield truth - mean, f"it has lost its mean over dim {d}"


def _by_place(parts: Sequence[Named]) -> list[Named]:
    """What each place contributes in all, if there are several."""
    sums: dict[str, torch.Tensor] = {}
    for where, part in parts:
        sums[where] = sums[where] + part.double() if where in sums else part.double()
    return list(sums.items()) if len(sums) > 1 else []


def _stretches(shape: torch.Size, wide: torch.Size) -> bool:
    """Whether a shape broadcasts to another."""
    return len(shape) <= len(wide) and all(n in (1, m) for n, m in zip(reversed(shape), reversed(wide), strict=False))


def _other_shape(given: torch.Tensor, truth: torch.Tensor, sizes: Sequence[int]) -> str:
    """What to say of an answer of another shape."""
    shapes = f"its shape is {tuple(given.shape)}, and should be {tuple(truth.shape)}"
    for dims in permutations(range(given.ndim)) if 1 < given.ndim < 5 else ():
        if (by := _times(given.permute(dims), truth, sizes)) is not None:
            return f"it is transposed: {shapes}" + _also(by)
    if given.numel() == truth.numel() and (by := _times(given.reshape(truth.shape), truth, sizes)) is not None:
        return f"{by or 'the numbers are right'}, but {shapes}: " + (
            "keepdim=True keeps the dimension that is summed over" if 1 in truth.shape else "reshape it"
        )
    for summed, dims in _sums(given):
        for wanted in (truth, truth.squeeze()):
            if summed.shape == wanted.shape and (by := _times(summed, wanted, sizes)) is not None:
                dim = _dims(dims)
                return f"it is not summed over dim {dim}, along which the forward pass copies: {shapes}" + _also(by)
    for summed, dims in _sums(truth):
        if summed.shape == given.shape and (by := _times(given, summed, sizes)) is not None:
            return f"it is summed over dim {_dims(dims)}, and should not be: {shapes}" + _also(by)
    if 1 in truth.shape and given.numel() == truth.numel():
        return f"{shapes}: keepdim=True keeps a dimension that is summed over"
    return shapes


def _sums(t: torch.Tensor) -> Iterator[tuple[torch.Tensor, tuple[int, ...]]]:
    """A tensor summed over some of its dimensions, kept and not."""
    for k in range(1, min(t.ndim, 4) + 1):
        for dims in combinations(range(t.ndim), k):
            for keepdim in (True, False):
                yield t.sum(dims, keepdim=keepdim), dims


def _dims(dims: tuple[int, ...]) -> str:
    return str(dims[0]) if len(dims) == 1 else str(dims)


def _also(by: str) -> str:
    return f"; and {by}" if by else ""


def negligible(given: torch.Tensor, facts: Facts) -> str:
    """What to say of an answer that is right but for rounding, and yet one part of the gradient and no more; or ""."""
    parts = _by_place(facts.parts)
    for where, part in parts:
        if torch.equal(given.double(), part):
            others = " and ".join([w for w, _ in parts if w != where])
            return f"close, but a branch is forgotten: this is the part through {where} alone, and {others} adds little"
    return ""


def _times(given: torch.Tensor, wrong: torch.Tensor, sizes: Sequence[int]) -> str | None:
    """How an answer is a multiple of another: "" if it is equal, None if it is none."""
    if given.shape != wrong.shape or not wrong.any() or not given.isfinite().all() or not wrong.isfinite().all():
        return None
    if _near(given, wrong):
        return ""
    if _near(given, -wrong):
        return "the sign is wrong"
    k = float((given * wrong).sum() / (wrong * wrong).sum())
    if k == 0 or not _near(given, k * wrong):
        return None
    for factor, text in _factors(sizes):
        for sign in (1, -1):
            if abs(k / (sign * factor) - 1) < 1e-5:
                also = "" if sign == 1 else ", and the sign is wrong"
                return f"it is off by a factor of {k:.6g}: {text}{also}"
    return f"it is off by a factor of {k:.6g}" if given.numel() > 1 else None


def _factors(sizes: Sequence[int]) -> Iterator[tuple[float, str]]:
    yield 2, "twice the gradient"
    yield 0.5, "half of it"
    for n in sizes:
        yield n, f"it is not divided by n = {n}"
        yield 1 / n, f"it is divided by n = {n} once too often, as if a sum were a mean"
        if n > 2:
            yield (n - 1) / n, f"(n - 1) / n with n = {n}: 1/n stands where 1/(n-1) belongs"
            yield n / (n - 1), f"n / (n - 1) with n = {n}: 1/(n-1) stands where 1/n belongs"
            yield n - 1, f"it is not divided by n - 1 = {n - 1}"
            yield 1 / (n - 1), f"it is divided by n - 1 = {n - 1} once too often"


def _near(a: torch.Tensor, b: torch.Tensor) -> bool:
    largest = float(b.abs().max()) if b.numel() else 0.0
    return torch.allclose(a, b, rtol=1e-5, atol=2e-6 * largest, equal_nan=True)


def _not_picked(given: torch.Tensor, truth: torch.Tensor) -> str:
    """Whether an answer is right but for places that should be zero."""
    picked = truth != 0
    wrong = int((given[~picked] != 0).sum())
    if not wrong or not picked.any() or not _near(given[picked], truth[picked]):
        return ""
    return f"right where the gradient is not zero, but {wrong} more places should be zero: what was not used had no say"


def _where(given: torch.Tensor, truth: torch.Tensor) -> str:
    """Where an answer differs, if it is right elsewhere."""
    largest = float(truth.abs().max()) if truth.numel() else 0.0
    wrong = ~torch.isclose(given, truth, rtol=1e-5, atol=2e-6 * largest)
    count = int(wrong.sum())
    if not count or 2 * count > truth.numel():
        return ""
    if truth.ndim == 2 and bool((wrong.sum(1) == 1).all()):
        return "it is wrong at one place in each row, and right elsewhere: look at what the index picks"
    first = tuple(wrong.nonzero()[0].tolist())
    return f"it is wrong at {count} of {truth.numel()} places, the first {list(first)}, and right elsewhere"
