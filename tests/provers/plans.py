"""Random functions, compiled and eager side by side.

A hypothesis state machine makes up a function, as source, and then what a user does with it: calls of other shapes and
values, forward and backward passes that interleave, results and gradients that are kept, hooks, optimizers, dropout
under seeds, ``no_grad``, captured tensors that change, threads, and exceptions half way. Each step runs in a world
whose function is compiled and in one whose function is not. Results, gradients, buffers and the state of the random
numbers must agree to the bit, and errors in their kind.

``python tests/provers/plans.py 5000`` runs that many programs; ``test_plans.py`` runs some, and all that once found
something.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, Phase, note, seed, settings
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
from torch.utils._pytree import tree_leaves

if not __package__:  # run as a file
    sys.path[0] = str(Path(__file__).parents[2])

import tapegrad
from tapegrad import Tensor
from tests.helpers import raw, same_bits
from tests.provers.bodies import OUTPUTS, STEPS, Draft
from tests.provers.steps import HOOKS

EXCEPTIONS = {
    "freed": "the outputs of one call are freed together; in eager mode only what was walked is",
}
LEAVES = ("a", "b", "s")
counts: Counter[str] = Counter()


class Disagreement(AssertionError):
    """The compiled function did something else."""


class World:
    """One of the two functions, and everything around it.

    Attributes:
        names: the function's globals: captured leaves, buffers and numbers.
        tensors: number -> a result that is kept.
        held: gradients that are kept.
        handles: handles of hooks.
        seen: what hooks saw.
    """

    def __init__(self, source: str, compiled: bool) -> None:
        self.names: dict[str, Any] = beginnings()
        exec(compile(source, "<the random function>", "exec"), self.names)
        function = self.names["f"]
        self.step = tapegrad.compile(function) if compiled else function
        self.tensors: dict[int, Any] = {}
        self.held: list[torch.Tensor] = []
        self.handles: list[Any] = []
        self.seen: list[torch.Tensor] = []
        self.data: dict[int, torch.Tensor] = {}
        self.state = torch.Generator().manual_seed(5).get_state()

    @contextmanager
    def random(self) -> Iterator[None]:
        """Within it random numbers are this world's."""
        torch.set_rng_state(self.state)
        try:
            yield
        finally:
            self.state = torch.get_rng_state()

    def visible(self) -> dict[str, Any]:
        """All that can be seen of it."""
        names = {name: v for name, v in self.names.items() if isinstance(v, (Tensor, torch.Tensor))}
        shown = names | {f"result {n}": t for n, t in self.tensors.items()}
        shown |= {
            f"the gradient of {name}": t.grad
            for name, t in shown.items()
            if type(t) is Tensor and (t.is_leaf or t.retains_grad)
        }
        shown |= {f"held gradient {i}": g for i, g in enumerate(self.held)}
        shown |= {f"data {i}": x for i, x in self.data.items()}
        return shown | {f"what hook {i} saw": g for i, g in enumerate(self.seen)} | {"random numbers": self.state}


