"""A plan: what was recorded of a function at one call, as programs for the forward and the backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch

from tapegrad.engine.tensor import Tensor
from tapegrad.errors import CompileError, StaleTensor
from tapegrad.inspect.grad_mode import in_grad_mode
from tapegrad.plan.buffers import Free, lay_out, needed
from tapegrad.plan.calls import Call, Value
from tapegrad.plan.form import Form, Row
from tapegrad.plan.outputs import Outputs
from tapegrad.plan.program import Arena, Program
from tapegrad.plan.recording import Recorder


def fold(calls: Sequence[Call], leaving: Sequence[Value]) -> list[Call]:
    """Make once what depends on constants alone, and return the other calls."""
    out = {v.storage for v in leaving}
    rest = []
    for call in calls:
        inside = call.reads and not all(r.storage.origin == "constant" for r in call.reads)
        changes = any(v.storage.written or v.storage in out for v in call.outs)
        if inside or call.random or call.writes or changes or not call.outs or call.func._schema.name == "aten::empty":
            rest.append(call)
            continue
        made = call.func(*_tensors(call.args), **_tensors(call.kwargs))
        items = [t for t in (made if isinstance(made, (tuple, list)) else (made,)) if isinstance(t, torch.Tensor)]
        for v, t in zip(call.outs, items, strict=True):
            v.storage.origin, v.tensor, v.made = "constant", t, False
    return rest


def _tensors(tree: Any) -> Any:
    if type(tree) is Value:
        return tree.tensor
    if isinstance(tree, (tuple, list)):
        return type(tree)([_tensors(item) for item in tree])
    return {k: _tensors(v) for k, v in tree.items()} if type(tree) is dict else tree


@dataclass(eq=False)
class Pass:
    """A backward pass, for some outputs with cotangents of some layout.

    Attributes:
        program: what runs.
        direct: whether it may use the memory of what it has read, so that it can run once.
    """

    program: Program
    direct: bool


class Plan:
    """What a function does at calls of one signature.

    Args:
        recorder: has recorded the forward pass.
        given: the tensors that the plan is given at each call, in order.
        outputs: what the function returned.
        form: of the tape.
        rows: of the outputs that are recorded, the row; None for others.

    Attributes:
        pool: arenas that no call uses.
        passes: the backward passes that were recorded, by outputs, layouts, and whether they are direct.
        watched: gives the tensors that the backward pass reads and others could change, from those that the plan was
            given and those that it carries on; ``versions`` gives torch's version of each.
        use_nodes: gives the node of each use.
    """

    def __init__(
        self,
        recorder: Recorder,
        given: Sequence[torch.Tensor],
        outputs: Outputs,
        form: Form,
        rows: Sequence[Row | None],
    ) -> None:
        self.outputs, self.form, self.rows = outputs, form, list(rows)
        self.pool: list[Arena] = []
        self.passes: dict[Any, Pass] = {}
        self.lock = Lock()
        self.given = [recorder.value(t) for t in given]
        self.results = [recorder.value(t) for t in outputs.tensors]
        self.count = recorder.count
        calls = fold(needed(recorder.calls, [*self.results, *form.saved]), self.results)
        self.calls = needed(calls, [*self.results, *form.saved])
        self._kept = {v.storage for v in form.saved}
        growing = Free()
        self.layout = lay_out(self.calls, self.results, self._kept, growing)
        self._free = growing.copy()  # what is free after the forward pass
        self._growing: Free | None = growing  # of what is recorded before an arena is made
        loose = [v for v in form.saved if not self.layout.is_fixed(v) and v not in self.given]
        self.carried = list(dict.fromkeys(loose))
        self.returned = len(self.results)
        saved = set(form.saved)
        seen = [f"given[{i}]" for i, v in enumerate(self.given) if v in saved]
        seen += [f"carried[{i}]" for i, v in enumerate(self.carried) if v in self.results]
        self.watched = eval(f"lambda given, carried: ({''.join([f'{t}, ' for t in seen])})")
        self.versions = eval(f"lambda given, carried: ({''.join([f'{t}._version, ' for t in seen])})")
        self.use_nodes = eval(f"lambda nodes: ({''.join([f'nodes[{use.node}], ' for use in form.uses])})")
        self.forward: Program | None = None

    def seal(self) -> None:
        """Write the forward program; the arena grows no more."""
        self.forward = Program("forward", self.layout, self.given, [*self.results, *self.carried])
        self._growing = None

    # --- backward ---

    def record(
        self, key: Any, cotangents: Sequence[tuple[int, torch.Tensor]], tensors: dict[Value, torch.Tensor], direct: bool
    ) -> list[torch.Tensor | None]:
        """Walk the tape once for the elements that it has in ``tensors``, and keep what that does as a program.

        Args:
            key: under which it is kept.
            cotangents: outputs, and the cotangents that they get.
            tensors: what stands for the values that rules ask for.
            direct: whether gradients of a node's uses are summed, and memory that was read is free.

        Returns:
            The gradient for each node if ``direct``, or for each use; None where there is none.
        """
        recorder = Recorder(self.count, "a rule, in the backward pass")
        for v in self.form.saved:
            recorder.know(tensors[v] if v.tensor is None or not v.made else v.tensor, v)
        given = [recorder.input(g) for _, g in cotangents]
        starts = [(self.rows[i], g) for i, g in cotangents]
        leaves = self.form.stand_ins(each_use=not direct)
        fill = lambda tree: _with(tree, tensors)
        with recorder:
            walk = lambda: self.form.walk(fill, starts, leaves)  # type: ignore[arg-type]  # an output has a row
            found = in_grad_mode(False, walk)
        if recorder.refused is not None:
            raise recorder.refused
        for v in recorder.inputs[len(given) :]:  # a tensor of a rule's own
            v.storage.origin = "constant"
        results = [None if t is None else recorder.value(t) for t in found]
        self.count = recorder.count
        leaving = [v for v in results if v is not None]
        calls = needed(fold(needed(recorder.calls, leaving), leaving), leaving)
        kept = set() if direct else self._kept
        free = self._growing or self._free.copy()
        layout = lay_out(calls, leaving, kept, free, self.layout)
        self.passes[key] = Pass(Program("backward", layout, [*given, *self.given, *self.carried], results), direct)
        return found


def _with(tree: Any, tensors: dict[Value, torch.Tensor]) -> Any:
    """Saved values, with tensors in the place of Values."""
    if type(tree) is Value:
        return tensors[tree]
    if type(tree) in (tuple, list):
        return type(tree)([_with(item, tensors) for item in tree])
    return {k: _with(v, tensors) for k, v in tree.items()} if type(tree) is dict else tree


class Lease:
    """What a tape holds of a call: the arena that its values are in, until its backward pass, or until it dies.

    Args:
        plan: of the call.
        arena: with the values.
        given: the tensors that the plan was given.
        results: what the forward program returned.
        nodes: where gradients go.
    """

    __slots__ = ("arena", "carried", "given", "nodes", "plan", "versions")

    def __init__(
        self, plan: Plan, arena: Arena, given: tuple[Any, ...], results: tuple[Any, ...], nodes: tuple[Any, ...]
    ) -> None:
        self.plan, self.arena, self.given, self.nodes = plan, arena, given, nodes
        self.carried = results[plan.returned :]
        self.versions = plan.versions(given, self.carried)

    def __del__(self) -> None:
        if self.arena is not None:
            self.plan.pool.append(self.arena)

    def check(self) -> None:
        """Refuse what was changed since: see ``engine/versions.py``."""
        if self.plan.versions(self.given, self.carried) == self.versions:
            return
        for t, version in zip(self.plan.watched(self.given, self.carried), self.versions, strict=True):
            if t._version != version:
                raise StaleTensor(
                    f"backward: a compiled function needs a tensor of shape {tuple(t.shape)} as it was in the forward "
                    f"pass, but it was changed in place since (version {t._version}, expected {version}); change a "
                    f"copy (x.clone()), or call backward() before the change"
                )

    def values(self) -> dict[Value, torch.Tensor]:
        """What stands for the values that rules ask for."""
        plan = self.plan
        known = dict(zip(plan.given, self.given, strict=True)) | dict(zip(plan.carried, self.carried, strict=True))
        return {v: known[v] if v in known else self.arena.tensor(v) for v in plan.form.saved}

    def gradients(self, cotangents: Sequence[tuple[int, torch.Tensor]]) -> list[torch.Tensor | None]:
        """The gradient for each use, of a tape that may be walked again."""
        self.check()
        plan = self.plan
        key = (False, *[(i, _layout_key(g)) for i, g in cotangents])
        with self.arena.lock:
            found = plan.passes.get(key)
            if found is None:
                with plan.lock:
                    return plan.record(key, cotangents, self.values(), direct=False)
            return list(self.arena.function(found.program)((*[g for _, g in cotangents], *self.given, *self.carried)))

    def direct(self, g: torch.Tensor) -> dict[Tensor, torch.Tensor] | None:
        """The gradients of the leaves, of a tape that is freed with that; None if they are for the walk."""
        nodes, plan = self.nodes, self.plan
        for n in nodes:
            if type(n) is not Tensor or n.hooks is not None:
                return None
        found = plan.passes.get((True, g.stride()))
        if found is None:
            return None
        self.check()
        arena, self.arena = self.arena, None  # type: ignore[assignment]  # an exception may leave it in any state
        grads = arena.function(found.program)((g, *self.given, *self.carried))
        plan.pool.append(arena)
        return dict(zip(nodes, grads, strict=True))


def _layout_key(g: torch.Tensor) -> Any:
    return g.stride() if g.numel() != 1 else (0,) * g.ndim


def refused(g: Any) -> Any:
    """What to say where the gradient of a compiled function is to be differentiated."""
    raise CompileError(
        "compile: the gradient of a compiled function is not recorded, so it cannot be differentiated again; call the "
        "function itself (step.function) where create_graph=True is asked for"
    )
