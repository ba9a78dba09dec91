"""Sums of products over named dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from string import ascii_letters, ascii_lowercase, ascii_uppercase
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.op import composition, kernel, rule

# The gradient of a factor is an einsum again, in which the result's gradient takes the factor's place.
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
# torch's own product of three factors: [dims each lacks, of three], [dims summed].
kernel(
    bilinear,
    input1=lambda g, input2, weight: trilinear(g, weight, input2, ([2, 3], [0], [1, 2], [1, 3]), input2.shape),
    input2=lambda g, input1, weight: trilinear(input1, weight, g, ([1, 3], [0], [2, 3], [1, 2]), input1.shape),
    weight=lambda g, input1, input2: trilinear(input1, g, input2, ([1, 3], [2, 3], [1, 2], [0])),
)


def trilinear(a: Any, b: Any, c: Any, dims: Any, batch: Any = None) -> Any:
    """A product of three, over dimensions (n, o, i, j), of which the batch n may be several."""
    a, b, c = (x if k == 1 and batch is not None else x.reshape(-1, x.shape[-1]) for k, x in enumerate((a, b, c)))
    out = torch._trilinear(a, b, c, *dims)
    return out if batch is None else out.view(*batch[:-1], out.shape[-1])


def factor_gradient(g: Any, k: int, factors: list[str], output: str, operands: Sequence[Any]) -> Any:
    """The gradient of the k-th of an einsum's operands."""
    own, others = factors[k], factors[:k] + factors[k + 1 :]
    distinct = list(dict.fromkeys(own))
    elsewhere = set(output).union(*others)
    dx = torch.einsum(
        f"{','.join([output, *others])}->{''.join(label for label in distinct if label in elsewhere)}",
        g,
        *operands[:k],
        *operands[k + 1 :],
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


@composition(torch.einsum)
def _einsum(*args: Any) -> Any:
    """Takes torch's other spelling too: ``einsum(x, [0, 1], y, [1, 2], [0, 2])``."""
    if isinstance(args[0], str):
        return einsum(*args)
    letters = ascii_uppercase + ascii_lowercase
    terms = ["".join("..." if i is Ellipsis else letters[i] for i in given) for given in [*args[1::2], *args[-1:]]]
    if len(args) % 2:
        return einsum(f"{','.join(terms[:-1])}->{terms[-1]}", *args[:-1:2])
    return einsum(",".join(terms[:-1]), *args[::2])
