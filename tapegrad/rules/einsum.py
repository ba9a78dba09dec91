"""Rules of sums of products over named dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from string import ascii_letters
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import rule


def factor_gradient(g: Any, k: int, factors: list[str], output: str, operands: Sequence[Any]) -> Any:
    """The gradient of the k-th of an einsum's operands."""
    own, others = factors[k], factors[:k] + factors[k + 1 :]
    rest = [x.to(g.dtype) for x in (*operands[:k], *operands[k + 1 :])]  # factors may be of different dtypes
    distinct = list(dict.fromkeys(own))
    elsewhere = set(output).union(*others)
    dx = torch.einsum(
        f"{','.join([output, *others])}->{''.join(label for label in distinct if label in elsewhere)}",
        g,
        *rest,
    )
    sizes = [operands[k].shape[own.index(label)] for label in distinct]
    for i, label in enumerate(distinct):
        if label not in elsewhere:  # it was summed over, so every element gets the same
            dx = dx.unsqueeze(i)
    dx = dx.expand([size if size > 1 else n for size, n in zip(sizes, dx.shape, strict=True)])
    for i, label in enumerate(own):
        if (first := own.index(label)) < i:  # a label given twice names a diagonal
            shape = [dx.shape[first] if d in (first, i) else 1 for d in range(dx.ndim + 1)]
            diagonal = torch.eye(dx.shape[first], dtype=torch.bool, device=g.device).view(shape)
            dx = torch.where(diagonal, dx.unsqueeze(i), 0.0)
    return dx


def labels_of(equation: str, ndims: list[int]) -> tuple[list[str], str]:
    """A letter for each dimension of each operand, and of the result, those under an ellipsis included."""
    left, arrow, output = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    widths = [n - len(t) + 3 if "..." in t else 0 for n, t in zip(ndims, terms, strict=True)]
    dots = "".join(islice((c for c in ascii_letters if c not in equation), max(widths)))
    if not arrow:
        output = "..." + "".join(sorted(c for c in left if c.isalpha() and left.count(c) == 1))
    factors = [t.replace("...", dots[len(dots) - n :]) for t, n in zip(terms, widths, strict=True)]
    return factors, output.replace("...", dots)


# The gradient of a factor is an einsum again, in which the result's gradient stands in for the factor.
einsum = rule(
    torch.einsum,
    "equation, *operands",
    operands=lambda g, equation, operands: [
        factor_gradient(g, k, *labels_of(equation, [x.ndim for x in operands]), operands) for k in range(len(operands))
    ],
)
# y[..., o] = x1[..., i] W[o, i, j] x2[..., j] + b[o]
bilinear = rule(
    F.bilinear,
    "input1, input2, weight, bias=None",
    input1=lambda g, input2, weight: torch.einsum("...o,oij,...j->...i", g, weight, input2),
    input2=lambda g, input1, weight: torch.einsum("...o,oij,...i->...j", g, weight, input1),
    weight=lambda g, input1, input2: torch.einsum("...o,...i,...j->oij", g, input1, input2),
    bias=lambda g: g,
)
