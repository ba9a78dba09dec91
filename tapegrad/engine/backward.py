"""``backward()`` and ``grad``: where a walk starts, which gradients it is to find, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import torch

from tapegrad.engine.gradients import accumulate, conjugated
from tapegrad.engine.tape import Record
from tapegrad.engine.tensor import Tensor, adopted, kind, native, node, raw, wrap
from tapegrad.engine.versions import refuse_other_shapes
from tapegrad.engine.walk import walk
from tapegrad.errors import MissingRule

_set_grad_enabled = torch._C._set_grad_enabled  # what torch.no_grad() calls, without its object

# Tried before ``walk``, if fast/ is there: (record, cotangent, retain_graph) -> what ``walk`` would return, or None.
written_walk: Callable[[Record, Any, bool], dict[Any, Any] | None] | None = None


def backward(
    self: Tensor,
    gradient: torch.Tensor | Tensor | None = None,
    retain_graph: bool | None = False,
    create_graph: bool = False,
    inputs: Sequence[torch.Tensor] | torch.Tensor | None = None,
) -> None:
    """Compute the gradient of this tensor with respect to the leaves, and add it to their ``grad``.

    Args:
        self: what to differentiate, most often a loss.
        gradient: cotangent of this tensor's shape; may be left out if it has one element, then it is 1.
        retain_graph: keep the tape, so that it can be walked again.
        create_graph: refused, for ``grad`` is a torch tensor and has no past: see ``tapegrad.grad``.
        inputs: leave gradients on these tensors, or torch leaves, only.

    Raises:
        MissingRule: ``create_graph`` is asked for.
        RuntimeError: no gradient can flow from here, or a cotangent is missing or does not fit.
        FreedTape: the tape was walked before without ``retain_graph=True``.
        StaleTensor: a value that a rule needs was changed in place since it was recorded.
    """
    if create_graph:
        raise MissingRule("backward: t.grad cannot be on a tape; use tapegrad.grad(loss, inputs, create_graph=True)")
    recording = torch.is_grad_enabled()
    try:  # with nothing before it where an interrupt could leave the mode off
        _set_grad_enabled(False)
        start, g = _start(self, gradient, "backward")
        targets = None if inputs is None else _targets(inputs)
        found = None
        if written_walk is not None and targets is None and type(start) is Record:
            found = written_walk(start, g, bool(retain_graph))
        if found is None:
            found = walk([(start, g)], targets, retain_graph=bool(retain_graph))
        refuse_other_shapes(found, getattr(start, "rank", -inf))  # of a leaf, nothing was recorded
        accumulate(found)
    finally:
        _set_grad_enabled(recording)


Tensor.backward = backward  # type: ignore[method-assign, assignment]  # added here, for it needs the walk


def _targets(inputs: torch.Tensor | Sequence[torch.Tensor]) -> list[Any]:
    """The nodes of ``backward(inputs=...)``, which are to keep their gradients."""
    inputs = [inputs] if isinstance(inputs, (Tensor, torch.Tensor)) else list(inputs)
    if not inputs:
        raise RuntimeError("backward: inputs is empty; leave it out to get the gradients of all leaves")
    targets = []
    for i, t in enumerate(inputs):
        targets.append(_target(t, "backward", i))
        if isinstance(t, Tensor):
            t.retain_grad()  # as torch, even if a later one is refused
    return targets


def grad(
    outputs: torch.Tensor | Sequence[torch.Tensor],
    inputs: torch.Tensor | Sequence[torch.Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    *,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """Gradients of ``outputs`` with respect to ``inputs``, returned and not left in ``grad``.

    Args:
        outputs: a tensor, or several, whose gradients are summed.
        inputs: a tensor, or several; leaves, torch's too (``model.parameters()``), or computed.
        grad_outputs: a cotangent for each output; None for outputs of one element.
        retain_graph: keep the tape; by default, if ``create_graph``.
        create_graph: record the walk itself, so that the gradients can be differentiated again.
        allow_unused: give None for an input that the outputs do not depend on, where it is otherwise an error.
        materialize_grads: give zeros for such an input.

    Returns:
        For each input, a torch tensor of its shape, or a Tensor if ``create_graph``.

    Raises:
        TypeError: an output is none of tapegrad's Tensors.
        RuntimeError: an output or input does not require grad, an input is unused, or a cotangent does not fit.
    """
    outputs = [outputs] if isinstance(outputs, (Tensor, torch.Tensor)) else list(outputs)
    inputs = [inputs] if isinstance(inputs, (Tensor, torch.Tensor)) else list(inputs)
    if not inputs or not outputs:
        raise RuntimeError(f"grad: {'inputs' if outputs else 'outputs'} is empty; name the tensors that are meant")
    if grad_outputs is None or isinstance(grad_outputs, (Tensor, torch.Tensor)):
        grad_outputs = [grad_outputs] * len(outputs)
    if materialize_grads and allow_unused is False:
        raise ValueError("grad: with materialize_grads=True, allow_unused must be True or left out")
    if len(grad_outputs) != len(outputs):
        raise RuntimeError(f"grad: {len(outputs)} outputs but {len(grad_outputs)} grad_outputs")
    targets = [_target(t, "grad", i) for i, t in enumerate(inputs)]
    retain = create_graph if retain_graph is None else retain_graph
    recording = torch.is_grad_enabled()
    try:
        _set_grad_enabled(create_graph)
        starts = [_start(t, g, "grad") for t, g in zip(outputs, grad_outputs, strict=True)]
        grads = walk(starts, targets, retain_graph=retain, create_graph=create_graph)
        refuse_other_shapes(grads, max([getattr(start, "rank", -inf) for start, _ in starts]))
    finally:
        _set_grad_enabled(recording)
    for i, target in enumerate(targets):
        if target not in grads and not (allow_unused or materialize_grads):
            raise RuntimeError(
                f"grad: the outputs do not depend on inputs[{i}], of shape {tuple(inputs[i].shape)}; "
                f"pass allow_unused=True to get None for it"
            )
    pairs = zip(map(grads.get, targets), inputs, strict=True)
    found = [torch.zeros_like(raw(t)) if g is None and materialize_grads else g for g, t in pairs]
    # The gradient of a linear function is a constant, which no rule has put on the tape.
    if not create_graph:
        return tuple(map(raw, found))
    return tuple([wrap(g, None) if isinstance(g, torch.Tensor) else g for g in found])


def _start(t: Any, g: Any, caller: str) -> tuple[Any, torch.Tensor | Tensor]:
    """The node of an output, with its cotangent."""
    if not isinstance(t, Tensor):
        raise TypeError(f"{caller}: an output is no Tensor of tapegrad's, but of {type(t)}")
    if (start := node(t)) is None:
        raise RuntimeError(
            f"{caller}: this tensor, of shape {tuple(t.shape)}, does not require grad and was not computed from one "
            f"that does; set requires_grad=True on a leaf, and compute outside torch.no_grad()"
        )
    if g is None:
        if t._data.numel() != 1 or t._data.is_complex():
            raise RuntimeError(
                f"{caller}: grad can be implicitly created only for scalar outputs, this one has shape "
                f"{tuple(t.shape)}{' and is complex' * t._data.is_complex()}; sum it, or pass a gradient of that shape"
            )
        return start, torch.ones_like(t._data)
    if not isinstance(g, (Tensor, torch.Tensor)):
        raise TypeError(f"{caller}: the gradient must be a torch.Tensor or a Tensor, not {type(g).__name__}")
    g = g if g.ndim else g.to(t._data.device)  # as torch: a number may come from another device
    data = g._data if isinstance(g, Tensor) else native(g, caller, "gradient")
    if kind(data) != kind(t):
        raise RuntimeError(f"{caller}: the gradient must match its tensor: expected {kind(t)}, got {kind(data)}")
    return start, conjugated(g if isinstance(g, Tensor) and torch.is_grad_enabled() else data)


def _target(t: Any, caller: str, i: int) -> Any:
    t = adopted(t, caller, f"inputs[{i}]")
    if not isinstance(t, Tensor) or (target := node(t)) is None:
        raise RuntimeError(f"{caller}: inputs[{i}], of shape {tuple(t.shape)}, does not require grad")
    return target
