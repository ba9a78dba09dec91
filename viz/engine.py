"""The layout engine: DOT in, a picture out."""

from __future__ import annotations

import shutil
import subprocess

FORMATS = ("svg", "png", "pdf")  # a format that it does not know crashes the bundled engine, and Python with it
_SHARP = {"png": "-Gdpi=144"}


class NoRenderer(RuntimeError):
    """Nothing on this machine can lay out a graph."""


def layout(source: str, format: str) -> bytes:
    """Lay out a graph with ``dot`` from PATH, or else with the engine that pygraphviz brings along.

    Args:
        source: the graph in DOT.
        format: one of ``FORMATS``.

    Raises:
        NoRenderer: there is neither.
        ValueError: another format.
    """
    if format not in FORMATS:
        raise ValueError(f"render: no format {format!r}, only {', '.join(FORMATS)}")
    options = _SHARP.get(format, "")
    if dot := shutil.which("dot"):
        command = [dot, f"-T{format}", *options.split()]
        return subprocess.run(command, input=source.encode(), stdout=subprocess.PIPE, check=True).stdout
    try:
        from pygraphviz import AGraph
    except ImportError:
        raise NoRenderer(
            "nothing here can lay out a graph: pip install 'tapegrad[viz]', which brings an engine along, or install "
            "graphviz so that 'dot' is on PATH"
        ) from None
    picture: bytes = AGraph(string=source).draw(format=format, prog="dot", args=options)
    return picture
