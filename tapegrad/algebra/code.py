"""A derivation as a program: a function that returns the closed form, and what to call it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.algebra.definitions import Definitions
from tapegrad.algebra.originals import Originals
from tapegrad.algebra.tree import Node, Writer


class Code:
    """``gradient(...)``.

    Args:
        definitions: the tape.
        start: the node whose gradient is given.
        lines: node -> its gradient as a formula, the newest first; the last is returned.
    """

    def __init__(self, definitions: Definitions, start: Any, lines: Mapping[Any, Node]) -> None:
        self._definitions = definitions
        self._values = Originals(definitions)
        self._start = start
        self._given = definitions.gradient_name(start)
        self._lines = lines
        names = {definitions.gradient_name(node): node for node in lines}
        self._needed = self._behind(list(lines)[-1], names)
        mentioned = set().union(*[mentioned_in(lines[n], definitions) for n in self._needed])
        order = {name: i for i, name in enumerate(definitions.sources, 1)} | {self._given: 0}
        self.inputs = sorted(mentioned - set(map(definitions.gradient_name, self._needed)), key=lambda n: order[n])

    def _behind(self, target: Any, names: Mapping[str, Any]) -> Sequence[Any]:
        """The lines that the last one refers to, and it."""
        needed = {target}
        stack = [target]
        while stack:
            mentioned = mentioned_in(self._lines[stack.pop()], self._definitions)
            for name in mentioned & set(names):
                if names[name] not in needed:
                    needed.add(names[name])
                    stack.append(names[name])
        return [node for node in self._lines if node in needed]

    def text(self) -> str:
        """The source."""
        scope: dict[str, Any] = {"torch": torch, "F": F, **self.bindings()}
        for name in set(self.inputs) - set(scope):  # gradients, which are for the caller to give
            scope[name] = torch.ones(self._definitions.shapes[name], dtype=self._start.dtype)
        body = ""
        for node in self._needed:
            name = self._definitions.gradient_name(node)
            text = in_dtype(Writer(code=True).text(self._lines[node]), node.dtype)
            with torch.no_grad():
                text = fitted(text, eval(text, scope), node)
                scope[name] = eval(text, scope)
            body += f"    {name} = {text}\n"
        body += f"    return {name}\n"
        imports = "import torch\n" if "torch." in body else ""
        imports += "import torch.nn.functional as F\n" if "F." in body else ""
        return f"{imports}{chr(10) * 2 if imports else ''}def gradient({', '.join(self.inputs)}):\n{body}"

    def bindings(self) -> dict[str, torch.Tensor]:
        """The tensors to call it with; without the gradient to start from, if the tape leads to no number."""
        bound = {}
        for name in self.inputs:
            value = self._values.gradient(self._start) if name == self._given else self._values[name]
            if value is not None:
                bound[name] = value
        return bound


def in_dtype(text: str, dtype: torch.dtype) -> str:
    """A formula of the run in float64, for the tape's own dtype."""
    own = "" if dtype == torch.get_default_dtype() else f", dtype={dtype}"
    return text.replace(", dtype=torch.float64", own).replace("torch.float64", str(dtype))


def fitted(text: str, value: Any, node: Any) -> str:
    """A formula whose value has the shape and dtype of a node."""
    if not isinstance(value, torch.Tensor):
        return f"torch.full({tuple(node.shape)}, {text}, dtype={node.dtype})"
    text = text if value.shape == node.shape and value.dtype == node.dtype else f"({text})"
    if value.shape != node.shape:
        sizes = ", ".join(map(str, node.shape)) or "()"
        text += f".view({sizes})" if value.numel() == node.shape.numel() else f".expand({sizes})"
    return text + (f".to({node.dtype})" if value.dtype != node.dtype else "")


def mentioned_in(tree: Node, definitions: Definitions) -> set[str]:
    """The tensors that a formula is computed from."""
    found: set[str] = set()
    stack = [tree]
    while stack:
        node = stack.pop()
        stack += node.args
        if node.kind in ("name", "atom", "onehot"):
            found |= definitions.mentioned(node.data if node.kind == "name" else node.data[0])
    return found
