"""Backward: the one loop. Newest record first: apply its rule, unbroadcast, accumulate."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from heapq import heappop, heappush
from typing import Any

import torch

from tapegrad.engine.gradients import Gradients, Part, conjugated, one_each, own
from tapegrad.engine.hooks import Hooks
from tapegrad.engine.tape import Record, freed, observers, reached, shape_text
from tapegrad.engine.tensor import Tensor, kind, raw, wrap
from tapegrad.engine.versions import refuse_change
from tapegrad.errors import StaleTensor


def walk(
    starts: Sequence[tuple[Any, Any]],
    targets: Sequence[Any] | None = None,
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
    hooks: bool = True,
    gradients: Gradients | None = None,
) -> dict[Any, Any]:
    """Carry cotangents from ``starts`` back along the tape, newest record first.

    A record is newer than all that it was computed from, so when its turn comes all its users have been walked and
    its gradient is complete. Gradients are summed in that same order, which is torch's, so the bits agree.

    Args:
        starts: nodes and their cotangents, the conjugates of torch's gradients: see ``op.py``.
        targets: the nodes whose gradients are wanted, and the only ones that paths lead to; None for all leaves.
        retain_graph: leave the records as they are; otherwise each is freed as the walk passes it.
        create_graph: run the rules on Tensors, so that the walk is recorded.
        hooks: run hooks, and leave gradients on computed tensors that retain theirs.
        gradients: what they are kept in meanwhile; nn/ has one that does not keep those of leaves.

    Returns:
        A gradient for each target, or each leaf, that was reached: torch's, and no conjugates.
    """
    wanted = set(targets or ())
    path, leading = (None, wanted) if targets is None else _paths_to(wanted, starts)
    gradients = gradients or Gradients(in_place=not create_graph)
    pending = gradients.pending
    queue: list[tuple[int, Record]] = []
    result: dict[Any, Any] = {}
    observer = next(iter(observers[-1:]), None)
    held: Any

    def give(node: Any, part: Any, record: Any = None, argument: str = "") -> None:
        if gradients.give(node, part, record, argument) and type(node) is Record:
            heappush(queue, (node.rank, node))

    # A sum is made in place if nobody but ``pending`` refers to it, and ``own`` copies what others hold. Both count
    # references: so every local variable that has held a gradient is set to None once it is not needed.
    for node, g in starts:
        if path is None or node in path or len(starts) == 1:  # as torch: hooks of a single start always run
            give(node, g)
    while queue:
        record = heappop(queue)[1]
        g = computed = pending.pop(record)
        if record.hooks is not None and hooks:
            g = run_hooks(record.hooks, g, create_graph)
        parents = record.parents
        if path is not None:
            if record in wanted:  # before its hooks if another target lies behind it, as torch has it
                result[record] = conjugated(computed if record in leading else g)
            if record not in leading:
                continue  # no other target lies behind it
            parents = parents and tuple([p if p in path else None for p in parents])
        if parents is None:
            raise freed(record)
        for held, version in record.watched:
            if held._version != version:
                refuse_change(record, held, version)
        op = record.op
        saved, pullbacks = (on_tape(record), op.recorded_pullbacks) if create_graph else (record.saved, op.pullbacks)
        for argument, pullback, parent in zip(op.parameters, pullbacks, parents, strict=True):
            if parent is None:
                continue
            part = pullback(g, saved, parent)  # type: ignore[misc]  # apply checked that there is a rule
            if observer is not None:
                for piece in part if isinstance(part, (tuple, list)) else (part,):
                    observer.passed(record, argument, piece.g if type(piece) is Part else raw(piece))
            if type(parent) is not tuple:
                if gradients.give(parent, part, record, argument) and type(parent) is Record:
                    heappush(queue, (parent.rank, parent))
            else:
                for node, piece in zip(parent, one_each(part, parent, record, argument), strict=True):
                    if node is not None and piece is not None and (path is None or node in path):
                        give(node, piece, record, argument)
            part = piece = None  # summed parts can be freed
        if not retain_graph:
            record.parents = None
            record.saved = record.watched = ()
        saved, held = (), None  # free them now; the next record may save nothing
    g = computed = None
    if not create_graph:
        own(pending)
    for leaf, g in pending.items():
        if leaf.hooks is not None and hooks:
            g = run_hooks(leaf.hooks, g, create_graph)
        if path is None or leaf in wanted:  # a leaf to start from need not be a target
            result[leaf] = conjugated(g)
    return result


def run_hooks(hooks: Hooks, g: Any, create_graph: bool = False) -> Any:
    """The gradient after each hook has seen it and maybe replaced it; it is then left where it is retained."""
    g = conjugated(g)
    for hook in list(hooks.values()):
        if (replaced := hook(g)) is None:
            continue
        if not isinstance(replaced, (Tensor, torch.Tensor)):
            raise TypeError(f"register_hook: a hook returns a gradient or None, not {type(replaced).__name__}")
        if kind(replaced) != kind(g):
            raise RuntimeError(
                f"register_hook: a hook must keep the gradient's shape, dtype, device: {kind(g)}, not {kind(replaced)}"
            )
        g = replaced if create_graph else raw(replaced)
    tensor = None if hooks.retained is None else hooks.retained()
    if tensor is not None:
        tensor.grad = raw(g).clone() if tensor.grad is None else tensor.grad + raw(g)
    return conjugated(g)


def on_tape(record: Record) -> tuple[Any, ...]:
    """A record's saved values as Tensors, for rules that are recorded in their turn."""
    nodes = (record, *(record.parents or ()), *[None] * len(record.op.aux))
    return tuple([_lift(v, n, record) for v, n in zip(record.saved, nodes, strict=True)])


def _lift(value: Any, node: Any, record: Record) -> Any:
    """A saved value as the Tensor that it was."""
    if value is None or node is None:
        return value
    if type(node) is tuple:
        return tuple([_lift(v, n, record) for v, n in zip(value, node, strict=True)])
    if type(node) is Record:
        return wrap(value, node)
    if node._data is not value:
        raise StaleTensor(
            f"grad: {record.op.name} needs a leaf, of shape {shape_text(value.shape)}, as it was in the forward "
            f"pass, but its data was replaced since; call grad() before that"
        )
    return node


def _paths_to(targets: Collection[Any], starts: Sequence[tuple[Any, Any]]) -> tuple[set[Any], set[Any]]:
    """The nodes, and the sequences of nodes, on some path from a start to a target; and the records that lead on."""
    path = set(targets)
    leading = set()
    for record in reached([node for node, _ in starts]):
        for parent in record.parents or ():
            if parent in path or (type(parent) is tuple and not path.isdisjoint(parent)):
                path.update((record, parent))
                leading.add(record)
    return path, leading
