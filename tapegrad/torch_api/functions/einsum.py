"""torch's two spellings of einsum."""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase
from typing import Any

import torch

from tapegrad.engine.tensor import Tensor
from tapegrad.mistakes import explain
from tapegrad.numbers import is_whole
from tapegrad.rules import einsum as rules
from tapegrad.torch_api.composition import composition


@composition(torch.einsum)
def einsum(*args: Any) -> Any:
    """Takes the equation as text, or: ``einsum(x, [0, 1], y, [1, 2], [0, 2])``."""
    if isinstance(args[0], str):
        return rules.einsum(*args)
    letters = ascii_uppercase + ascii_lowercase
    terms = ["".join("..." if i is Ellipsis else letters[i] for i in given) for given in [*args[1::2], *args[-1:]]]
    if len(args) % 2:
        return rules.einsum(f"{','.join(terms[:-1])}->{terms[-1]}", *args[:-1:2])
    return rules.einsum(",".join(terms[:-1]), *args[::2])


def _with_sublists(equation: Any, operands: Any, *args: Any, **kwargs: Any) -> Any:
    """torch's way down from ``torch.einsum``, which takes a Tensor for an equation if it stands first in a call.

    If others follow, torch hands the call over all the same; of one alone, it hands us nothing. A single list after it,
    as in ``einsum(x, [0, 0])``, torch has then taken for one of operands.
    """
    if isinstance(equation, Tensor):
        if all(i is Ellipsis or is_whole(i) for i in operands):
            operands = (list(operands),)
        try:
            return einsum(equation, *operands)
        except Exception as error:
            explain(error, "einsum", None, (equation, *operands))
            raise
    return _torch_einsum(equation, operands, *args, **kwargs)


_torch_einsum = torch._VF.einsum  # type: ignore[attr-defined]  # torch's stubs have no such functions
torch._VF.einsum = _with_sublists  # type: ignore[attr-defined]
