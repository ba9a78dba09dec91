"""The one road of the backward pass: walk the records, apply each rule, unbroadcast, accumulate."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from heapq import heappop, heappush
from typing import Any

import torch

from tapegrad.apply import node
from tapegrad.broadcasting import unbroadcast
from tapegrad.errors import FreedTape, StaleTensor
from tapegrad.tape import Record, parents_of, saved_tensors
from tapegrad.tensor import Tensor, native, wrap


def backward(
    loss: Tensor,
    gradient: torch.Tensor | Tensor | None,
    retain_graph: bool,
    inputs: Sequence[Tensor] | Tensor | None,
) -> None:
    """``Tensor.backward``: see there."""
    targets = None
    if inputs is not None:
        inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        if not inputs:
            raise RuntimeError("backward: inputs is empty; leave it out to get the gradients of all leaves")
        targets = [_target(t, "backward", i) for i, t in enumerate(inputs)]
    with torch.no_grad():
        grads = walk([_start(loss, gradient, "backward")], targets, retain_graph=retain_graph)
    for place, g in grads.items():
        t = place if isinstance(place, Tensor) else next(t for t in inputs or () if t.record is place)
        t.grad = g if t.grad is None else t.grad + g


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
    if grad_outputs is None or isinstance(grad_outputs, (Tensor, torch.Tensor)):
        grad_outputs = [grad_outputs] * len(outputs)
    if len(grad_outputs) != len(outputs):
        raise RuntimeError(f"grad: {len(outputs)} outputs but {len(grad_outputs)} grad_outputs")
    starts = [_start(t, g, "grad") for t, g in zip(outputs, grad_outputs, strict=True)]
    targets = [_target(t, "grad", i) for i, t in enumerate(inputs)]
    retain = create_graph if retain_graph is None else retain_graph
    with torch.set_grad_enabled(create_graph):
        grads = walk(starts, targets, retain_graph=retain, create_graph=create_graph)
    for i, target in enumerate(targets):
        if target not in grads and not allow_unused:
            raise RuntimeError(
                f"grad: the outputs do not depend on inputs[{i}], of shape {tuple(inputs[i].shape)}; "
                f"pass allow_unused=True to get None for it"
            )
    return tuple([grads.get(target) for target in targets])


def walk(
    starts: Sequence[tuple[Any, Any]],
    targets: Sequence[Any] | None = None,
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> dict[Any, Any]:
    """Carry cotangents from ``starts`` back along the tape, newest record first.

    A record is newer than all that it was computed from, so when its turn comes all its users have been walked and
    its gradient is complete. Gradients are summed in that same order, which is torch's, so the bits agree.

    Args:
        starts: nodes and their cotangents.
        targets: the nodes whose gradients are wanted, and the only ones that paths are followed to; None for all leaves.
        retain_graph: leave the records as they are; otherwise each is freed as the walk passes it.
        create_graph: run the rules on Tensors, so that the walk is recorded.

    Returns:
        A gradient for each target, or each leaf, that was reached.
    """
    wanted = set(targets or ())
    path = None if targets is None else _paths_to(wanted, [place for place, _ in starts])
    pending: dict[Any, Any] = {}  # node -> its gradient, so far
    owned: set[Any] = set()  # nodes whose pending gradient is a buffer of the walk's own, free to be added to
    borrowed: set[Any] = set()  # nodes whose pending gradient is somebody else's buffer
    queue: list[tuple[int, Record]] = []
    result: dict[Any, Any] = {}

    def send(place: Any, g: Any, shared: bool) -> None:
        if place not in pending:
            pending[place] = g
            if shared:
                borrowed.add(place)
            if type(place) is Record:
                heappush(queue, (-place.number, place))
        elif place in owned and not create_graph:
            pending[place].add_(g)
        else:
            pending[place] = pending[place] + g
            owned.add(place)
            borrowed.discard(place)

    for place, g in starts:
        send(place, g, shared=True)
    while queue:
        record = heappop(queue)[1]
        g = pending.pop(record)
        owned.discard(record)
        shared = record in borrowed
        borrowed.discard(record)
        if record in wanted:
            result[record] = g
        if record.tensor is not None and (retained := record.tensor()) is not None and targets is None:
            retained.grad = g.clone() if retained.grad is None else retained.grad + g
        if record.parents is None:
            raise FreedTape(
                f"backward: the tape was freed by an earlier backward, as it passed {record.op.name} "
                f"{tuple(record.shape)}; pass retain_graph=True to that backward to walk it again"
            )
        if record.versions:
            check_fresh(record)
        pullbacks = record.op.differentiable if create_graph else record.op.pullbacks
        view = _Recorded(record) if create_graph else record
        for pullback, parent in zip(pullbacks, record.parents, strict=True):
            if parent is None:
                continue
            if type(parent) is tuple:
                pieces = zip(parent, pullback(g, view, parent), strict=True)
            elif path is not None and parent not in path:
                continue
            else:
                pieces = ((parent, pullback(g, view, parent)),)
            for place, piece in pieces:
                if place is None or piece is None or (path is not None and place not in path):
                    continue
                passed_on = piece is g
                if piece.shape != place.shape:
                    piece = unbroadcast(piece, place.shape)
                if piece.dtype != place.dtype:
                    piece = piece.to(place.dtype)
                send(place, piece, passed_on)
        if not retain_graph:
            record.parents, record.args, record.out, record.aux = None, (), None, ()
    for leaf, g in pending.items():
        # A leaf's gradient outlives the walk: it must be nobody else's buffer, and no view with strides of 0.
        if not create_graph and (leaf in borrowed or g._is_view()):
            g = g.clone(memory_format=torch.contiguous_format)
        result[leaf] = g
    return result


class _Recorded:
    """A record's values as Tensors on the tape, for rules that are recorded in their turn."""

    def __init__(self, record: Record) -> None:
        parents = record.parents or ()
        self.args = tuple([_on_tape(a, p) for a, p in zip(record.args, parents, strict=True)])
        self.out = _on_tape(record.out, record)
        self.aux = record.aux


