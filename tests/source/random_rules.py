"""Random bodies of rules: raw tensors that are views of one another and are written into, traced and written out.

``python -m tests.source.random_rules 2000`` runs that many. Everything a body has computed is asked for at its end, so
that a write which a view should have seen, or should not, shows.
"""

from __future__ import annotations

import re
import sys
from random import Random
from typing import Any

import torch

from tapegrad.source.body import Body, Statement
from tapegrad.source.trace import Trace
from tapegrad.source.variables import RESERVED

MAKE = """
a + b | a * b | a * 2 | a + 0 | a * 1 | 0 + a | a - 0.0 | -a | a.clone() | a.contiguous() | torch.zeros_like(a)
a.new_zeros(3, 4) | torch.ones_like(a) | torch.full_like(a, 0.5) | a.exp() | a.detach() | a.reshape(-1)
a.view(-1) | a.T | a[0] | a[1:] | a[..., ::2] | a[:, 1] | a[[0, 0]] | a[None] | a.unsqueeze(0) | a.squeeze()
a.flatten() | a.narrow(0, 0, 2) | a.select(0, 1) | a.unbind(0)[1] | a.chunk(2)[0] | a.split(2)[0] | a.sum(0)
a.sum() | a.T.reshape(-1) | a.expand(2, *a.shape) | a.view(2, -1) | a.reshape(2, 6) | a.reshape(3, 4)
a.view(4, 3) | a.diagonal() | a.movedim(0, -1) | a.to(torch.float64) | a.to(torch.float32) | torch.cat([a, b])
torch.where(a > 0, a, b) | a.view_as(a) | a.expand_as(a) | torch.broadcast_tensors(a, b)[0] | torch.atleast_2d(a)
a.unfold(0, 2, 1) | a.as_strided((2, 2), (1, 2)) | a.max(0)[0] | a.T + 0 | a[:, 1:] * 1
a[1:] + torch.zeros_like(a[1:]) | a + torch.zeros(3, 4, dtype=a.dtype) | a.repeat(1, 1) | a.data | a.mT | a.flip(0)
a.squeeze(0) | a.swapaxes(0, -1)
""".replace("\n", " | ")
WRITE = """
a.add_(b) | a.mul_(2) | a.mul_(b) | a.zero_() | a.fill_(0.5) | a.copy_(b) | a.neg_() | a.sub_(b, alpha=2) | a += b
a *= 3 | a[0] = b | a[0] = 0.25 | a[1:] += 1 | a[..., 0] = b | a[[0, 1]] = b | a[a > 0] = 0.5
a.masked_fill_(b > 0, 0.1) | a.index_add_(0, torch.tensor([0, 1]), b)
a.index_put_((torch.tensor([0, 0]),), b, accumulate=True) | a.view(-1)[1] = 7 | a.T[0] = b | a.unsqueeze_(0)
a.squeeze_() | a.t_() | a.add_(0) | a.mul_(1) | a.div_(b * b + 1) | a[0].mul_(2) | a.diagonal().zero_()
a.clamp_(-1, 1) | torch.mul(a, 2, out=a) | a[:1].add_(b)
""".replace("\n", " | ")
KINDS = [[line.strip() for line in kind.split("|") if line.strip()] for kind in (MAKE, WRITE)]


def inputs() -> dict[str, torch.Tensor]:
    """What a body is given; it may not write there."""
    g = torch.Generator().manual_seed(0)
    return {
        "x": torch.randn(3, 4, generator=g),
        "y": torch.randn(4, generator=g),
        "z": torch.randn(4, 3, generator=g).T,
    }


def draw(random: Random, length: int) -> list[str]:
    """A body that runs, and leaves its inputs alone."""
    names, lines = list(inputs()), []
    for _ in range(20 * length):
        if len(lines) == length:
            break
        written = random.random() < 0.35
        text = random.choice(KINDS[written])
        a, b = random.choice(names[3:] or names if written else names), random.choice(names)
        text = re.sub(r"(?<![\w.])[ab]\b", lambda word, names={"a": a, "b": b}: names[word[0]], text)
        line = text if written else f"t{len(names)} = {text}"
        before, tried = run(lines), run([*lines, line])
        if (
            before is None
            or tried is None
            or (written and _overlaps(before[a], before[b]))
            or any(not torch.equal(tried[name], value) for name, value in inputs().items())
        ):
            continue
        names += [] if written else [f"t{len(names)}"]
        lines.append(line)
    return lines


