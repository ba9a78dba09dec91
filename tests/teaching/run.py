"""Running notebooks without Jupyter: their code cells, one after another, in one namespace."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import torch


def cells(path: Path, tag: str = "") -> list[str]:
    """The code cells of a notebook; of those with a tag, if one is given."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [c for c in found if c["cell_type"] == "code" and (not tag or tag in c["metadata"].get("tags", []))]
    return ["".join(c["source"]) for c in code]


def markdown(path: Path) -> str:
    """The text of a notebook."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(c["source"]) for c in found if c["cell_type"] == "markdown")


def executed(sources: list[str], space: dict[str, Any] | None = None) -> list[Any]:
    """What the last expression of each cell is, where a cell ends with one."""
    space = {"__name__": "__main__"} if space is None else space
    values = []
    mode = torch.is_grad_enabled()
    try:
        for source in sources:
            tree = ast.parse(source)
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "<cell>", "exec"), space)
            values.append(None if last is None else eval(compile(ast.Expression(last.value), "<cell>", "eval"), space))
    finally:
        torch.set_grad_enabled(mode)
    return values
