"""Random programs, run on tapegrad and on torch side by side.

A hypothesis state machine makes up a program step by step: ops, views, changes in place, no_grad blocks, hooks,
backward and grad() in all their forms. Each step is a function of a ``World``, and runs on one that speaks tapegrad and
on one that speaks torch. Values, gradients (bit for bit), flags, and whether there was an error must agree. Where
tapegrad by design refuses more than torch, or less, it is checked to be one of ``EXCEPTIONS``, and counted.

``python tests/provers/fuzz.py 20000`` runs that many programs; ``test_fuzz.py`` runs some, and all that once found
something.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

if not __package__:  # run as a file
    sys.path[0] = str(Path(__file__).parents[2])

import tapegrad
from tapegrad.engine.gradients import SOLE
from tests.helpers import FAST, raw, roads
from tests.provers.steps import (
    BINARY,
    CHANGES,
    CHANGES_WITH,
    DTYPES,
    FAILED,
    HOOKS,
    KNOTTED,
    LARGEST,
    PLAIN,
    SHAPES,
    UNARY,
    VIEWS,
)
from tests.provers.worlds import USUAL, Disagreement, Step, World, attempt, compare, cotangent, gradient, tangled

EXCEPTIONS = {
    "shared memory": "tapegrad refuses to change in place what shares its memory; torch changes both",
    "freed": "tapegrad refuses every second walk of a freed tape; torch only where a node had saved something",
    "data": "tapegrad notices a change through .data; torch goes on with the changed values",
    "overwritten": "torch has overwritten a value that it needs; tapegrad still has it",
    "no_grad view": "an unrecorded view of what requires grad is a constant, and in torch a leaf of a kind",
    "changed view": "torch makes up a new history for a view changed under no_grad, or refuses to (split, unbind)",
    "kept": "backward(inputs=[h]) leaves what computed h for a later walk; torch frees it",
    "onto itself": "torch refuses to assign a tensor to items of itself; tapegrad writes on a copy",
}
counts: Counter[str] = Counter()


class Programs(RuleBasedStateMachine):
    """Programs; each rule is a step. A tensor is a number that both worlds know it by."""

    tensors = Bundle("tensors")

    def __init__(self) -> None:
        super().__init__()
        self.mine, self.yours = World("tapegrad"), World("torch")
        self.history: list[list[Any]] = []  # each step, whether it was recorded, and the number of what it made
        self.unrecorded = 0  # steps until the current no_grad block ends
        self.touched = False  # whether something was changed through .data
        self.errors = "", ""  # the last that both worlds had
        self.over = False
        self.number = 0
        self.freed: set[Any] = set()  # torch's nodes that a walk without retain_graph has passed
        self.kept: set[Any] = set()  # those that only torch has freed
        counts["programs"] += 1

    # --- the judge ---

    def step(self, run: Step, inputs: Iterable[int] = (), exact: bool = True) -> tuple[Any, Any] | None:
        """Run a step in both worlds.

        Args:
            run: the step.
            inputs: the tensors that a backward pass starts from.
            exact: whether the results agree to the bit.

        Returns:
            The results, or None if there are none: an error in both worlds, or an exception, or the program is over.
        """
        if self.over:
            return None
        counts["steps"] += 1
        recording, self.unrecorded = self.unrecorded == 0, max(0, self.unrecorded - 1)
        mine, error = attempt(run, self.mine, recording)
        if isinstance(error, tapegrad.InPlaceError) and "shares its memory" in str(error):
            counts["shared memory"] += 1  # the rule that asked for it checks that it is true
            return None
        yours, torchs = attempt(run, self.yours, recording)
        if error is None and torchs is None:
            self.history.append([run, recording, None])
            return mine, yours
        if error is not None and (not isinstance(error, USUAL) or isinstance(error, tapegrad.MissingRule)):
            raise Disagreement(f"tapegrad: {type(error).__name__}: {error}") from error
        if error is None:
            self.over = True
            if "A view was created in no_grad mode" in str(torchs):
                counts["no_grad view"] += 1
            elif "a second time" in str(torchs) and self.kept & self.behind(inputs):
                counts["kept"] += 1
            elif "refer to a single memory location" in str(torchs):
                counts["onto itself"] += 1
            elif "modified by an inplace operation" in str(torchs):
                counts["overwritten"] += 1
                self.check_functionally(run, recording, mine, exact)
            else:
                raise Disagreement(f"only torch refuses: {torchs}")
        elif torchs is None:
            self.over = True
            if isinstance(error, tapegrad.FreedTape) and self.freed & self.behind(inputs):
                counts["freed"] += 1
            elif isinstance(error, tapegrad.StaleTensor) and self.touched:
                counts["data"] += 1
            else:
                raise Disagreement(f"only tapegrad refuses: {type(error).__name__}: {error}")
        else:
            self.errors = str(error), str(torchs)
            counts["errors in both"] += 1
        return None

    def make(self, run: Step) -> Any:
        """Run a step that makes a tensor, and compare it."""
        results = self.step(run)
        if results is None:
            return multiple()
        large = isinstance(results[1], torch.Tensor) and results[1].numel() > LARGEST
        if isinstance(results[1], torch.Tensor) and results[1].dtype.is_floating_point and not large:
            self.number += 1
            self.history[-1][2] = self.number
            self.mine.tensors[self.number], self.yours.tensors[self.number] = results
            self.compare_one(self.number)
            return self.number
        compare(*results, "result")
        return multiple()

    def compare_one(self, n: int) -> None:
        """Everything that can be seen of a tensor agrees."""
        a, b = self.mine.tensors[n], self.yours.tensors[n]
        try:
            flags = b.requires_grad, b.is_leaf, b.retains_grad
        except RuntimeError:  # torch checks how a view was made, and refuses this one
            self.over = True
            counts["changed view"] += 1
            return
        if (a.requires_grad, a.is_leaf, a.retains_grad) != flags:
            mine = a.requires_grad, a.is_leaf, a.retains_grad
            raise Disagreement(f"tensor {n}: requires_grad, is_leaf, retains_grad are {mine}, torch's {flags}")
        compare(a, b, f"tensor {n}")
        compare(gradient(a), gradient(b), f"the gradient of tensor {n}")

    def compare_all(self) -> None:
        """Both worlds look the same."""
        if self.over:
            return
        for n in self.yours.tensors:
            self.compare_one(n)
        self.compare_hooks(self.yours)

    def compare_hooks(self, yours: World) -> None:
        """The hooks saw the same. torch runs a leaf's when its gradient is complete, tapegrad when all are."""
        a, b = [sorted(w.seen, key=lambda seen: seen[0]) for w in (self.mine, yours)]
        if [n for n, _ in a] != [n for n, _ in b]:
            raise Disagreement(f"hooks that ran: {[n for n, _ in a]}, in torch {[n for n, _ in b]}")
        for (n, g), (_, h) in zip(a, b, strict=True):
            compare(g, h, f"what hook {n} saw")
        self.mine.seen, yours.seen = [], []

    def check_functionally(self, run: Step, recording: bool, mine: Any, exact: bool) -> None:
        """Where torch has overwritten what it needs, it is asked again with every change made on a copy."""
        world = World("functional")
        for past, was_recording, number in self.history:
            result, error = attempt(past, world, was_recording)
            if number == FAILED:
                continue
            if error is not None:
                return  # changed without recording; only torch's formula needs it
            if number is not None:
                world.tensors[number] = result
        world.seen = []
        result, error = attempt(run, world, recording)
        if error is None:
            counts["overwritten, checked"] += 1
            compare(mine, result, "result", exact)
            for n, t in world.tensors.items():
                compare(self.mine.tensors[n], t, f"tensor {n}")
                compare(gradient(self.mine.tensors[n]), gradient(t), f"the gradient of tensor {n}")
            self.compare_hooks(world)

    def behind(self, numbers: Iterable[int], targets: Iterable[int] | None = None) -> set[Any]:
        """torch's nodes that some tensors were computed by; only those on the way to targets, if there are some."""
        roots = [t.grad_fn for n in numbers if (t := self.yours.tensors[n]).grad_fn is not None]
        order: list[Any] = []
        stack, seen = list(roots), set()
        while stack:
            at = stack[-1]
            children = [child for child, _ in at.next_functions if child is not None]
            if at not in seen:
                seen.add(at)
                stack.extend(c for c in children if c not in seen)
            else:
                stack.pop()
                order.append(at)
        if targets is None:
            return seen
        wanted = set()
        for n in targets:
            t = self.yours.tensors[n]
            with torch.enable_grad():
                wanted.add(t.grad_fn or t.view_as(t).grad_fn.next_functions[0][0])
        leading: set[Any] = set()
        for at in order:  # children first
            if any(child in wanted or child in leading for child, _ in at.next_functions):
                leading.add(at)
        return leading

    def walk(self, run: Step, starts: list[int], targets: list[int] | None, retain: bool) -> None:
        """Run a backward pass, and compare all that it may have left."""
        if self.over:
            return
        begins = any(self.yours.tensors[n].requires_grad for n in starts)
        begins = begins and all(self.yours.tensors[n].requires_grad for n in targets or ())
        passed = self.behind(starts, targets) if begins and not retain else set()
        before = counts["errors in both"]
        results = self.step(run, starts)
        if counts["errors in both"] > before and not begins:
            self.history.append([run, True, FAILED])  # it may have called retain_grad
        if counts["errors in both"] > before and begins:
            if "do not depend" not in self.errors[0] or "not have been used" not in self.errors[1]:
                self.over = True  # how far each walk got before its error is not compared
                counts["walks that fail in both"] += 1
        elif results is None:
            return
        else:
            compare(*results, "grad()")
            counts["walks"] += 1
        self.freed |= passed
        if results == (None, None) and not retain and targets is not None:
            self.kept |= {self.yours.tensors[n].grad_fn for n in targets} - {None}
        self.compare_all()

    # --- steps ---

    @initialize(target=tensors, shape=st.sampled_from(SHAPES), key=st.integers(0, 9))
    def first(self, shape: tuple[int, ...], key: int) -> Any:
        return self.leaf(shape, torch.float64, key, True, False)

    @rule(
        target=tensors,
        shape=st.sampled_from(SHAPES),
        dtype=st.sampled_from(DTYPES),
        key=st.integers(0, 9),
        requires_grad=st.sampled_from([True, True, False]),
        whole=st.booleans(),
    )
    def leaf(self, shape: tuple[int, ...], dtype: torch.dtype, key: int, requires_grad: bool, whole: bool) -> Any:
        data = torch.randn(shape, generator=torch.Generator().manual_seed(key), dtype=torch.float64).to(dtype)
        data = data.round() if whole else data  # for ties and zeros
        return self.make(lambda w: w.leaf(data, requires_grad))

    @rule(target=tensors, name=st.sampled_from(list(UNARY)), x=tensors)
    def unary(self, name: str, x: int) -> Any:
        return self.make(lambda w: UNARY[name](w.tensors[x]))

    @rule(target=tensors, name=st.sampled_from(list(VIEWS)), x=tensors)
    def view(self, name: str, x: int) -> Any:
        if self.unrecorded and not self.over and self.yours.tensors[x].requires_grad:
            counts["no_grad view"] += 1
            return multiple()
        return self.make(lambda w: VIEWS[name](w.tensors[x]))

    @rule(target=tensors, name=st.sampled_from(list(BINARY)), x=tensors, y=tensors)
    def binary(self, name: str, x: int, y: int) -> Any:
        return self.make(lambda w: BINARY[name](w.tensors[x], w.tensors[y]))

    @rule(target=tensors, x=tensors, y=tensors, knots=KNOTTED)
    def tangle(self, x: int, y: int, knots: list[tuple[str, int, int]]) -> Any:
        return self.make(lambda w: tangled(w.tensors[x], w.tensors[y], knots))

    @rule(x=tensors, y=tensors, knots=KNOTTED)
    def learn(self, x: int, y: int, knots: list[tuple[str, int, int]]) -> None:
        """A forward and a backward pass, in which tensors are used many times over."""

        def run(w: World) -> None:
            tangled(w.tensors[x], w.tensors[y], knots).sum().backward(retain_graph=True)

        self.walk(run, [x, y], None, True)

    @rule(name=st.sampled_from(list(PLAIN)), x=tensors)
    def plain(self, name: str, x: int) -> None:
        results = self.step(lambda w: PLAIN[name](w.tensors[x]))
        if results is not None:
            compare(*results, name)

    @rule(name=st.sampled_from(list(CHANGES)), x=tensors)
    def change(self, name: str, x: int) -> None:
        self.changed(x, lambda w: w.change(x, CHANGES[name]))

    @rule(name=st.sampled_from(list(CHANGES_WITH)), x=tensors, y=tensors)
    def change_with(self, name: str, x: int, y: int) -> None:
        # In one dtype: tapegrad casts the result in a step of its own, and so sums the gradient of y in y's dtype.
        self.changed(x, lambda w: w.change(x, CHANGES_WITH[name], w.tensors[y].to(w.tensors[x].dtype)))

    def changed(self, x: int, run: Step) -> None:
        recorded = not self.unrecorded and (self.over or self.yours.tensors[x].requires_grad)
        if not recorded and self.spoiled(x):
            return
        refused = counts["shared memory"]
        self.step(run)
        if counts["shared memory"] > refused and not self.shares(x):
            raise Disagreement(f"tensor {x} does not share its memory")
        self.compare_all()

    def spoiled(self, x: int) -> bool:
        """Whether an unrecorded change would give views a new history in torch: without hooks, past other views."""
        if self.over:
            return False
        storage = self.yours.tensors[x].untyped_storage().data_ptr()
        views = [t for t in self.yours.tensors.values() if t._is_view() and t.requires_grad]
        spoiled = any(t.untyped_storage().data_ptr() == storage for t in views)
        counts["changed view"] += spoiled
        return spoiled

    def shares(self, x: int) -> bool:
        """Whether torch's tensor is a view, or its storage has another user."""
        t = self.yours.tensors[x]
        return t._is_view() or torch._C._storage_Use_Count(t.untyped_storage()._cdata) > SOLE

    @rule(steps=st.integers(1, 3))
    def no_grad(self, steps: int) -> None:
        self.unrecorded = steps

    @rule(
        x=tensors,
        key=st.integers(1, 6),
        retain=st.sampled_from([True, True, False]),
        inputs=st.one_of(st.none(), st.lists(tensors, min_size=1, max_size=3)),
    )
    def backward(self, x: int, key: int, retain: bool, inputs: list[int] | None) -> None:
        def run(w: World) -> None:
            t = w.tensors[x]
            extra = {} if inputs is None else {"inputs": [w.tensors[n] for n in inputs]}
            t.backward(cotangent(t, key), retain_graph=retain, **extra)

        self.walk(run, [x], inputs, retain)

    @rule(
        outputs=st.lists(tensors, min_size=1, max_size=2),
        inputs=st.lists(tensors, min_size=1, max_size=3),
        key=st.integers(1, 6),
        retain=st.sampled_from([True, True, None, False]),
        allow_unused=st.sampled_from([True, True, False]),
    )
    def grad(self, outputs: list[int], inputs: list[int], key: int, retain: bool | None, allow_unused: bool) -> None:
        def run(w: World) -> Any:
            ys, xs = [w.tensors[n] for n in outputs], [w.tensors[n] for n in inputs]
            vs = [cotangent(y, key + i) for i, y in enumerate(ys)]
            return w.grad(ys, xs, vs, retain_graph=retain, allow_unused=allow_unused)

        self.walk(run, outputs, inputs, bool(retain))

    @rule(y=tensors, x=tensors)
    def second_order(self, y: int, x: int) -> None:
        """The gradient of the squared length of a gradient; its formulas need not round as torch's do."""

        def run(w: World) -> Any:
            (g,) = w.grad(w.tensors[y].sum(), w.tensors[x], create_graph=True)
            if not g.requires_grad:  # a constant gradient; torch may not know
                return torch.zeros_like(raw(g))
            (h,) = w.grad((g * g).sum(), w.tensors[x], allow_unused=True, retain_graph=True)
            return torch.zeros_like(raw(g)) if h is None else h

        # Hooks and retained gradients would be compared to the bit, which second order does not promise.
        if not self.over and not self.mine.handles and not any(t.retains_grad for t in self.yours.tensors.values()):
            before = counts["errors in both"]
            results = self.step(run, [y], exact=False)
            self.over |= counts["errors in both"] > before
            self.mine.seen, self.yours.seen = [], []
            if results is not None:
                compare(*results, "second order", exact=False)

    @rule(x=tensors, value=st.booleans())
    def requires_grad(self, x: int, value: bool) -> None:
        if value and not self.over and self.shares(x):
            counts["no_grad view"] += 1
            return
        self.step(lambda w: w.tensors[x].requires_grad_(value) is None)
        self.compare_all()

    @rule(x=tensors)
    def retain_grad(self, x: int) -> None:
        self.step(lambda w: w.tensors[x].retain_grad())
        self.compare_all()

    @rule(x=tensors, name=st.sampled_from(list(HOOKS)))
    def hook(self, x: int, name: str) -> None:
        self.number += 1
        number = self.number

        def run(w: World) -> None:
            def see(g: Any) -> Any:
                w.seen.append((number, raw(g).clone()))
                return HOOKS[name](g)

            w.handles[number] = w.tensors[x].register_hook(see)

        self.step(run)

    @rule()
    def unhook(self) -> None:
        if self.mine.handles and self.mine.handles.keys() == self.yours.handles.keys():
            oldest = min(self.mine.handles)
            self.step(lambda w: w.handles.pop(oldest).remove())

    @rule(x=tensors, how=st.sampled_from(["None", "zero_", "half"]))
    def grad_changed(self, x: int, how: str) -> None:
        def run(w: World) -> None:
            t = w.tensors[x]
            if how == "None":
                t.grad = None
            elif t.grad is not None:
                t.grad.mul_(0.0 if how == "zero_" else 0.5)

        self.step(run)
        self.compare_all()

    @rule(x=tensors)
    def descent(self, x: int) -> None:
        def run(w: World) -> None:
            t = w.tensors[x]
            if t.grad is not None:
                with torch.no_grad():
                    t.sub_(t.grad * 0.1)

        if self.spoiled(x):
            return
        self.step(run)
        self.compare_all()

    @rule(x=tensors)
    def data(self, x: int) -> None:
        self.touched = True
        self.step(lambda w: w.tensors[x].data.mul_(0.5) is None)
        self.compare_all()

    @rule(x=consumes(tensors))
    def drop(self, x: int) -> None:
        self.step(lambda w: w.tensors.pop(x) is None)

    def teardown(self) -> None:
        if sys.exc_info()[0] is None:
            self.compare_all()


def run(programs: int, key: int = 0, steps: int = 40, shrink: bool = True) -> None:
    """Run so many programs.

    Raises:
        Disagreement: the two libraries did different things; the program is printed, cut down to what matters.
    """
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    run_state_machine_as_test(
        seed(key)(Programs),
        settings=settings(
            max_examples=programs,
            stateful_step_count=steps,
            phases=phases,
            database=None,
            deadline=None,
            derandomize=False,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("programs", type=int, nargs="?", default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started, batch = time.perf_counter(), 1000
    if FAST:
        roads.PATIENCE = sys.maxsize
    for i in range(0, arguments.programs, batch):
        if FAST:  # by turns, the walk takes every tape, or each is written out
            roads.MEETINGS = sys.maxsize if i // batch % 2 == 0 else 0
            roads.forget()
        run(min(batch, arguments.programs - i), arguments.seed + i)
        print(f"{i + batch} programs, {time.perf_counter() - started:.0f} s", flush=True)
    for name, count in counts.most_common():
        print(f"{count:9,d}  {name}{': ' + EXCEPTIONS[name] if name in EXCEPTIONS else ''}")


if __name__ == "__main__":
    main()