def _on_tape(value: Any, place: Any) -> Any:
    if type(value) is tuple and type(place) is tuple:
        return tuple([_on_tape(v, p) for v, p in zip(value, place, strict=True)])
    if place is None or value is None or isinstance(place, Tensor):
        return place if value is not None and place is not None else value
    return wrap(value, place)


def check_fresh(record: Record) -> None:
    """Raise if a tensor that a record holds was changed in place since."""
    for held, version in zip(saved_tensors(record), record.versions, strict=True):
        if held._version != version:
            names = ["its output", *record.op.parameters]
            which = next((n for n, v in zip(names, (record.out, *record.args), strict=True) if v is held), "an input")
            raise StaleTensor(
                f"backward: {record.op.name} needs {which}, of shape {tuple(held.shape)}, as it was in the forward pass, "
                f"but it has been changed in place {held._version - version} time(s) since; "
                f"change a copy (x.clone()), or call backward() before the change"
            )


def _paths_to(targets: Collection[Any], starts: Sequence[Any]) -> set[Any]:
    """The nodes on some path from a start to a target."""
    seen: set[Record] = set()
    stack = [s for s in starts if type(s) is Record]
    while stack:
        record = stack.pop()
        if record not in seen:
            seen.add(record)
            stack.extend([p for p in parents_of(record) if type(p) is Record and p not in seen])
    path = set(targets)
    for record in sorted(seen, key=lambda r: r.number):
        if any(p in path for p in parents_of(record)):
            path.add(record)
    return path


def _start(t: Tensor, g: Any, caller: str) -> tuple[Any, torch.Tensor | Tensor]:
    """The node of an output, with its cotangent."""
    place = node(t)
    if place is None:
        raise RuntimeError(
            f"{caller}: this tensor, of shape {tuple(t.shape)}, does not require grad and was not computed from one that "
            f"does; set requires_grad=True on a leaf, and compute outside torch.no_grad()"
        )
    if g is None:
        if t._data.numel() != 1:
            raise RuntimeError(
                f"{caller}: grad can be implicitly created only for scalar outputs, this one has shape "
                f"{tuple(t.shape)}; sum it, or pass a gradient of that shape"
            )
        return place, torch.ones_like(t._data)
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
