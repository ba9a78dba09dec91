"""The backward pass of a tape in closed forms, as PyTorch source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from tapegrad.algebra.closed import Closed
from tapegrad.algebra.definitions import Definitions
from tapegrad.algebra.derive import constants_in
from tapegrad.engine.tape import reached
from tapegrad.inspect.names import merged
from tapegrad.inspect.tape import Tape
from tapegrad.source.body import INDENT
from tapegrad.source.explain import Explained
from tapegrad.source.layout import LINE, wrapped
from tapegrad.source.module import function, module, shape_comment
from tapegrad.source.quotes import Headings, Quotes

EXPLAINED = "    # the reasons are those of the steps that a line stands for"
HEAD = "    # closed forms: equal to the gradients of the pass step by step, but for rounding"


class ClosedProgram:
    """The backward pass of a tape in closed forms, written out.

    Args:
        tape: what to write.
        scope: variable name -> value, to call tensors by.
        explain: see ``Tape.source``.
    """

    def __init__(self, tape: Tape, scope: Mapping[str, Any], explain: bool = False) -> None:
        if len(tape.outputs) != 1:
            raise ValueError(
                f"source: style='closed' is for a tape of one output, and this one has {len(tape.outputs)}; ask each "
                f"output for its own tape"
            )
        reached(tape.outputs)  # raises if the tape was freed
        self._named = merged(tape.names, scope)
        self._definitions = Definitions(tape, self._named, constants_in(scope))
        self._code = Closed(self._definitions).code
        self._quotes = Quotes(tape)
        self._tape, self._explain = tape, explain

    def text(self) -> str:
        """The source."""
        lines, results = [HEAD, *([EXPLAINED] if self._explain else [])], []
        statements, headings = self._code.statements(), Headings(INDENT)
        names = self._definitions.names
        explained = Explained(self._tape, names.__getitem__, statements) if self._explain else None
        for node, (name, text) in statements.items():
            reasons = explained.of(node) if explained is not None else ()
            lines += headings.above(self._quotes.of_users(node, statements), reasons)
            lines += wrapped(f"{name} = {text}")
            commented = f"{lines[-1]}  # {', '.join(shape_comment(node))}"
            lines[-1] = commented if node.shape and len(commented) <= LINE else lines[-1]
            results.append((self._named.get(node, self._definitions.names[node]), name))
        return module([function("backward", self._code.inputs, lines, "return ", results)])

    def bindings(self) -> dict[str, torch.Tensor]:
        """The tensors to call the function with."""
        return self._code.bindings()