def randn(*shape: int, key: int) -> torch.Tensor:
    """Standard normal numbers, the same each time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(key))


def beginnings() -> dict[str, Any]:
    """What a function begins with: three leaves, of which it is given one, and buffers and numbers."""
    a, b, s = (tapegrad.tensor(randn(*shape, key=i), requires_grad=True) for i, shape in enumerate([(3, 4), (4,), ()]))
    numbers = {"factor": 0.5, "buffer": torch.zeros(4), "mean": torch.zeros(4), "var": torch.ones(4)}
    return {"torch": torch, "F": F, "a": a, "b": b, "s": s, **numbers}


def index(rows: int, bad: bool = False) -> torch.Tensor:
    """A row for each row; one of them may be out of range."""
    found = (torch.arange(rows) * 2 + 1) % max(rows, 1)
    if bad and rows:
        found[-1] = rows + 3
    return found


def cotangent(t: Any, key: int) -> torch.Tensor | None:
    """None for what needs none, or one of several layouts."""
    shape = t.shape
    if key == 0 and t.numel() == 1:
        return None
    if key == 1:
        return torch.ones(()).expand(shape)
    if key == 2:
        return randn(*reversed(shape), key=key).permute(tuple(reversed(range(len(shape)))))
    return randn(*shape, key=key)


class Programs(RuleBasedStateMachine):
    """Programs; each rule is a step. A result is a number that both worlds know it by."""

    results = Bundle("results")

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.siblings: dict[int, int] = {}  # result -> the call that gave it
        self.walked: set[int] = set()  # the calls of which a result was walked and freed
        counts["programs"] += 1

    @initialize(
        steps=st.lists(st.tuples(st.sampled_from(STEPS), *[st.integers(0, 9)] * 2), min_size=1, max_size=8),
        form=st.sampled_from(OUTPUTS),
        chosen=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    )
    def function(self, steps: list[tuple[str, int, int]], form: str, chosen: tuple[int, int]) -> None:
        names = beginnings()
        draft = Draft(names | {"x": randn(3, 3, key=9), "index": index(3), "scale": 2.0, "flag": True})
        for text, i, j in steps:
            draft.add(text, i, j)
        self.source = draft.finish(form, *chosen)
        self.is_pure = draft.is_pure
        note(self.source)
        self.mine, self.yours = World(self.source, compiled=True), World(self.source, compiled=False)

    # --- the judge ---

    def both(self, run: Callable[[World], Any], usual: bool = True) -> tuple[Any, Any] | None:
        """What a step gives in each world; None if both refuse it."""
        counts["steps"] += 1
        mine, error = attempt(run, self.mine)
        yours, theirs = attempt(run, self.yours)
        if isinstance(error, tapegrad.CompileError) and theirs is None and "is changed in place" in str(error):
            counts["refused"] += 1  # a plan would not change an argument
            return self.forget()
        if type(error) is not type(theirs):
            raise Disagreement(f"compiled: {error!r}; eager: {theirs!r}") from error
        if error is not None:
            counts[f"both: {type(error).__name__}"] += 1
            return None
        return mine, yours

    def compare(self) -> None:
        """Both worlds look the same."""
        mine, yours = self.mine.visible(), self.yours.visible()
        if mine.keys() != yours.keys():
            raise Disagreement(f"one world only: {mine.keys() ^ yours.keys()}")
        for name in mine:
            compare(mine[name], yours[name], name)

    def keep(self, found: tuple[Any, Any] | None) -> Any:
        """Keep what a step gives: the Tensors that can be walked, by numbers, and compare everything."""
        numbers = []
        if found is not None:
            compare(*found, "result")
            call = self.number
            for mine, yours in zip(*map(tree_leaves, found), strict=True):
                if isinstance(mine, (Tensor, torch.Tensor)) and not any(mine is self.mine.names[n] for n in LEAVES):
                    self.number += 1
                    self.siblings[self.number] = call
                    self.mine.tensors[self.number], self.yours.tensors[self.number] = mine, yours
                    if mine.requires_grad:
                        numbers.append(self.number)
        self.compare()
        return multiple(*numbers)

    def walk(self, n: list[int], run: Callable[[World], Any], retain: bool) -> None:
        """A backward pass."""
        mine, error = attempt(run, self.mine)
        yours, theirs = attempt(run, self.yours)
        calls = {self.siblings[i] for i in n}
        if type(error) is tapegrad.FreedTape and theirs is None and calls & self.walked:
            counts["freed"] += 1
            return self.forget()
        if type(error) is not type(theirs):
            raise Disagreement(f"compiled: {error!r}; eager: {theirs!r}") from error
        if error is not None:  # how far each got is not compared, but nothing later is harmed
            counts[f"both: {type(error).__name__}"] += 1
            return self.forget()
        counts["walks"] += 1
        if not retain:
            self.walked |= calls
        compare(mine, yours, "grad()")
        return self.compare()

    def forget(self) -> None:
        """Begin anew with what the worlds hold, but for tapes."""
        for w in (self.mine, self.yours):
            w.tensors.clear()
            w.seen.clear()
            for name in LEAVES:
                w.names[name].grad = None

    # --- steps ---

    @rule(
        target=results,
        rows=st.sampled_from([3, 3, 3, 3, 2, 1, 0]),
        key=st.integers(0, 2),
        scale=st.sampled_from([2.0, 2.0, 2.0, 3.0, 2, -0.0]),
        flag=st.sampled_from([True, True, True, False]),
        how=st.sampled_from(["", "", "", "", "no_grad", "again", "bad", "transposed", "computed", "by name"]),
    )
    def call(self, rows: int, key: int, scale: float, flag: bool, how: str) -> Any:
        def run(w: World) -> Any:
            x: Any = w.data.setdefault(key, randn(3, 3, key=key)) if how == "again" else randn(rows, 3, key=key)
            x = x.t().contiguous().t() if how == "transposed" else x
            x = torch.sin(w.names["a"][:, :3] * x[:1, :1]) if how == "computed" and rows else x
            i = index(x.shape[0], how == "bad")
            with torch.set_grad_enabled(how != "no_grad"), w.random():
                if how == "by name":
                    return w.step(x=x, a=w.names["a"], index=i, flag=flag, scale=scale)
                return w.step(x, w.names["a"], i, scale, flag)

        return self.keep(self.both(run))

    @rule(target=results, n=results)
    def call_with_a_result(self, n: int) -> Any:
        def run(w: World) -> Any:
            x = w.tensors[n]
            with w.random():
                return w.step(x, w.names["a"], index(x.shape[0]), 2.0, True)

        if self.alive(n) and self.mine.tensors[n].ndim == 2:
            return self.keep(self.both(run))
        return multiple()

    @rule(target=results, n=results, m=results, how=st.sampled_from(["tanh", "add", "mul", "times b", "sum"]))
    def use(self, n: int, m: int, how: str) -> Any:
        """Eager ops on results."""
        ops: dict[str, Callable[..., Any]] = {
            "tanh": lambda w, x, y: torch.tanh(x),
            "add": lambda w, x, y: x.sum() + y.sum(),
            "mul": lambda w, x, y: x * y.mean(),
            "times b": lambda w, x, y: x.sum() * w.names["b"],
            "sum": lambda w, x, y: x.sum(),
        }
        if not self.alive(n, m):
            return multiple()
        walked = {self.siblings[n], self.siblings[m]} & self.walked
        made = self.keep(self.both(lambda w: ops[how](w, w.tensors[n], w.tensors[m])))
        if walked:
            self.walked.add(self.siblings[self.number])
        return made

    @rule(n=results, key=st.integers(0, 3), retain=st.sampled_from([False, False, True]))
    def backward(self, n: int, key: int, retain: bool) -> None:
        if self.alive(n):
            g = cotangent(self.mine.tensors[n], key)
            self.walk([n], lambda w: w.tensors[n].backward(g, retain_graph=retain), retain)

    @rule(
        n=st.lists(results, min_size=1, max_size=2),
        of=st.lists(st.sampled_from(LEAVES), min_size=1, max_size=3, unique=True),
        retain=st.booleans(),
    )
    def grad(self, n: list[int], of: list[str], retain: bool) -> None:
        if self.alive(*n):
            gs = [cotangent(self.mine.tensors[i], 3) for i in n]

            def run(w: World) -> Any:
                outputs, inputs = [w.tensors[i] for i in n], [w.names[name] for name in of]
                return tapegrad.grad(outputs, inputs, gs, retain_graph=retain, allow_unused=True)

            self.walk(n, run, retain)

    @rule(scale=st.sampled_from([2.0, 3.0]), twice=st.booleans(), how=st.sampled_from(["set", "add", "no_grad"]))
    def train(self, scale: float, twice: bool, how: str) -> None:
        """A step as a training loop takes it."""

        def run(w: World) -> None:
            parameters = [w.names[name] for name in LEAVES]
            for key in (0, 1)[: 1 + twice]:
                with w.random():
                    out = w.step(randn(3, 3, key=key), w.names["a"], index(3), scale, True)
                losses = [t.sum() for t in tree_leaves(out) if type(t) is Tensor and t.requires_grad and not t.is_leaf]
                if losses:
                    sum(losses[1:], losses[0]).backward()
            for p in parameters:
                if p.grad is not None and how == "set":
                    p.data = p.data - 0.1 * p.grad
                elif p.grad is not None and how == "add":
                    p.data += -0.1 * p.grad
                elif p.grad is not None:
                    with torch.no_grad():
                        p.sub_(p.grad * 0.1)
                if how != "add":
                    p.grad = None

        self.both(run)
        self.compare()

    @rule(name=st.sampled_from(LEAVES), how=st.sampled_from(["None", "zero_", "hold", "hold", "half"]))
    def gradient(self, name: str, how: str) -> None:
        def run(w: World) -> None:
            p = w.names[name]
            if how == "None":
                p.grad = None
            elif p.grad is not None and how == "hold":
                w.held.append(p.grad)
            elif p.grad is not None:
                p.grad.mul_(0.0 if how == "zero_" else 0.5)

        self.both(run)
        self.compare()

    @rule(
        name=st.sampled_from(["a", "b", "s", "buffer", "mean", "var"]),
        how=st.sampled_from(["mul_", "data.mul_", "data =", "another", "sub_"]),
    )
    def change(self, name: str, how: str) -> None:
        """Change a leaf or a buffer between calls, also between a forward and a backward pass."""

        def run(w: World) -> None:
            t = w.names[name]
            if how == "another":
                w.names[name] = tapegrad.tensor(t.data.clone(), t.requires_grad) if name in LEAVES else t.clone()
            elif how == "data =":
                t.data = t.data * 2
            elif how == "data.mul_":
                t.data.mul_(2)
            else:
                with torch.no_grad():
                    getattr(t, how)(0.5)

        self.both(run)
        self.compare()

    @rule(n=results, how=st.sampled_from(["data.mul_", "mul_", "+=", "[0] ="]))
    def change_a_result(self, n: int, how: str) -> None:
        def run(w: World) -> None:
            t = w.tensors[n]
            if how == "data.mul_":
                t.data.mul_(2)
            elif how == "mul_":
                t.mul_(2)
            elif how == "+=":
                t += 1
            else:
                t[0] = 3.0

        if self.alive(n):
            self.both(run)
            self.compare()

    @rule(key=st.integers(0, 2))
    def change_an_input(self, key: int) -> None:
        self.both(lambda w: w.data[key].add_(1) is None if key in w.data else None)
        self.compare()

    @rule(factor=st.sampled_from([0.5, 1.5]))
    def number_changes(self, factor: float) -> None:
        self.both(lambda w: w.names.update(factor=factor))

    @rule(name=st.sampled_from(LEAVES), value=st.booleans())
    def requires_grad(self, name: str, value: bool) -> None:
        self.both(lambda w: w.names[name].requires_grad_(value) is None)
        self.compare()

    @rule(n=st.one_of(results, st.sampled_from(LEAVES)), name=st.sampled_from([*HOOKS, "raise"]))
    def hook(self, n: int | str, name: str) -> None:
        def run(w: World) -> None:
            def see(g: Any) -> Any:
                if name == "raise":
                    raise ZeroDivisionError
                w.seen.append(raw(g).clone())
                return HOOKS[name](g)

            t = w.names[n] if isinstance(n, str) else w.tensors[n]
            if t.requires_grad:
                w.handles.append(t.register_hook(see))

        if isinstance(n, str) or self.alive(n):
            self.both(run)

    @rule()
    def unhook(self) -> None:
        self.both(lambda w: w.handles.pop().remove() if w.handles else None)

    @rule(n=results)
    def retain_grad(self, n: int) -> None:
        if self.alive(n):
            self.both(lambda w: w.tensors[n].retain_grad())

    @rule(n=consumes(results))
    def drop(self, n: int) -> None:
        self.both(lambda w: w.tensors.pop(n, None) is None)
        self.compare()

    @rule(retain=st.booleans())
    def threads(self, retain: bool) -> None:
        """Calls and backward passes in several threads, of a function that changes nothing and draws no numbers."""
        if not self.is_pure:
            return

        def work(w: World, key: int, found: dict[int, Any]) -> None:
            a = tapegrad.tensor(w.names["a"].data * key, requires_grad=True)
            inputs = [t for t in (a, w.names["b"], w.names["s"]) if t.requires_grad]
            out: list[Any] = []
            for i in range(3):
                result = w.step(randn(3, 3, key=key + i), a, index(3), 2.0, True)
                for t in tree_leaves(result):
                    if type(t) is Tensor and not t.is_leaf:
                        g = torch.ones_like(t.data)
                        out += [t.data, tapegrad.grad(t, inputs, g, retain_graph=True, allow_unused=True)]
                        if not retain:
                            break
            found[key] = out

        def run(w: World) -> Any:
            found: dict[int, Any] = {}
            if w is self.yours:
                for key in range(3):
                    work(w, key, found)
                return found
            with ThreadPoolExecutor(3) as pool:
                for done in [pool.submit(work, w, key, found) for key in range(3)]:
                    done.result()
            return {key: found[key] for key in range(3)}

        results = self.both(run)
        if results is not None:
            counts["threads"] += 1
            compare(*results, "what threads computed")

    def alive(self, *numbers: int) -> bool:
        """Whether results are still kept."""
        return all(n in self.mine.tensors for n in numbers)


def attempt(run: Callable[[World], Any], world: World) -> tuple[Any, Exception | None]:
    """What a step returns, or the error that it ends with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return run(world), None
        except (RuntimeError, TypeError, IndexError, ValueError, ZeroDivisionError) as error:
            error.__traceback__ = error.__context__ = error.__cause__ = None  # its frames would keep tensors alive
            return None, error


