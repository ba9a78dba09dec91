"""Random programs of + - * / ** exp log sqrt sum mean max and indices, and whether what is derived of them is true.

    python -m tests.provers.derivations 5000 [SEED]

A program is a few lines of text. Its gradient is derived from a random start, each line of the derivation is evaluated
again, the program that is written is run, and the result is held to torch.autograd's on the same lines.
"""

from __future__ import annotations

import random
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch

import tapegrad

LONGEST = 20.0  # seconds of processor time that a derivation may take


def program(rng: random.Random) -> str:
    """The text of a program: leaves ``x``, ``w`` and ``b``, and some lines that end in ``out``."""
    known = {"x": (3, 4), "w": rng.choice([(3, 4), (1, 4), (4,)]), "b": rng.choice([(3, 1), (1, 4), (4,)])}
    lines = [f"{name} = leaf{shape}" for name, shape in known.items()]
    for i in range(rng.randint(2, 8)):
        text, shape = expression(rng, known)
        name = f"v{i}"
        lines.append(f"{name} = {text}")
        known[name] = shape
    used = " + ".join(f"({name}).sum()" for name in list(known)[-rng.randint(1, 2) :])
    if rng.random() < 0.5:
        lines.append(f"out = {used}")
    else:
        lines.append(f"out = {list(known)[-1]} * 1.5")
    return "\n".join(lines)


def broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of an elementwise result."""
    try:
        return tuple(torch.broadcast_shapes(a, b))
    except RuntimeError:
        return None


def expression(rng: random.Random, known: dict[str, tuple[int, ...]]) -> tuple[str, tuple[int, ...]]:
    """A line's right-hand side, most often of the newest variables, and its shape."""
    names = list(known)
    a = names[-1] if rng.random() < 0.6 else rng.choice(names)
    b = rng.choice(names)
    shape = known[a]
    kind = rng.choice("infix infix infix infix power unary unary reduce reduce max index repeat number inner".split())
    if kind == "infix":
        both = broadcast(shape, known[b])
        if both is not None and len(both) <= 2:
            sign = rng.choice("+-*/")
            return f"{a} {sign} {b}" if sign != "/" else f"{a} / ({b} ** 2 + 0.5)", both
    if kind == "inner":
        both = broadcast(shape, known[b])
        if both is not None and both == shape:
            return f"({a} {rng.choice('+-*')} {b}) {rng.choice('+-*')} {rng.choice(['2', '0.5', a])}", both
    if kind == "power":
        exponent = rng.choice(["2", "3", "-1", "0.5", "-0.5", "-2", "1.5"])
        return f"{a} ** {exponent}" if exponent in "23" else f"({a} ** 2 + 0.3) ** {exponent}", shape
    if kind == "unary":
        return rng.choice([
            f"({a} * 0.3).exp()", f"(-{a}.abs()).exp()", f"({a} ** 2 + 1).log()", f"({a} * {a} + 0.2).sqrt()",
            f"torch.tanh({a})", f"torch.sigmoid({a})", f"-{a}", f"1 / (1 + (-{a}).exp())", f"{a}.abs().sqrt()",
        ]), shape  # fmt: skip
    if kind in ("reduce", "repeat", "max") and len(shape) == 2:
        dim, keep = rng.choice([0, 1, -1]), rng.random() < 0.6
        left = [1 if i == dim % 2 else n for i, n in enumerate(shape)]
        after = tuple(left) if keep else tuple(n for i, n in enumerate(left) if i != dim % 2)
        call = rng.choice(["sum", "mean"]) if kind != "max" else "max"
        text = f"{a}.{call}({dim}, keepdim={keep}){'.values' if call == 'max' else ''}"
        if kind == "repeat" and keep:
            return rng.choice([f"{a} - {text}", f"{a} / ({text} ** 2 + 0.1)", f"{a} * {text}"]), tuple(shape)
        return text, after
    if kind == "index" and shape == (3, 4):
        return rng.choice(
            [(f"{a}[range(3), y]", (3,)), (f"{a}.gather(1, y[:, None])", (3, 1)), (f"{a}[:, None, 0]", (3, 1))]
        )
    return f"{a} * {rng.choice(['2', '0.25', '-1', '3.7'])}", shape


