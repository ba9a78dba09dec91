"""A picture as a file."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import graphviz
import torch

from tapegrad.inspect.names import scope_of
from tapegrad.inspect.tape import Tape
from tapegrad.tracebacks import trimmed

from .dot import draw
from .engine import FORMATS, NoRenderer, layout


@trimmed
def render(
    picture: graphviz.Digraph | torch.Tensor | Tape,
    path: str | PathLike[str],
    *,
    names: Mapping[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Write a picture to a file, in the format that its suffix names: .svg, .png, .pdf, or .gv for the DOT itself.

    Args:
        picture: what ``draw`` returned, or what to draw.
        path: where to; a file that is there is overwritten.
        names: as for ``draw``.
        **options: as for ``draw``.

    Returns:
        The path.

    Raises:
        NoRenderer: nothing on this machine can lay out the graph. Its DOT is then written beside ``path``.
        ValueError: another suffix.
    """
    path = Path(path)
    format = path.suffix[1:].lower()
    if format not in (*FORMATS, "gv"):
        raise ValueError(f"render: {path.name}: the suffix must be one of .{', .'.join(FORMATS)}, .gv")
    if not isinstance(picture, graphviz.Digraph):
        picture = draw(picture, names=scope_of(names), **options)
    if format == "gv":
        path.write_text(picture.source, encoding="utf-8")
        return path
    try:
        path.write_bytes(layout(picture.source, format))
    except NoRenderer as error:
        source = path.with_suffix(".gv")
        source.write_text(picture.source, encoding="utf-8")
        raise NoRenderer(f"render: {error}; the graph in DOT is in {source}") from None
    return path
