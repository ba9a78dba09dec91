"""``checkpoint``: forget what a part of the forward pass has saved, and compute it again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from copy import copy
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from tapegrad.engine.hooks import Hooks
from tapegrad.engine.op import Op
from tapegrad.engine.tape import Record, next_rank, parents_of, reached, shape_text
from tapegrad.engine.tensor import Tensor, wrap
from tapegrad.engine.walk import on_tape
from tapegrad.errors import StaleTensor
from tapegrad.nn.quiet import is_recording
from tapegrad.nn.recording import recording
from tapegrad.tracebacks import trimmed

_set_grad_enabled = torch._C._set_grad_enabled


@trimmed
def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """Call a function, or a module, and keep none of what its rules need: the backward pass runs it again.

    The gradients are the same bits; it saves memory and takes time, as ``torch.utils.checkpoint.checkpoint``, whose
    arguments these are. It may be nested, and differentiated twice.

    Args:
        function: what to run; it must compute the same when it runs again.
        *args: its arguments.
        use_reentrant: means nothing here; for code that was written for torch.
        preserve_rng_state: run it again with the random numbers of the first time, as dropout needs.
        **kwargs: its keyword arguments.

    Returns:
        What ``function`` returns.

    Raises:
        StaleTensor: in the backward pass: an argument, or a leaf, was changed in place since.
        RuntimeError: in the backward pass: the function ran other ops than the first time.

    Example::

        block = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh())
        with tapegrad.recording():
            tapegrad.checkpoint(block, torch.randn(4, 8)).sum().backward()
    """
    if not torch.is_grad_enabled():
        return function(*args, **kwargs)
    part = _Part(function, args, kwargs, preserve_rng_state)
    since = next_rank()
    out = function(*args, **kwargs)
    part.forget(_records(out, since))
    return out


def _records(out: Any, since: int) -> list[Record]:
    """What was recorded on the way to some results, oldest first."""
    starts = [t.record for t in tree_leaves(out) if isinstance(t, Tensor)]
    return [record for record in reached(starts) if record.rank < since]


class _Part:
    """A part of a forward pass that can be run again.

    Attributes:
        records: what it has recorded, oldest first.
        again: the same, with what was saved, from the time it is asked for until all of it was.
    """

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any, preserve_rng_state: bool) -> None:
        self.function = function
        given, self.structure = tree_flatten((args, kwargs))
        # A computed Tensor may come to stand for something else, if it is changed in place.
        self.given = [wrap(t.data, t.record) if isinstance(t, Tensor) and t.record else t for t in given]
        self.preserve_rng_state = preserve_rng_state
        self.random = (torch.get_rng_state(), [torch.cuda.get_rng_state(d) for d in _cuda_devices()])
        self.autocast = [(d, torch.get_autocast_dtype(d)) for d in ("cpu", "cuda") if torch.is_autocast_enabled(d)]
        self.recording = is_recording()
        self.records: list[Record] = []
        self.again: list[Record] | None = None

    def forget(self, records: list[Record]) -> None:
        """Take from records what they have saved, and have their rules ask for it."""
        self.records = records
        data = [t.data if isinstance(t, Tensor) else t for t in self.given]
        data += [p.data for record in records for p in parents_of(record) if isinstance(p, Tensor)]
        self.versions = {id(t): (t, t._version) for t in data if isinstance(t, torch.Tensor) and not t.is_inference()}
        self.asked = self.uses = sum(p is not None for record in records for p in record.parents or ())
        for i, record in enumerate(records):
            record.op = self.asking(record.op, i)
            record.saved, record.watched = (None,) * len(record.saved), ()
            record.hooks = record.hooks or Hooks()  # walks that are written out would not ask

    def asking(self, op: Op, i: int) -> Op:
        """An op for the record with a number, whose rules are those of the record when it is made again."""

        def pullback(k: int, recorded: bool) -> Callable[[Any, Any, Any], Any]:
            def ask(g: Any, saved: Any, parent: Any) -> Any:
                record = self.record(i)
                rules = record.op.recorded_pullbacks if recorded else record.op.pullbacks
                return rules[k](g, on_tape(record) if recorded else record.saved, parent)  # type: ignore[misc]

            return ask

        def refuse(*args: Any) -> Any:
            raise RuntimeError(
                f"checkpoint: what {op.name} was computed from was not kept; look at it without checkpoint"
            )

        asking = copy(op)
        asking.pullbacks = tuple([pullback(k, False) for k in range(len(op.parameters))])
        asking.recorded_pullbacks = tuple([pullback(k, True) for k in range(len(op.parameters))])
        asking.function = asking.run = refuse
        return asking

    def record(self, i: int) -> Record:
        """A record with what it had saved; all is run again if it has to be."""
        if self.again is None:
            self.again, self.asked = self.run(), self.uses
        record = self.again[i]
        self.asked -= 1
        if not self.asked:
            self.again = None
        return record

    def run(self) -> list[Record]:
        """Run the function again."""
        for t, version in self.versions.values():
            if t._version != version:
                raise StaleTensor(
                    f"checkpoint: an argument or a leaf, of shape {shape_text(t.shape)}, was changed in place since "
                    f"the forward pass, which is to be run again; call backward() before the change"
                )
        args, kwargs = tree_unflatten(self.given, self.structure)
        before, since = torch.is_grad_enabled(), next_rank()
        contexts = [torch.autocast(device, dtype) for device, dtype in self.autocast]
        devices = _cuda_devices()
        try:
            _set_grad_enabled(True)
            with torch.random.fork_rng(devices, enabled=self.preserve_rng_state), ExitStack() as stack:
                if self.preserve_rng_state:
                    torch.set_rng_state(self.random[0])
                    for device, state in zip(devices, self.random[1], strict=False):
                        torch.cuda.set_rng_state(state, device)
                for context in contexts:
                    stack.enter_context(context)
                if self.recording:
                    stack.enter_context(recording())
                out = self.function(*args, **kwargs)
        finally:
            _set_grad_enabled(before)
        records = _records(out, since)
        first, second = [[(r.op.name, r.shape) for r in rs] for rs in (self.records, records)]
        if first != second:
            raise RuntimeError(
                f"checkpoint: the function ran {len(second)} ops, not the {len(first)} of the first time, or others; "
                f"it must compute the same when it is run again"
            )
        return records


def _cuda_devices() -> list[int]:
    return [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