def variables(text: str, wrap: Any, seed: int) -> dict[str, Any]:
    """Run a program on leaves that ``wrap`` makes of torch tensors."""
    generator = torch.Generator().manual_seed(seed)

    def leaf(*shape: int) -> Any:
        return wrap(torch.randn(shape, generator=generator, dtype=torch.float64) + 0.1)

    scope: dict[str, Any] = {"torch": torch, "leaf": leaf, "y": torch.tensor([1, 3, 0])}
    exec(text, scope)
    return {name: v for name, v in scope.items() if re.fullmatch(r"[a-z]\d*|out", name)}


def faults(text: str, rng: random.Random, seed: int, seen: Counter[str] | None = None) -> Iterator[str]:
    """What is wrong with what is derived of a program; ``seen`` counts what was tried."""
    seen = Counter() if seen is None else seen
    ours = variables(text, lambda t: tapegrad.tensor(t, requires_grad=True), seed)
    out = ours["out"]
    if not isinstance(out, tapegrad.Tensor) or not out.requires_grad:
        return
    on_tape = [n for n, v in ours.items() if isinstance(v, tapegrad.Tensor) and v is not out]
    of = rng.choice(on_tape)
    start = rng.choice([None, None, "out"])
    began = time.process_time()
    try:
        found = tapegrad.derive(out, of, start, ours)
    except ValueError as error:
        if "does not depend" in str(error) or "no gradient flows" in str(error):
            return
        raise
    took = time.process_time() - began
    if took > LONGEST:
        yield f"{of} from {start}: took {took:.1f} s"
    seen["derived"] += 1
    seen["shorter"] += found.passes[1] < found.passes[0]
    seen["lines"] += sum(len(line.steps) for line in found.lines)
    if not found.check():
        yield f"{of} from {start}: a line that does not hold\n{found}"
    theirs = variables(text, lambda t: t.requires_grad_(), seed)
    source, bindings, start = found.source(), found.bindings(), theirs[found.given]
    inputs = re.search(r"def gradient\((.*)\)", source)[1].split(", ")
    g = None
    if found.given != "out" or start.shape.numel() != 1:
        g = torch.randn(start.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        bindings |= {f"d{found.given}": g} if f"d{found.given}" in inputs else {}
    if set(inputs) - {""} != set(bindings):
        return  # the engine computes a part, from the loss
    seen["run"] += 1
    space: dict[str, Any] = {}
    exec(source, space)
    value = space["gradient"](**bindings)
    (truth,) = torch.autograd.grad(start, [theirs[of]], g, allow_unused=True)
    truth = torch.zeros_like(theirs[of]) if truth is None else truth
    known = truth.isfinite()
    scale = truth[known].abs().max().item() if known.any() else 0.0
    if value.shape != truth.shape or ((value - truth).abs()[known] > 1e-7 * scale + 1e-9).any():
        yield f"{of}: off by {(value - truth).abs().max().item():.1e} of {scale:.1e}\n{found}"


def run(n: int, seed: int) -> list[str]:
    """The programs that something is wrong with."""
    wrong = []
    slowest, seen = 0.0, Counter[str]()
    for i in range(seed, seed + n):
        rng = random.Random(i)
        text = program(rng)
        began = time.process_time()
        try:
            wrong += [f"--- seed {i}\n{text}\n{fault}" for fault in faults(text, rng, i, seen)]
        except Exception:
            wrong.append(f"--- seed {i}\n{text}\n{traceback.format_exc(limit=-6)}")
        slowest = max(slowest, time.process_time() - began)
    print(f"{n} programs, {len(wrong)} wrong, the slowest {slowest:.1f} s; {dict(seen)}")
    return wrong


if __name__ == "__main__":
    numbers = [int(a) for a in sys.argv[1:]]
    torch.set_num_threads(1)
    for fault in run(numbers[0] if numbers else 5000, numbers[1] if len(numbers) > 1 else 0):
        print(fault)
