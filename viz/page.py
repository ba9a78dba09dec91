"""The page: one HTML file, in which a person steps through the backward pass of a tape."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from tapegrad.engine.tape import shape_text
from tapegrad.engine.tensor import Tensor
from tapegrad.errors import FreedTape
from tapegrad.inspect.names import scope_of
from tapegrad.inspect.tape import Tape, with_code
from tapegrad.inspect.tape import tape as tape_of
from tapegrad.tracebacks import trimmed

from .steps import Steps

_HERE = Path(__file__).parent


class Page:
    """A page that shows a backward pass step by step. In Jupyter it shows itself.

    Attributes:
        html: the whole page.
        path: the file that it was written to, or None.
    """

    def __init__(self, html: str, path: Path | None) -> None:
        self.html, self.path = html, path

    def _repr_html_(self) -> str:
        return (
            '<iframe title="The backward pass, step by step" style="width: 100%; height: 700px; border: 0" '
            f'sandbox="allow-scripts" srcdoc="{escape(self.html)}"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<page of {len(self.html):,} characters{f', in {self.path}' if self.path else ''}>"


@trimmed
def page(
    loss: torch.Tensor | Tape,
    path: str | PathLike[str] | None = None,
    *,
    names: Mapping[str, Any] | None = None,
    code: Any = None,
    gradient: Any = None,
    title: str = "",
) -> Page:
    """Write a page in which one steps through the backward pass, record by record.

    It is one file that needs no network: the picture of the tape, the forward lines and the backward lines, linked; and
    for each step the rule's formula, the reason, and heat maps with numbers of what comes in and what is sent on. Of
    large tensors it shows some rows and columns, and says so. The tape stays as it is.

    Args:
        loss: a Tensor that requires grad, or a Tape.
        path: the file to write; None to have the page shown in Jupyter only.
        names: variable name -> value, to call nodes by, for example ``locals()``; by default, the variables that the
            calling code can see.
        code: the function whose lines computed the loss, to quote them; by default, the calling code.
        gradient: the cotangent, as for ``Tape.backward``; 1 for an output of one element.
        title: what the page is called.

    Raises:
        FreedTape: a backward without ``retain_graph=True`` has freed the tape.
        ValueError: nothing was recorded.
        TypeError: ``loss`` is neither.
    """
    scope = with_code(scope_of(names), code, "page")
    if not isinstance(loss, (Tensor, Tape)):
        raise TypeError(f"page: loss must be a Tensor or Tape of tapegrad, not a {type(loss).__name__}")
    try:
        tape = loss if isinstance(loss, Tape) else tape_of(loss, names=scope)
        if not len(tape):
            raise ValueError("page: this tensor is a leaf: nothing led to it, and there is no step to show")
        data = Steps(tape, scope, gradient).data
    except FreedTape as error:
        raise FreedTape(f"page: {error}") from None
    output = tape.outputs[0]
    data["title"] = title or f"The backward pass of {tape.name(output)}, {shape_text(output.shape)}"
    html = _filled(data)
    where = None if path is None else Path(path)
    if where is not None:
        where.write_text(html, encoding="utf-8")
    return Page(html, where)


def _filled(data: Mapping[str, Any]) -> str:
    """The page around its data. What a script might take for its own end is written as an escape."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    code = (_HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    html = (_HERE / "page.html").read_text(encoding="utf-8")
    title = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(data["title"]))
    parts = {"@SCRIPTS@": f"'sha256-{digest}'", "@TITLE@": escape(title), "@CODE@": code, "@DATA@": text}
    for mark, part in parts.items():  # the data last, for it may have a mark in it
        before, _, after = html.partition(mark)
        html = before + part + after
    return html
