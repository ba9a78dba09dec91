"""HTML for Jupyter, safe by construction: every string is escaped, and nothing grows with a tensor or a tape.

Colours are shades of the text's own, so that tables read on light and on dark pages alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import torch

ROWS, COLUMNS = 8, 8  # of a tensor
LINES = 60  # of a table
CHARACTERS = 200  # of a cell
_SHORT = 30  # characters that stay on one line

_FRAME = "display: inline-block; max-width: 100%; overflow-x: auto; margin: 0.3em 0; color: inherit"
_TABLE = "border-collapse: collapse; margin: 0; color: inherit; background: transparent; border: 0"
_CODE = "; font-family: monospace"
_CELL = "padding: 0.15em 0.7em; text-align: {}; vertical-align: top"
_WHOLE = "; white-space: nowrap"
_RULE = "; border-bottom: 1px solid rgba(128, 128, 128, 0.6)"
_MARKED = "; background: rgba(220, 120, 0, 0.18)"
_CAPTION = "padding: 0.1em 0.7em; font-weight: 600"


def text(value: object, longest: int = CHARACTERS) -> str:
    """A string as HTML that shows it and does nothing else: of one line, of printable characters, and not too long."""
    shown = str(value)
    shown = shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
    return escape("".join([c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown]))


def block(*parts: str) -> str:
    """Parts, which are HTML already, in a frame that scrolls sideways if they are too wide."""
    return f'<div class="tapegrad" style="{_FRAME}">{"".join(parts)}</div>'


def caption(*words: object) -> str:
    """A line above a table."""
    return f'<div style="{_CAPTION}">{text("  ·  ".join(str(w) for w in words if w != ""), 4 * CHARACTERS)}</div>'


def table(
    head: Sequence[object],
    count: int,
    row: Callable[[int], Sequence[object]],
    *,
    right: Sequence[int] = (),
    marked: Callable[[int], bool] = lambda i: False,
    longest: int = CHARACTERS,
) -> str:
    """A table, of whose rows those in the middle are left out if there are more than ``LINES``.

    Args:
        head: the names of its columns.
        count: how many rows there are.
        row: gives the cells of one, as text.
        right: the columns of numbers.
        marked: the rows to be seen at first sight; colour must not be all that tells them.
        longest: characters of a cell.
    """
    lines = [_line("th", head, right, _RULE)]
    for i in chosen(count, LINES):
        if i is None:
            left_out = f"… {count - LINES:,} rows left out …"
            lines.append(f'<tr><td colspan="{len(head)}" style="{_CELL.format("left")}">{left_out}</td></tr>')
        else:
            lines.append(_line("td", row(i), right, _MARKED if marked(i) else "", longest))
    return f'<table style="{_TABLE}{_CODE}"><thead>{lines[0]}</thead><tbody>{"".join(lines[1:])}</tbody></table>'


def _line(tag: str, cells: Sequence[object], right: Sequence[int], style: str, longest: int = CHARACTERS) -> str:
    made = []
    for i, cell in enumerate(cells):
        scope = ' scope="col"' if tag == "th" else ""
        shown = text(cell, longest)
        own = _CELL.format("right" if i in right else "left") + style + (_WHOLE if len(shown) <= _SHORT else "")
        made.append(f'<{tag}{scope} style="{own}">{shown}</{tag}>')
    return f'<tr style="background: transparent">{"".join(made)}</tr>'


def chosen(count: int, most: int) -> list[int | None]:
    """The first and the last of some positions, with None where others are left out."""
    if count <= most:
        return list(range(count))
    first = (most + 1) // 2
    return [*range(first), None, *range(count - (most - first), count)]


def tensor(t: torch.Tensor, *words: object) -> str:
    """A torch tensor: its shape and dtype, further words, and some of its elements."""
    dtype = str(t.dtype).removeprefix("torch.")
    device = "" if t.device.type == "cpu" else str(t.device)
    shape = "nested" if t.is_nested else "a number" if t.ndim == 0 else tuple(t.shape)
    return block(caption(shape, dtype, device, *words), _elements(t))


def _elements(t: torch.Tensor) -> str:
    note = unreadable(t)
    if note:
        return f'<div style="{_CELL.format("left")}">{text(note)}</div>'
    width = t.shape[-1] if t.ndim else 1
    height = t.numel() // width
    rows, columns = chosen(height, ROWS), chosen(width, COLUMNS)
    cells = [["⋮" for _ in columns] if i is None else _row(t, i, columns) for i in rows]
    if t.ndim > 2:
        labels = ["" if i is None else str(list(_place(t.shape[:-1], i))) for i in rows]
        cells = [[label, *line] for label, line in zip(labels, cells, strict=True)]
    lines = [_line("td", line, range(len(line)), "") for line in cells]
    return f'<table style="{_TABLE}{_CODE}"><tbody>{"".join(lines)}</tbody></table>'


def unreadable(t: torch.Tensor) -> str:
    """Why a tensor shows no elements; "" if it does."""
    if t.is_meta:
        return "a meta tensor: it has no elements"
    if t.layout is not torch.strided or t.is_nested or t.is_quantized or type(t) not in _PLAIN:
        return "its elements are not shown"
    return "" if t.numel() else "it has no elements"


_PLAIN = (torch.Tensor, torch.nn.Parameter)


def _row(t: torch.Tensor, i: int, columns: Sequence[int | None]) -> list[str]:
    """Some elements of a row, which alone are read: a reshape may copy a large tensor, and a conversion does."""
    line = t.detach()[_place(t.shape[:-1], i)] if t.ndim else t.detach().reshape(1)
    picked = iter(line[[j for j in columns if j is not None]].resolve_conj().resolve_neg().cpu().tolist())
    return ["…" if j is None else number(next(picked)) for j in columns]


def _place(shape: Sequence[int], i: int) -> tuple[int, ...]:
    """The indices of a position, counted row by row."""
    place: list[int] = []
    for n in reversed(shape):
        i, k = divmod(i, n)
        place.insert(0, k)
    return tuple(place)


def number(value: Any) -> str:
    """A number to four digits, and a whole one in full."""
    if isinstance(value, complex):
        return f"{value.real:.4g}{value.imag:+.4g}j"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
