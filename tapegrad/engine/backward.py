"""The road of the backward pass: walk the records, apply each rule, unbroadcast, accumulate.

``walk`` takes any tape; ``unrolled.py`` writes the same road out for those that ``backward`` meets again and again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from heapq import heappop, heappush
from sys import getrefcount
from typing import Any

import torch

from tapegrad.anomaly import active
from tapegrad.apply import node
from tapegrad.broadcasting import Part
from tapegrad.errors import FreedTape, StaleTensor
from tapegrad.gradients import ALONE, Gradients, accumulate
from tapegrad.stale import refuse_change
from tapegrad.tape import Record, reached, shape_text
from tapegrad.tensor import Tensor, native, raw, wrap
from tapegrad.unrolled import walk_unrolled

_set_grad_enabled = torch._C._set_grad_enabled  # what torch.no_grad() calls, without its object


def backward(
    self: Tensor,
    gradient: torch.Tensor | Tensor | None = None,
    retain_graph: bool = False,
    inputs: Sequence[Tensor] | Tensor | None = None,
) -> None:
    """Compute the gradient of this tensor with respect to the leaves, and add it to their ``grad``.

    Args:
        self: what to differentiate, most often a loss.
        gradient: cotangent of this tensor's shape; may be left out if it has one element, then it is 1.
        retain_graph: keep the tape, so that it can be walked again.
        inputs: leave gradients on these tensors only.

    Raises:
        RuntimeError: no gradient can flow from here, or a cotangent is missing or does not fit.
        FreedTape: the tape was walked before without ``retain_graph=True``.
        StaleTensor: a value that a rule needs was changed in place since it was recorded.
    """
    recording = torch.is_grad_enabled()
    _set_grad_enabled(False)
    try:
        place, g = _start(self, gradient, "backward")
        targets = None if inputs is None else _targets(inputs)
        if targets is not None or type(place) is not Record or not walk_unrolled(place, g, retain_graph):
            for target, grad in walk([(place, g)], targets, retain_graph=retain_graph).items():
                if type(target) is Tensor:
                    accumulate(target, grad)
    finally:
        _set_grad_enabled(recording)


Tensor.backward = backward  # type: ignore[method-assign]  # which tensor.py declares


def _targets(inputs: Sequence[Tensor] | Tensor) -> list[Any]:
    """The nodes of ``backward(inputs=...)``, which are to keep their gradients."""
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if not inputs:
        raise RuntimeError("backward: inputs is empty; leave it out to get the gradients of all leaves")
    targets = []
    for i, t in enumerate(inputs):
        targets.append(_target(t, "backward", i))
        t.retain_grad()  # as torch, even if a later one is refused
    return targets


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """Gradients of ``outputs`` with respect to ``inputs``, returned and not left in ``grad``.

    Args:
        outputs: a tensor, or several, whose gradients are summed.
        inputs: a tensor, or several; leaves or computed.
        grad_outputs: a cotangent for each output; None for outputs of one element.
        retain_graph: keep the tape; by default, if ``create_graph``.
        create_graph: record the walk itself, so that the gradients can be differentiated again.
        allow_unused: give None for an input that the outputs do not depend on, where it is otherwise an error.

    Returns:
        For each input, a torch tensor of its shape, or a Tensor if ``create_graph``.

    Raises:
        RuntimeError: an output or input does not require grad, an input is unused, or a cotangent does not fit.
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if not inputs:
        raise RuntimeError("grad: inputs is empty; name the tensors whose gradients are wanted")
    if grad_outputs is None or isinstance(grad_outputs, (Tensor, torch.Tensor)):
        grad_outputs = [grad_outputs] * len(outputs)
    if len(grad_outputs) != len(outputs):
        raise RuntimeError(f"grad: {len(outputs)} outputs but {len(grad_outputs)} grad_outputs")
    targets = [_target(t, "grad", i) for i, t in enumerate(inputs)]
    retain = create_graph if retain_graph is None else retain_graph
    with torch.set_grad_enabled(create_graph):
        starts = [_start(t, g, "grad") for t, g in zip(outputs, grad_outputs, strict=True)]
        grads = walk(starts, targets, retain_graph=retain, create_graph=create_graph)
    for i, target in enumerate(targets):
        if target not in grads and not allow_unused:
            raise RuntimeError(
                f"grad: the outputs do not depend on inputs[{i}], of shape {tuple(inputs[i].shape)}; "
                f"pass allow_unused=True to get None for it"
            )
    found = [grads.get(target) for target in targets]
    # The gradient of a linear function is a constant, which no rule has put on the tape.
    return tuple([wrap(g, None) if create_graph and isinstance(g, torch.Tensor) else g for g in found])


