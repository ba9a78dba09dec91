"""The compute graph of the whole pass, as a picture."""

from pathlib import Path

from examples.makemore.errors import UserError
from examples.makemore.model import Tensor, forward
from tapegrad import tape, viz


def draw_pass(v: dict[str, Tensor], out: Path) -> list[Path]:
    """Draws the tape of `lecture_pass` as SVG and PNG; returns the files written."""
    print(f"{len(tape(v['loss']))} operations on {len(tape(v['loss']).leaves)} parameters")
    graph = viz.draw(v["loss"], names=v)
    paths = [out / "graph.svg", out / "graph.png"]
    try:
        for path in paths:
            viz.render(graph, path)
    except viz.NoRenderer as error:
        raise UserError(str(error)) from error
    return paths


def page_pass(v: dict[str, Tensor], out: Path) -> Path:
    """Writes the page that steps through the backward pass of `lecture_pass`; returns its path."""
    path = out / "page.html"
    viz.page(v["loss"], path, names=v, code=forward, title="Backprop ninja: the lecture's pass, step by step")
    return path
