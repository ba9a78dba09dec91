"""All samples in one table: samples.py and each samples_*.py beside it, which hold a family of functions each."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from samples import SAMPLES as CORE
from samples import Call, Function

FAMILIES = sorted(path.stem for path in Path(__file__).parent.glob("samples_*.py"))
SAMPLES: dict[Function, list[Call]] = {function: list(calls) for function, calls in CORE.items()}
for family in FAMILIES:
    for function, calls in import_module(family).SAMPLES.items():
        SAMPLES.setdefault(function, []).extend(calls)
