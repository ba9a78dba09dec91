"""Functions and modules in the making: heads, results and imports."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tapegrad.engine.tape import shape_text
from tapegrad.source.layout import LINE, plain


def module(functions: Sequence[str]) -> str:
    """Functions, with what they import."""
    whole = "\n\n\n".join(functions)
    imports = [
        *(["import torch"] if re.search(r"\btorch\.", whole) else []),
        *(["import torch.nn.functional as F"] if re.search(r"\bF\.", whole) else []),
    ]
    return "\n".join([*imports, *(["", ""] if imports else []), whole, ""])


def function(name: str, inputs: Sequence[str], lines: Sequence[str], before: str, results: Any) -> str:
    """A function that ends with a dict.

    Args:
        name: what it is called.
        inputs: its parameters.
        lines: its body, indented.
        before: what stands before the dict: ``return``, or ``saved =``.
        results: pairs of a key and the variable that it stands for.
    """
    head = f"def {name}({', '.join(inputs)}):"
    if len(head) > LINE:
        head = f"def {name}(\n    {', '.join(inputs)}\n):"
    if max(map(len, head.splitlines())) > LINE:
        head = f"def {name}(\n" + "".join(f"    {n},\n" for n in inputs) + "):"
    items = [f"{plain(key).text}: {value}" for key, value in results]
    last = f"    {before}{{{', '.join(items)}}}"
    if len(last) > LINE:
        last = f"    {before}{{\n" + "".join(f"        {item},\n" for item in items) + "    }"
    return "\n".join([head, *lines, last])


def shape_comment(node: Any) -> tuple[str, ...]:
    """A node's shape, to stand behind the line that computes it; nothing for a number."""
    return (shape_text(node.shape),) if node.shape else ()
