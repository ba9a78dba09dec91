"""The tensors themselves, in their own dtypes, that a formula's names stand for."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

from tapegrad.algebra.definitions import Definitions, parts_of_gradient
from tapegrad.engine.tape import Record
from tapegrad.engine.walk import walk
from tapegrad.inspect.grad_mode import in_grad_mode
from tapegrad.inspect.replay import replay


class Originals:
    """The values of a tape by name.

    Args:
        definitions: what the names mean.
    """

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions

    @cached_property
    def _replayed(self) -> dict[Any, Any]:
        """The tape run again in its own dtypes, for what no rule needed and no record kept."""
        tape = self._definitions.tape
        return in_grad_mode(False, lambda: replay(tape, {leaf: leaf._data for leaf in tape.leaves}))

    def __getitem__(self, name: str) -> torch.Tensor | None:
        source: Any = self._definitions.sources[name]
        if isinstance(source, torch.Tensor):
            return source
        if isinstance(source, int):
            return self._definitions.constants.originals[source]
        if type(source) is tuple and source[0] == "part":
            g = self.gradient(source[1])
            return None if g is None else parts_of_gradient(source[1], g, source[1].saved)[source[2]][1]
        if type(source) is tuple:
            value: torch.Tensor = source[0].saved[source[1]]
            return value
        if type(source) is Record:
            kept: torch.Tensor = source.out if source.out is not None else self._replayed[source]
            return kept
        leaf: torch.Tensor = source._data
        return leaf

    def gradient(self, node: Any) -> torch.Tensor | None:
        """The engine's gradient of a node, if the tape leads to a number."""
        (output,) = self._definitions.tape.outputs
        if output.shape.numel() != 1:
            return None
        one = torch.ones(output.shape, dtype=output.dtype, device=self._definitions.run.value(output).device)
        return walk([(output, one)], [node], retain_graph=True, hooks=False).get(node)
