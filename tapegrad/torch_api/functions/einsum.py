"""torch's two spellings of einsum."""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase
from typing import Any

import torch

from tapegrad.engine.table import composition
from tapegrad.rules import einsum as rules


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
