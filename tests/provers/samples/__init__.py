"""One table of sample calls for everything that tapegrad differentiates; ``tests/promises/test_2_exact.py`` turns it into tests.

``SAMPLES[function]`` is a list of calls, written as ``calls.py`` says. A family of rules has a file of the same name here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.provers.samples import basics, complex, elementwise, indexing, linalg, modules, nn, reduction, shape
from tests.provers.samples.basics import assigned
from tests.provers.samples.calls import Call

SAMPLES: dict[Callable[..., Any], list[Call]] = {}
for family in (basics, elementwise, reduction, shape, indexing, linalg, nn, modules, complex):
    for function, calls in family.SAMPLES.items():
        SAMPLES.setdefault(function, []).extend(calls)

__all__ = ["SAMPLES", "Call", "assigned"]