def _overlaps(written: torch.Tensor, read: torch.Tensor) -> bool:
    """Whether it is up to torch which elements are written, or read, first."""
    twice = any(n > 1 and not stride for n, stride in zip(written.shape, written.stride(), strict=True))
    return twice or (written is not read and written.untyped_storage()._cdata == read.untyped_storage()._cdata)


def run(lines: list[str], trace: Trace | None = None) -> dict[str, torch.Tensor] | None:
    """The tensors of a body, by name; None if it does not run."""
    scope: dict[str, Any] = {**inputs(), "torch": torch}
    if trace is not None:
        for name in inputs():
            trace.name(scope[name], name)
    try:
        for line in lines:
            if trace is None:
                exec(line, scope)
            else:
                with trace:
                    exec(line, scope)
    except (RuntimeError, IndexError, TypeError, ValueError, NameError, AttributeError):
        if trace is not None:
            raise
        return None
    tensors = {name: value for name, value in scope.items() if isinstance(value, torch.Tensor)}
    return tensors if all(0 < t.numel() < 100 and t.isfinite().all() for t in tensors.values()) else None


def disagreement(lines: list[str], exact: bool) -> str:
    """What is wrong with a body's source; "" if nothing is, or it is refused."""
    trace = Trace(exact)
    try:
        values = run(lines, trace)
        assert values is not None
        wanted = {name: value for name, value in values.items() if name not in inputs()}
        statements = [Statement(f"d{name}", trace.expression(value)) for name, value in wanted.items()]
    except NotImplementedError as refused:
        return "" if str(refused).startswith("source: ") else str(refused)
    written = "\n".join(Body(statements, {}, RESERVED).lines)
    results = ", ".join(statement.name for statement in statements)
    text = f"def body(x, y, z, {', '.join(c.name for c in trace.constants)}):\n{written}\n    return [{results}]\n"
    scope: dict[str, Any] = {"torch": torch}
    given = inputs()
    try:
        exec(text, scope)
        got = scope["body"](**given, **{c.name: c.value for c in trace.constants})
    except Exception as error:
        return f"{type(error).__name__}: {error}\n{text}"
    if any(not torch.equal(given[name], value) for name, value in inputs().items()):
        return f"an input was written into\n{text}"
    for (name, theirs), mine in zip(wanted.items(), got, strict=True):
        if mine.shape != theirs.shape or mine.dtype != theirs.dtype or not torch.allclose(mine, theirs, 1e-5, 1e-6):
            return f"{name} is {mine}, not {theirs}\n{text}"
        if exact and not (torch.equal(mine, theirs) and torch.equal(mine.signbit(), theirs.signbit())):
            return f"{name}, to the bit, is {mine}, not {theirs}\n{text}"
    return ""


def shortest(lines: list[str], exact: bool) -> list[str]:
    """A body with as few lines as still disagree."""
    for i in range(len(lines) - 1, -1, -1):
        fewer = lines[:i] + lines[i + 1 :]
        if run(fewer) is not None and disagreement(fewer, exact):
            return shortest(fewer, exact)
    return lines


def main(count: int, seed: int = 0) -> int:
    """Run bodies; print and count those that disagree."""
    torch.set_num_threads(1)
    failures = 0
    for k in range(seed, seed + count):
        lines = draw(Random(k), Random(k).randint(2, 9))
        for exact in (False, True):
            if disagreement(lines, exact):
                lines = shortest(lines, exact)
                print(f"--- body {k}, exact: {exact}", *lines, disagreement(lines, exact), sep="\n", flush=True)
                failures += 1
                break
    print(f"{count} bodies, {failures} disagree")
    return failures


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:] or ["1000"]))))
