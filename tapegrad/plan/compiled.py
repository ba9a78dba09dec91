"""``compile``: calls that come again go to a plan; the first of each signature runs eagerly and is recorded."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from threading import RLock
from typing import Any
from warnings import warn

import torch

from tapegrad.engine import backward
from tapegrad.engine.op import Op
from tapegrad.engine.table import listeners
from tapegrad.engine.tape import Record, next_rank, observers, parents_of
from tapegrad.engine.tensor import Tensor, recorded, wrap
from tapegrad.errors import CompileError
from tapegrad.plan.calls import Value
from tapegrad.plan.form import Form, Row, form_of
from tapegrad.plan.guard import Guard, is_watched
from tapegrad.plan.outputs import Outputs
from tapegrad.plan.plan import Lease, Plan, refused
from tapegrad.plan.program import Arena
from tapegrad.plan.reach import reach
from tapegrad.plan.recording import Recorder
from tapegrad.tracebacks import trim, trimmed

MOST = 8  # plans of one function; the one that was not used for the longest time goes
_generation = [0]  # of the table: rules that have changed make other plans


# --- on the tape ---


class Cotangents:
    """The cotangents of some of a compiled function's outputs, as one gradient of its record."""

    __slots__ = ("dtype", "of")

    shape = torch.Size([])

    def __init__(self, of: dict[int, torch.Tensor], dtype: torch.dtype) -> None:
        self.of, self.dtype = of, dtype

    def __add__(self, other: Cotangents) -> Cotangents:
        return Cotangents(self.of | other.of, self.dtype)

    def add_(self, other: Cotangents) -> Cotangents:
        """The same, of more outputs."""
        self.of = self.of | other.of
        return self

    def numel(self) -> int:
        """There are no elements to add in place."""
        return 0


def _op(name: str, signature: str, **formulas: Callable[..., Any]) -> Op:
    def function(*args: Any) -> Any:
        raise CompileError("compile: a compiled function is not replayed op by op; call the function itself instead")

    function.__name__ = name
    return Op(function, signature, (), formulas, trusted=True)


PLANNED = _op("compiled", "inputs, lease", inputs=refused)
PLANNED.kernels["inputs"] = lambda g, lease: lease.gradients(
    sorted(g.of.items()) if type(g) is Cotangents else [(0, g)]
)
PLANNED.prepare()
PLANNED.in_half = PLANNED  # what it computes is rounded inside
OUTPUT = _op("output", "joint, index, dtype", joint=lambda g, index, dtype: Cotangents({index: g}, dtype))
OUTPUT.in_half = OUTPUT


def planned_walk(record: Record, g: Any, retain_graph: bool) -> dict[Any, Any] | None:
    """As ``engine.backward.written_walk``: for tapes that are one compiled function on leaves."""
    if record.op is PLANNED and not retain_graph and record.hooks is None and not observers and record.saved:
        lease = record.saved[2]
        if type(lease) is Lease:
            parents, saved = record.parents, record.saved
            record.parents, record.saved = None, ()
            found = lease.direct(g)
            if found is not None:
                return found
            record.parents, record.saved = parents, saved
    return None if _next_walk is None else _next_walk(record, g, retain_graph)


_next_walk = backward.written_walk


def install() -> None:
    """Let ``backward`` try plans first."""
    global _next_walk
    if _renew not in listeners:  # once: autocast and DDP may have put walks of their own before it since
        _next_walk = backward.written_walk
        backward.written_walk = planned_walk
        listeners.append(_renew)


def _renew(entry: Any) -> None:
    _generation[0] += 1


# --- calls ---


@trimmed
def compile(function: Callable[..., Any]) -> Compiled:
    """Run a function that is called again and again as one planned program, forward and backward.

    The first call of each signature (shapes, dtypes, strides, devices, what requires grad, Python values, grad mode)
    runs as ever, and every call of a kernel that it makes is recorded, those of its backward pass too. Later calls make
    just these, one after another, in memory that was set aside for them. What comes back is an ordinary Tensor: hooks,
    ``grad``, accumulation, ``retain_graph`` and ops before and after work as ever. Only gradients of gradients do not.

    What decides which kernels are called must not depend on elements of tensors: ``x.item()``, ``if x > 0``, and
    indexing with masks are errors. What else Python does in the function, such as printing, it does at recording alone.
    Tensors, torch tensors and numbers in closures, globals and attributes are read again at each call, like arguments.
    Random numbers are drawn anew.

    Args:
        function: takes Tensors, torch tensors and Python values, also in lists, tuples, dicts and attributes of
            objects, and returns Tensors and Python values, in lists, tuples and dicts.

    Returns:
        A function that is called in the same way. Its gradients are those of an eager call, to the bit.

    Raises:
        CompileError: at a call: the function does what a plan cannot hold.

    Example::

        @tapegrad.compile
        def loss(W, x, y):
            return F.cross_entropy(torch.tanh(x @ W), y)

        loss(W, x, y).backward()
    """
    return Compiled(function)


