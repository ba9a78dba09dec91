"""Notebooks: cells of text and of code, and words that do nothing in them but be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        kind: ``"markdown"`` or ``"code"``.
        text: what it says.
        hidden: whether Jupyter folds its code.
        tags: what programs may find it by.
    """

    kind: str
    text: str
    hidden: bool = False
    tags: Sequence[str] = field(default=())


def words(text: str) -> Cell:
    """A cell of Markdown."""
    return Cell("markdown", text.strip())


def code(text: str, *tags: str, hidden: bool = False) -> Cell:
    """A cell of Python."""
    return Cell("code", text.strip("\n"), hidden, tags)


def notebook(cells: Sequence[Cell]) -> Any:
    """A notebook of these cells, without outputs: the same each time.

    Raises:
        ImportError: the nbformat package is missing.
    """
    v4 = nbformat_of("exercise").v4
    made = []
    for i, cell in enumerate(cells):
        metadata: dict[str, Any] = {"tags": list(cell.tags)} if cell.tags else {}
        if cell.hidden:
            metadata["jupyter"] = {"source_hidden": True}
        new = v4.new_markdown_cell if cell.kind == "markdown" else v4.new_code_cell
        made.append(new(cell.text, id=f"cell-{i}", metadata=metadata))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return v4.new_notebook(cells=made, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def write(cells: Sequence[Cell], path: Path) -> None:
    """Write a notebook of these cells; a file that is there is overwritten."""
    made = notebook(cells)
    nbformat = nbformat_of("exercise")
    nbformat.validate(made)
    path.write_text(nbformat.writes(made) + "\n", encoding="utf-8")


def nbformat_of(caller: str) -> Any:
    """The package that knows the format.

    Raises:
        ImportError: it is missing.
    """
    try:
        import nbformat
    except ImportError as error:
        raise ImportError(
            f"{caller}: notebooks need the nbformat package: pip install 'tapegrad[notebooks]'"
        ) from error
    return nbformat


def span(text: str) -> str:
    """Text of a user's as code within Markdown, whatever is in it: of one line, of printable characters."""
    shown = "".join([c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:200]]) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    pad = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def escaped(text: str) -> str:
    """Text of a user's within Markdown, as it stands: of one line, of printable characters."""
    text = " ".join(text[:200].split())
    shown = "".join([c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text])
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", shown)
