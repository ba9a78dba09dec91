"""The compute graph of the whole pass, as a picture."""

from pathlib import Path

from examples.makemore.compare import ROWS
from examples.makemore.errors import UserError
from examples.makemore.model import Tensor
from tapegrad import viz


def draw_pass(v: dict[str, Tensor], out: Path) -> list[Path]:
    """Draws the tape of `lecture_pass` as SVG and PNG; returns the files written."""
    graph = viz.draw(v["loss"], names={name: v[name] for name in (*ROWS, "loss")})
    paths = [out / "graph.svg", out / "graph.png"]
    try:
        for path in paths:
            viz.render(graph, path)
    except viz.NoRenderer as error:
        raise UserError(str(error)) from error
    return paths