def walk(
    starts: Sequence[tuple[Any, Any]],
    targets: Sequence[Any] | None = None,
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
    hooks: bool = True,
) -> dict[Any, Any]:
    """Carry cotangents from ``starts`` back along the tape, newest record first.

    A record is newer than all that it was computed from, so when its turn comes all its users have been walked and
    its gradient is complete. Gradients are summed in that same order, which is torch's, so the bits agree.

    Args:
        starts: nodes and their cotangents.
        targets: the nodes whose gradients are wanted, and the only ones that paths lead to; None for all leaves.
        retain_graph: leave the records as they are; otherwise each is freed as the walk passes it.
        create_graph: run the rules on Tensors, so that the walk is recorded.
        hooks: run hooks, and leave gradients on computed tensors that retain theirs.

    Returns:
        A gradient for each target, or each leaf, that was reached.
    """
    wanted = set(targets or ())
    path, leading = (None, wanted) if targets is None else _paths_to(wanted, starts)
    gradients = Gradients(in_place=not create_graph)
    pending = gradients.pending
    queue: list[tuple[int, Record]] = []
    result: dict[Any, Any] = {}
    unusual = create_graph or active

    def give(place: Any, part: Any) -> None:
        if gradients.give(place, part) and type(place) is Record:
            heappush(queue, (place.rank, place))

    for place, g in starts:
        if path is None or place in path or len(starts) == 1:  # as torch: hooks of an only start run in any case
            give(place, g)
    while queue:
        record = heappop(queue)[1]
        g = pending.pop(record)
        came = g
        if record.hooks is not None and hooks:
            g = record.hooks.run(g)
        parents = record.parents
        if path is not None:
            if record in wanted:  # on the way to another target, as it came: there, torch runs hooks later
                result[record] = came if record in leading else g
            if record not in leading:
                continue  # nothing that is wanted lies further back
            parents = parents and tuple([p if p in path else None for p in parents])
        if parents is None:
            raise FreedTape(
                f"backward: the tape was freed by an earlier backward, as it passed {record.op.name} "
                f"{shape_text(record.shape)}; pass retain_graph=True to that backward to walk it again"
            )
        for held, version in record.watched:
            if held._version != version:
                refuse_change(record, held, version)
        saved: tuple[Any, ...] = record.saved
        pullbacks: Sequence[Any] = record.op.pullbacks
        if unusual:
            saved, pullbacks = _unusual(record, create_graph)
        for pullback, parent in zip(pullbacks, parents, strict=True):
            if parent is None:
                continue
            part = pullback(g, saved, parent)  # who has a parent has a rule
            if type(parent) is not tuple:
                if gradients.give(parent, part) and type(parent) is Record:
                    heappush(queue, (parent.rank, parent))
            elif part is not None:
                for place, piece in zip(parent, part, strict=True):
                    if place is not None and (path is None or place in path):
                        give(place, piece)
        if not retain_graph:
            record.parents = None
            record.saved = record.watched = ()
    g = part = piece = came = None  # these would count
    for leaf in list(pending):
        g = pending.pop(leaf)
        if not create_graph and (getrefcount(g) > ALONE or g._is_view() or g.is_inference()):
            # A leaf's gradient outlives the walk: it must be nobody else's buffer, and no view with strides of 0. In
            # inference mode views do not tell. What a rule or a hook has taken .detach() of, nobody can tell; in torch
            # neither.
            g = g.clone(memory_format=torch.contiguous_format)
        if leaf.hooks is not None and hooks:
            g = leaf.hooks.run(g)
        if path is None or leaf in wanted:  # a leaf to start from need not be a target
            result[leaf] = g
    return result


