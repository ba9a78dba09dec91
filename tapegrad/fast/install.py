"""Plugging the written roads into the engine."""

from __future__ import annotations

from typing import Any

from tapegrad.engine import backward
from tapegrad.engine.op import Op
from tapegrad.engine.table import listeners, ops
from tapegrad.fast import apply_source, roads
from tapegrad.torch_api import methods


def install() -> None:
    """Give every op of the table its written road, now and when it changes, and let ``backward`` try written walks."""
    if _renew in listeners:
        return
    for op in ops:
        op.road = apply_source.road(op)
    methods.install()  # methods keep their ops' roads, so install them again
    listeners.append(_renew)
    backward.written_walk = roads.written_walk


def _renew(entry: Any) -> None:
    """An entry of the table is new or has changed: so are its road, and what was written with its formulas."""
    if isinstance(entry, Op):
        entry.road = apply_source.road(entry)
        roads.forget()
