"""What a Tape can do once this is imported: ``source`` and ``bindings``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from tapegrad.inspect.names import scope_of
from tapegrad.inspect.tape import Tape
from tapegrad.source.closed import ClosedProgram
from tapegrad.source.program import Program


def _program(
    tape: Tape, scope: Mapping[str, Any], style: str, forward: bool, explain: bool = False
) -> Program | ClosedProgram:
    if style != "closed":
        return Program(tape, scope, style, explain)
    if forward:
        raise ValueError("source: style='closed' has no forward; take forward=True with style='plain' or 'exact'")
    return ClosedProgram(tape, scope, explain)


def source(
    self: Tape,
    names: Mapping[str, Any] | None = None,
    style: str = "plain",
    forward: bool = False,
    explain: bool = False,
) -> str:
    """The backward pass of this tape, as PyTorch source.

    Args:
        self: the tape.
        names: variable name -> value, to call tensors by, for example ``locals()``; by default, the variables that
            the calling code can see.
        style: ``"plain"`` writes the textbook formulas; ``"exact"`` writes the kernels, equal to the engine's
            gradients bit for bit; ``"closed"`` writes every part of the pass in its cheapest closed form, as
            ``tapegrad.derive`` finds it, equal but for rounding, and leaves out the gradients that nobody needs then.
        forward: write ``forward(...)`` as well, which returns the outputs and a dict of what ``backward`` needs:
            together they are a whole program.
        explain: say above each line why it is as it is: a broadcast becomes a sum, an index scatters, uses add up.

    Returns:
        A function ``backward(...)``, whose parameters are the tensors it needs, by name, and which returns a dict
        from name to gradient: of the leaves and of every named intermediate. Of one output with one element the
        gradient is 1; otherwise those of the outputs are parameters too: ``dout`` for ``out``. Above the lines stand
        the lines of the forward pass that they undo, as they were written; where those cannot be read, behind a line
        the same in other words, if there is room.

    Example:
        >>> x = tapegrad.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        >>> b = tapegrad.tensor([1.0, 2.0], requires_grad=True)
        >>> loss = (x * b).sum()
        >>> print(tapegrad.tape(loss).source(explain=True))
    """
    program = _program(self, scope_of(names), style, forward, explain)
    return program.text(forward) if isinstance(program, Program) else program.text()


def bindings(
    self: Tape, names: Mapping[str, Any] | None = None, style: str = "plain", forward: bool = False
) -> dict[str, torch.Tensor]:
    """The raw tensors to call the functions of ``source`` with, by name: ``forward`` if it is there.

    Gradients of outputs, where they are parameters, are for the caller to add.
    """
    program = _program(self, scope_of(names), style, forward)
    return program.bindings(forward) if isinstance(program, Program) else program.bindings()


Tape.source = source  # type: ignore[method-assign]  # which inspect/tape.py declares
Tape.bindings = bindings  # type: ignore[method-assign]  # likewise