def _unusual(record: Record, create_graph: bool) -> tuple[tuple[Any, ...], Sequence[Any]]:
    """What a record saved, and its pullbacks, if the walk is recorded or anomaly mode looks on."""
    op = record.op
    saved, pullbacks = (_on_tape(record), op.differentiable) if create_graph else (record.saved, op.pullbacks)
    if not active:
        return saved, pullbacks
    return saved, [partial(_checked, p, record, name) for p, name in zip(pullbacks, op.parameters, strict=True)]


def _checked(pullback: Any, record: Record, argument: str, g: Any, saved: Any, parent: Any) -> Any:
    """A gradient, as ``pullback`` computes it, once anomaly mode has seen it."""
    part = pullback(g, saved, parent)
    for piece in part if isinstance(part, (tuple, list)) else (part,):
        if piece is not None:
            active[-1].check_gradient(record, argument, piece.g if type(piece) is Part else raw(piece))
    return part


def _on_tape(record: Record) -> tuple[Any, ...]:
    """A record's saved values as Tensors, for rules that are recorded in their turn."""
    places = (record, *(record.parents or ()), *[None] * len(record.op.aux))
    return tuple([_lift(v, p, record) for v, p in zip(record.saved, places, strict=True)])


def _lift(value: Any, place: Any, record: Record) -> Any:
    """A saved value as the Tensor that it was; no function within ``_on_tape``, that would be a cycle of references."""
    if value is None or place is None:
        return value
    if type(place) is tuple:
        return tuple([_lift(v, p, record) for v, p in zip(value, place, strict=True)])
    if type(place) is Record:
        return wrap(value, place)
    if place._data is not value:
        raise StaleTensor(
            f"grad: {record.op.name} needs a leaf, of shape {shape_text(value.shape)}, as it was in the forward "
            f"pass, but its data was replaced since; call grad() before that"
        )
    return place


def _paths_to(targets: Collection[Any], starts: Sequence[tuple[Any, Any]]) -> tuple[set[Any], set[Any]]:
    """The nodes, and the sequences of nodes, on some path from a start to a target; and the records that lead on."""
    path = set(targets)
    leading = set()
    for record in reached([place for place, _ in starts]):
        for parent in record.parents or ():
            if parent in path or (type(parent) is tuple and not path.isdisjoint(parent)):
                path.update((record, parent))
                leading.add(record)
    return path, leading


def _start(t: Tensor, g: Any, caller: str) -> tuple[Any, torch.Tensor | Tensor]:
    """The node of an output, with its cotangent."""
    place = node(t)
    if place is None:
        raise RuntimeError(
            f"{caller}: this tensor, of shape {tuple(t.shape)}, does not require grad and was not computed from one "
            f"that does; set requires_grad=True on a leaf, and compute outside torch.no_grad()"
        )
    if g is None:
        if t._data.numel() != 1:
            raise RuntimeError(
                f"{caller}: grad can be implicitly created only for scalar outputs, this one has shape "
                f"{tuple(t.shape)}; sum it, or pass a gradient of that shape"
            )
        return place, torch.ones_like(t._data)
    if not isinstance(g, (Tensor, torch.Tensor)):
        raise TypeError(f"{caller}: the gradient must be a torch.Tensor or a Tensor, not {type(g).__name__}")
    data = g._data if isinstance(g, Tensor) else native(g, caller, "gradient")
    if data.shape != t.shape or data.dtype != t.dtype or data.device != t.device:
        raise RuntimeError(
            f"{caller}: the gradient must match its tensor: expected {tuple(t.shape)} {t.dtype} on {t.device}, "
            f"got {tuple(data.shape)} {data.dtype} on {data.device}"
        )
    return place, g if isinstance(g, Tensor) and torch.is_grad_enabled() else data


def _target(t: Tensor, caller: str, i: int) -> Any:
    place = node(t)
    if place is None:
        raise RuntimeError(f"{caller}: inputs[{i}], of shape {tuple(t.shape)}, does not require grad")
    return place
