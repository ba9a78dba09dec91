"""Formulas as a program: the statements, with the shapes and dtypes that gradients have, and what to call it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.algebra.definitions import Definitions
from tapegrad.algebra.originals import Originals
from tapegrad.algebra.tree import Node, Writer
from tapegrad.inspect.grad_mode import in_grad_mode

IMPORTS = {"import torch": "torch.", "import torch.nn.functional as F": "F."}  # line -> what needs it


class Code:
    """Statements that compute gradients.

    Args:
        definitions: the tape.
        start: the node whose gradient is given.
        lines: node -> its gradient as a formula, in the order in which they are computed.
        results: the nodes whose gradients are wanted.

    Attributes:
        inputs: the tensors that the statements need, by name; the given gradient first.
    """

    def __init__(self, definitions: Definitions, start: Any, lines: Mapping[Any, Node], results: Sequence[Any]) -> None:
        self._definitions = definitions
        self._values = Originals(definitions)
        self._start = start
        self._given = definitions.gradient_name(start)
        self._lines = lines
        names = {definitions.gradient_name(node): node for node in lines}
        self._needed = self._behind(results, names)
        mentioned = set().union(*[mentioned_in(lines[n], definitions) for n in self._needed])
        order = {name: i for i, name in enumerate(definitions.sources, 1)} | {self._given: 0}
        self.inputs = sorted(mentioned - set(map(definitions.gradient_name, self._needed)), key=lambda n: order[n])

    def _behind(self, results: Sequence[Any], names: Mapping[str, Any]) -> Sequence[Any]:
        """The lines that the results refer to, and they."""
        needed = set(results)
        stack = list(results)
        while stack:
            mentioned = mentioned_in(self._lines[stack.pop()], self._definitions)
            for name in mentioned & set(names):
                if names[name] not in needed:
                    needed.add(names[name])
                    stack.append(names[name])
        return [node for node in self._lines if node in needed]

    def statements(self) -> dict[Any, tuple[str, str]]:
        """Node -> the name and the formula of its gradient, as PyTorch runs it."""
        scope: dict[str, Any] = {"torch": torch, "F": F, **self.bindings()}
        for name in set(self.inputs) - set(scope):  # gradients, which are for the caller to give
            scope[name] = torch.ones(self._definitions.shapes[name], dtype=self._start.dtype)
        found = {}
        for node in self._needed:
            name = self._definitions.gradient_name(node)
            text = in_dtype(Writer(code=True).text(self._lines[node]), node.dtype)
            text = fitted(text, _run(text, scope), node)
            scope[name] = _run(text, scope)
            found[node] = name, text
        return found

    def text(self) -> str:
        """A function ``gradient(...)`` that returns the last one."""
        lines = [f"    {name} = {text}\n" for name, text in self.statements().values()]
        body = "".join([*lines, f"    return {self._definitions.gradient_name(self._needed[-1])}\n"])
        imports = [line for line, used in IMPORTS.items() if used in body]
        head = f"def gradient({', '.join(self.inputs)}):\n"
        return "\n".join([*imports, *(["", ""] if imports else []), head + body])

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
        shape, sizes = tuple(node.shape), ", ".join(map(str, node.shape)) or "()"
        dtype = "" if node.dtype == torch.get_default_dtype() else f", dtype={node.dtype}"
        return f"torch.zeros({sizes}{dtype})" if not value else f"torch.full({shape}, {float(value)}{dtype})"
    text = text if value.shape == node.shape and value.dtype == node.dtype else f"({text})"
    if value.shape != node.shape:
        sizes = ", ".join(map(str, node.shape)) or "()"
        extra = f"[{', '.join(['0'] * (value.ndim - len(node.shape)))}]" if value.ndim > len(node.shape) else ""
        text += f".view({sizes})" if value.numel() == node.shape.numel() else f"{extra}.expand({sizes})"
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


def _run(text: str, scope: dict[str, Any]) -> Any:
    return in_grad_mode(False, lambda: eval(text, scope))
