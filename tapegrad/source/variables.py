"""Variable names: what a user calls a tensor, as Python takes it, and given to nothing else."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from keyword import iskeyword

# What the written functions mean by these names, they must go on to mean.
RESERVED = ("torch", "F", "forward", "backward", "saved", "slice", "range", "complex")
_REFUSED = ("__debug__", "l", "O", "I")  # the first by Python, the others by linters: they look like numbers


class Variables:
    """Names that are each given out once.

    Args:
        taken: names that are not given out.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._last: dict[str, int] = {}  # name -> the number that was last added to it

    def fresh(self, name: str) -> str:
        """A name as near to this one as may be."""
        base = candidate = identifier(name)
        while candidate in self._taken:
            self._last[base] = self._last.get(base, 1) + 1
            candidate = f"{base}_{self._last[base]}"
        self._taken.add(candidate)
        return candidate


def identifier(name: str) -> str:
    """A variable name as near to ``layers[0].weight`` as Python allows.

    To Python, names are equal if they are after compatibility normalization (NFKC): a mathematical bold x is an x. So
    that is where it begins.
    """
    name = unicodedata.normalize("NFKC", name)
    if not name.isidentifier():
        name = "".join([c if f"x{c}".isidentifier() else " " for c in name])
        name = re.sub(r"[ _]* [ _]*", "_", name).strip("_") or "x"
        name = name if name.isidentifier() else f"x{name}"
    return f"{name}_" if iskeyword(name) or name in _REFUSED else name
