"""``tapegrad.derive``: which part of a tape to do on paper, and where to start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tapegrad.algebra import terms
from tapegrad.algebra.chunk import Chunk, dominators, path_between, substituted
from tapegrad.algebra.definitions import Definitions, names_in
from tapegrad.algebra.derivation import Derivation
from tapegrad.algebra.terms import Polynomial
from tapegrad.engine.tape import shape_text
from tapegrad.engine.tensor import Tensor, raw
from tapegrad.engine.tensor import node as node_of
from tapegrad.inspect.names import merged, scope_of, tensors_in
from tapegrad.inspect.tape import Tape, tape
from tapegrad.tracebacks import trimmed

STARTS = 8  # that are tried
EFFORT = 30_000  # products that one of them may take


@trimmed
def derive(
    loss: Tensor | Tape, of: Tensor | str, start: Tensor | str | None = None, names: Mapping[str, Any] | None = None
) -> Derivation:
    """The closed form of a gradient, with its derivation: what one would find on paper.

    Args:
        loss: what is differentiated, a Tensor whose tape is still there, or a Tape of one output.
        of: the Tensor whose gradient is asked for, or its name.
        start: the Tensor, or its name, whose gradient is taken as given, so that the derivation covers what lies
            between it and ``of``; by default the one that gives the cheapest formula.
        names: variable name -> value, to call tensors by, for example ``locals()``; by default, the variables that
            the calling code can see.

    Returns:
        A Derivation, which prints line by line with the reasons. Its formula is not equal to the engine's gradient bit
        for bit: it is another order of operations, checked in float64 on the tape's values and on random ones.

    Raises:
        TypeError: ``loss``, ``of`` or ``start`` is no Tensor of tapegrad's.
        ValueError: the tape has complex numbers, there is no such name, or no gradient flows from ``start`` to ``of``.
        FreedTape: a backward without ``retain_graph=True`` has freed the tape.

    Example:
        >>> x = tapegrad.tensor([[1.0, 2.0, 4.0]], requires_grad=True)
        >>> y = x.exp() / x.exp().sum(1, keepdim=True)
        >>> tapegrad.derive(y, of=x).formula
        'y * (dy - (dy * y).sum(1, keepdim=True))'
    """
    scope = scope_of(names)
    definitions = read(loss, scope)
    target = _node(of, "of", definitions, scope)
    output = definitions.tape.outputs[0]
    if start is None:
        chunk = cheapest(definitions, output, target)
    else:
        given = _node(start, "start", definitions, scope)
        if given is target or not path_between(definitions, given, target):
            raise ValueError(
                f"derive: no gradient flows from start, {definitions.names[given]!r}, to "
                f"{definitions.names[target]!r}; leave start out to have one chosen"
            )
        chunk = _chunk(definitions, given, target)
    return Derivation(chunk)


def read(loss: Tensor | Tape, scope: Mapping[str, Any]) -> Definitions:
    """A tape in index notation, by the names of a scope."""
    if not isinstance(loss, (Tensor, Tape)):
        raise TypeError(
            f"derive: loss must be a Tensor of tapegrad's, not {type(loss).__module__}.{type(loss).__name__}"
        )
    recorded = loss if isinstance(loss, Tape) else tape(loss, names=scope)
    if len(recorded.outputs) != 1:
        raise ValueError(
            f"derive: this tape has {len(recorded.outputs)} outputs; pass the tape of one, tapegrad.tape(loss)"
        )
    nodes: list[Any] = [*recorded, *recorded.leaves]
    if any(node.dtype.is_complex for node in nodes):
        raise ValueError(
            "derive: the tape has complex numbers, and closed forms are of real ones; tape(loss).source() writes out "
            "the rules of these, too"
        )
    return Definitions(recorded, merged(recorded.names, scope), constants_in(scope))


def constants_in(scope: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors of a scope that take no gradient."""
    return {name: raw(value) for name, value in tensors_in(scope) if _is_constant(value)}


def _is_constant(value: Tensor | torch.Tensor) -> bool:
    """Whether no gradient goes to a tensor."""
    return node_of(value) is None if isinstance(value, Tensor) else not value.requires_grad


def _node(what: Any, argument: str, definitions: Definitions, scope: Mapping[str, Any]) -> Any:
    """The node that an argument means."""
    if isinstance(what, str):
        found = next((n for n, name in definitions.names.items() if name == what), None)
        if found is None:
            what, name = scope.get(what), what
            if what is None:
                known = ", ".join(sorted(definitions.own)) or "nothing on the tape has a name"
                raise ValueError(f"derive: {argument}={name!r} is no tensor of this tape; there are: {known}")
        else:
            return found
    if not isinstance(what, Tensor):
        raise TypeError(f"derive: {argument} must be a Tensor of tapegrad's or a name, not {type(what).__name__}")
    node = node_of(what)
    if node not in definitions.names:
        raise ValueError(
            f"derive: loss does not depend on {argument}, of shape {shape_text(what.shape)}, or it takes no gradient; "
            f"pass a Tensor that loss was computed from"
        )
    return node


def cheapest(definitions: Definitions, output: Any, target: Any) -> Chunk:
    """From the start where the closed form saves most against the backward pass line by line."""
    starts = [n for n in dominators(definitions, [output], target) if n is output or _named(definitions, n)][:STARTS]
    if not starts:
        raise ValueError(
            f"derive: of={definitions.names[target]!r} is the loss itself, whose gradient is given; pass a Tensor that "
            f"loss was computed from"
        )
    best: tuple[int, Chunk] | None = None
    for start in starts:
        chunk = _chunk(definitions, start, target)
        found = closed_form(chunk)
        if found is None:
            break  # from here on, something lies between that algebra cannot see through
        if best is None or found.lines - found.cost >= best[0]:
            best = (found.lines - found.cost, chunk)
        if not found.cost:
            break  # it is a number
    return best[1] if best is not None else _chunk(definitions, starts[0], target)


def _chunk(definitions: Definitions, start: Any, target: Any) -> Chunk:
    """From a start to a target; the gradient of a loss that is a number is 1."""
    (output,) = definitions.tape.outputs
    return Chunk(definitions, start, target, seeded=start is output and output.shape.numel() == 1)


def _named(definitions: Definitions, node: Any) -> bool:
    return definitions.names[node] in definitions.own


@dataclass(frozen=True)
class ClosedForm:
    """A gradient in terms of the one that it starts from.

    Attributes:
        form: the cheapest that was found.
        cost: the elements that it reads and writes.
        lines: the elements that the lines of the chunk read and write.
    """

    form: Polynomial
    cost: int
    lines: int


def closed_form(chunk: Chunk) -> ClosedForm | None:
    """The closed form of a chunk's target, without its derivation; None if there is none, or it takes too long."""
    definitions = chunk.definitions
    known: dict[str, Polynomial] = {}
    gradients = {definitions.gradient_name(n) for n in chunk.path[1:]}
    form: Polynomial = {}
    lines = 0
    try:
        with terms.effort(EFFORT):
            for node, line in chunk.lines.items():
                atoms = set(names_in(line)) - set(definitions.sources) - gradients
                if any(definitions.mentioned(a) & gradients for a in atoms):
                    return None
                lines += chunk.layout.cost(line)
                form = substituted(line, known, definitions)
                known[definitions.gradient_name(node)] = form
            form, _ = chunk.folding.search(form)
    except terms.TooMuch:
        return None
    return ClosedForm(form, chunk.layout.cost(form), lines)