def compare(mine: Any, yours: Any, what: str) -> None:
    """Two results are of one kind and have the same bits.

    Raises:
        Disagreement: they have not.
    """
    if type(mine) is not type(yours):
        raise Disagreement(f"{what}: compiled gives {mine!r}, eager {yours!r}")
    if isinstance(mine, (list, tuple)):
        if len(mine) != len(yours):
            raise Disagreement(f"{what}: compiled gives {len(mine)}, eager {len(yours)}")
        for i, (a, b) in enumerate(zip(mine, yours, strict=True)):
            compare(a, b, f"{what}[{i}]")
    elif isinstance(mine, dict):
        compare([*mine.keys(), *mine.values()], [*yours.keys(), *yours.values()], what)
    elif isinstance(mine, (Tensor, torch.Tensor)):
        flags = [(t.requires_grad, t.is_leaf, t.stride()) for t in (mine, yours)]
        if flags[0] != flags[1]:
            raise Disagreement(f"{what}: requires_grad, is_leaf and strides are {flags[0]}, in eager mode {flags[1]}")
        a, b = raw(mine), raw(yours)
        if not same_bits(a, b, signed=True):
            raise Disagreement(f"{what}: compiled gives {a}, eager {b}")
    elif repr(mine) != repr(yours):
        raise Disagreement(f"{what}: compiled gives {mine!r}, eager {yours!r}")


def run(programs: int, key: int = 0, steps: int = 30, shrink: bool = True) -> None:
    """Run so many programs.

    Raises:
        Disagreement: the two functions did different things; the program is printed, cut down to what matters.
    """
    run_state_machine_as_test(
        seed(key)(Programs),
        settings=settings(
            max_examples=programs,
            stateful_step_count=steps,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            database=None,
            deadline=None,
            derandomize=False,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("programs", type=int, nargs="?", default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started, batch = time.perf_counter(), 250
    for i in range(0, arguments.programs, batch):
        run(min(batch, arguments.programs - i), arguments.seed + i)
        print(f"{i + batch} programs, {time.perf_counter() - started:.0f} s", flush=True)
    for name, count in counts.most_common():
        print(f"{count:9,d}  {name}{': ' + EXCEPTIONS[name] if name in EXCEPTIONS else ''}")


if __name__ == "__main__":
    main()