class Compiled:
    """A function that runs by plans: what ``tapegrad.compile`` gives.

    Attributes:
        function: the function itself.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError(f"compile: expected a function, got {type(function).__name__}")
        self.function = function
        functools.update_wrapper(self, function)
        self._ready: list[Ready] = []
        self._lock = RLock()
        self._generation = _generation[0]
        self._warned = self._warned_of_chained = False
        install()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function, or its plan."""
        try:
            for ready in self._ready:
                found = ready.enter(args, kwargs)
                if found is not None and not is_watched() and self._generation == _generation[0]:
                    if ready is not self._ready[0]:
                        self._to_front(ready)
                    plan = ready.plan
                    return self.function(*args, **kwargs) if plan is None else ready.run(plan, *found)
            if is_watched():  # also by the recording of a compiled function that calls this one
                return self.function(*args, **kwargs)
            return self._first(args, kwargs)
        except Exception as error:
            trim(error)
            raise

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """A method, where a compiled function stands in a class."""
        return self if instance is None else functools.partial(self, instance)

    def _to_front(self, ready: Ready) -> None:
        with self._lock:
            if ready in self._ready:
                self._ready = [ready, *[r for r in self._ready if r is not ready]]

    def _first(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run eagerly, and record."""
        generation = _generation[0]
        result, ready = record(self.function, args, kwargs)
        if ready.plan is None:
            self._warn_of_chained()
        with self._lock:
            if self._generation != generation:
                self._ready, self._generation = [], generation
            if len(self._ready) >= MOST and not self._warned:
                self._warned = True
                why = self._ready[0].guard.why(args, kwargs)
                warn(
                    f"compile: {getattr(self.function, '__name__', self.function)} was planned for {MOST} kinds of "
                    f"calls, and this is another: {why} keeps changing, and each plan takes time and memory; pass what "
                    f"changes as a tensor of one shape, or do not compile this function",
                    stacklevel=3,
                )
            self._ready = [ready, *self._ready[: MOST - 1]]
        return result

    def _warn_of_chained(self) -> None:
        if not self._warned_of_chained:
            self._warned_of_chained = True
            warn(
                f"compile: {getattr(self.function, '__name__', self.function)} returns a Tensor that another of "
                f"its results was computed from, and a gradient may be asked for there; so it runs without a plan; "
                f"return the first as x.detach(), which takes no gradient, or do not return it",
                stacklevel=4,
            )


def record(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Ready]:
    """Run a function, and make a plan of what it does.

    Returns:
        What it returned, and the plan; without one, if a result was computed from another.

    Raises:
        CompileError: it does what a plan cannot hold.
    """
    scope = reach(function, args, kwargs)
    recorder = Recorder()
    for _, value in scope.tensors:
        raw = value._data if type(value) is Tensor else value
        if torch._C._has_storage(raw) and raw.layout is torch.strided:
            recorder.input(raw)
    known = len(recorder.inputs)
    since = next_rank()
    with recorder:
        result = function(*args, **kwargs)
    if recorder.refused is not None:
        raise recorder.refused
    if recorder.inputs[known:]:
        raise _unreachable(recorder, recorder.inputs[known])
    for path, value in scope.tensors:
        if type(value) is Tensor and (v := recorder.find(value._data)) is not None and v.made:
            raise CompileError(
                f"compile: {path}, of shape {tuple(value.shape)}, is changed in place, which a plan would not do; "
                f"compute a new tensor, such as x * 2 in place of x.mul_(2), and return it"
            )
    read = {v for call in recorder.calls for v in call.reads}
    objects = {id(value) for _, value in scope.tensors}
    outputs = Outputs(result, since, objects)
    starts = [r for r in outputs.records if r is not None]
    form, start_rows = form_of(starts, since, recorder.template)
    rows: list[Row | None] = [None if r is None else start_rows.pop(0) for r in outputs.records]
    try:
        used = {id(v.tensor) for v in read if v.tensor is not None}
        guard = Guard(function, scope, used, form.nodes, outputs.given)
    except LookupError as error:
        raise CompileError(
            f"compile: a Tensor of shape {tuple(error.args[0][0].shape)} takes a gradient, and is neither an argument "
            f"nor held by what the function's code names; pass it as an argument, and make leaves outside"
        ) from None
    _refuse_kept(recorder, outputs, form)
    if _are_chained(starts, since):
        return result, Ready(None, guard)
    plan = Plan(recorder, guard.tensors, outputs, form, rows)
    if outputs.is_one and all(type(n) is Tensor for n in form.nodes) and outputs.tensors[0].numel() == 1:
        saved = dict(_saved(recorder, starts, form))
        g = torch.ones_like(outputs.tensors[0])
        plan.record((True, g.stride()), [(0, g)], saved, direct=True)
    plan.seal()
    return result, Ready(plan, guard)


def _are_chained(starts: list[Record], since: int) -> bool:
    """Whether a result was computed from another: then gradients may be asked for between them, and hooks may wait.

    Args:
        starts: the records of the results.
        since: the rank before the function ran.
    """
    results, seen = set(starts), set()
    stack = [p for start in results for p in parents_of(start)]
    while stack:
        p = stack.pop()
        if p in results:
            return True
        if type(p) is Record and p.rank < since and p not in seen:
            seen.add(p)
            stack.extend(parents_of(p))
    return False


def _saved(recorder: Recorder, starts: list[Record], form: Form) -> list[tuple[Value, torch.Tensor]]:
    """The tensors of the tape that was recorded, for the values that rules ask for."""
    made = {v: t for t, v in recorder.alive()}
    return [(v, v.tensor if v.tensor is not None else made[v]) for v in form.saved]


_looking = RLock()  # whoever looks which tensors are alive holds them meanwhile


def _refuse_kept(recorder: Recorder, outputs: Outputs, form: Form) -> None:
    """Refuse a function that keeps a tensor that it made: a plan would leave it as it is now."""
    with _looking:
        kept = _kept(recorder, outputs, form)
        if kept:
            gc.collect()
            kept = _kept(recorder, outputs, form)
    if kept:
        line = next((call.line for call in recorder.calls if kept[0] in call.outs), "")
        raise CompileError(
            f"compile: a tensor of shape {tuple(kept[0].shape)} is kept by something outside, where a plan would leave "
            f"it as it is at the first call; return it\nmade at {line}"
        )


def _kept(recorder: Recorder, outputs: Outputs, form: Form) -> list[Value]:
    """The values of tensors that somebody holds besides the tape, which holds torch tensors and no Tensors."""
    results = [recorder.value(t) for t in outputs.tensors]
    memory = {v.storage for v in (*form.held, *results)}
    kept = [v for _, v in recorder.alive() if v.storage not in memory]
    for t in gc.get_objects():
        if type(t) is Tensor and hasattr(t, "_data"):
            v = recorder.find(t._data)
            if v is not None and v.made and v not in results:
                kept.append(v)
    return kept


def _unreachable(recorder: Recorder, v: Value) -> CompileError:
    return CompileError(
        f"compile: a tensor of shape {tuple(v.shape)} is neither an argument nor held by what the function's code "
        f"names, so a plan would not see another in its place; pass it as an argument\nused at {recorder.lines[v]}"
    )


class Ready:
    """A plan, with the guard that says for which calls it is."""

    def __init__(self, plan: Plan | None, guard: Guard) -> None:
        self.plan, self.guard = plan, guard
        self.enter = guard.enter

    def run(self, plan: Plan, given: tuple[Any, ...], nodes: tuple[Any, ...], objects: tuple[Any, ...]) -> Any:
        """Run the plan on what the guard has found."""
        try:
            arena = plan.pool.pop()
        except IndexError:
            arena = Arena()
        results = arena.function(plan.forward)(given)  # type: ignore[arg-type]  # the plan is sealed
        if plan.outputs.is_one:
            lease = Lease(plan, arena, given, results, nodes)
            return recorded(PLANNED, (None, None, lease), (plan.use_nodes(nodes), None), (), results[0])
        return plan.outputs.build(self._wrapped(plan, arena, given, nodes, results), objects)

    def _wrapped(
        self, plan: Plan, arena: Arena, given: tuple[Any, ...], nodes: tuple[Any, ...], results: tuple[Any, ...]
    ) -> list[Any]:
        """The results as the function would have returned them."""
        rows = [i for i, row in enumerate(plan.rows) if row is not None]
        made: list[Any] = list(results[: len(plan.results)])
        if rows:
            lease = Lease(plan, arena, given, results, nodes)
            parents = (plan.use_nodes(nodes), None)
            joint = recorded(PLANNED, (None, None, lease), parents, (), results[rows[0]]).record
            assert joint is not None
            joint.shape = Cotangents.shape
            for i in rows:
                saved = (None, None, i, joint.dtype)
                made[i] = recorded(OUTPUT, saved, (joint, None, None), (), results[i])
        else:
            plan.pool.append(arena)
        kinds = {m.index: m.kind for m in plan.outputs.made}
        return [wrap(t, None) if kinds[i] == "wrapped" else t for i, t in enumerate(made)]
