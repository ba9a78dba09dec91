"""Random programs that use tensors several times in several ways, written out as source, run, and held to the engine.

``python -m tests.source.random_programs 2000`` runs that many; what fails is printed as the shortest program that still
fails. A program is Python source, a statement a line, on leaves ``x``, ``m``, ``w`` and ``s``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

import tapegrad

STYLES = ("plain", "exact")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
MOST = 100  # elements of a tensor

READ = """
a[0] | a[-1] | a[1:] | a[:1] | a[..., ::2] | a[:, 0] | a[:, 1:] | a[[0, 0, 1]] | a[None] | a[:, None] | a[..., None, 0]
a[torch.tensor([True, False, True])] | a[torch.tensor(0) : torch.tensor(2)] | a[np.int64(1)] | a[np.array([1, 0, 1])]
a.reshape(-1) | a.view(-1) | a.flatten() | a.T | a.mT | a.unsqueeze(1) | a.squeeze() | a.expand(2, *a.shape)
a.expand_as(torch.empty(2, *a.shape)) | a.narrow(0, 0, 1) | a.select(0, 1) | a.unbind(0)[0] | a.chunk(2)[1]
a.split(1)[0] | a.diagonal() | a.unfold(0, 2, 1) | a.movedim(0, -1) | a.contiguous() | a.clone() | a.flip(0)
a.roll(1, 0) | a.repeat(2, 1) | a.broadcast_to(2, *a.shape) | a.tile(2) | a.to(torch.float64).to(a.dtype)
""".replace("\n", " | ")
FLAT = """
a.floor() | a.ceil() | a.round() | a.trunc() | a.sign() | a - a.floor() | a.detach() * a | a * 0 | a.detach().data + a
torch.heaviside(a, torch.ones_like(a)) | a.round() * a | (a > 0).to(a.dtype) * a | a.frac() | a - a.round()
""".replace("\n", " | ")
SMOOTH = """
a.tanh() | a.exp().tanh() | a.sigmoid() | a * 2 | 3 - a | a / 3 | 2 / (a * a + 1) | a % 2 | 3 % (a.abs() + 1) | a**2
a**3 | 2.0**a.tanh() | a + 0 | a * 1 | a - 0 | 0 + a | a * -1 | -a | a * np.float64(0.1) | np.float32(0.3) - a
a / np.float64(3) | a * 0.1 | a + 1 / 3 | a.relu() | a.abs() | a.sqrt().nan_to_num() | a.clamp(-0.5, 0.5) | F.silu(a)
a.masked_fill(a.data > 0, 0.5) | torch.where(a.data > 0, a, 0.1) | a.softmax(0) | a.log_softmax(-1) | a.cumsum(0)
a * torch.full((), 0.1, dtype=a.dtype) | a / torch.full((), 3.0, dtype=a.dtype)
""".replace("\n", " | ")
SUMS = """
a.sum() | a.sum(0) | a.sum(-1, keepdim=True) | a.mean(0) | a.mean() | a.max(0).values | a.amax(-1, keepdim=True)
a.var(0) | a.logsumexp(0) | a.norm() | a.prod(0) | a.max() | a.min(-1).values | a.sum(0, keepdim=True) | a.std()
""".replace("\n", " | ")
TWO = """
a + b | a - b | a * b | a / (b * b + 1) | torch.maximum(a, b) | torch.where(a.data > 0, a, b) | a @ b | a @ b.T
torch.cat([a, b]) | torch.cat([a, b, a]) | torch.stack([a, b]) | torch.stack([a, a.detach(), b]) | torch.outer(a, b)
a * b[0] | a + b.sum(0) | a - b.mean() | F.linear(a, b) | torch.lerp(a, b, 0.3) | torch.addcmul(a, a, b, value=0.5)
(a - a.floor()) * b | a[0] + (a * b) | torch.einsum("i...,i...->...", a, b) | a.where(b.data > 0, b)
""".replace("\n", " | ")
WRITE = """
c[0] = b | c[0] = 0.5 | c[1:] = b | c[..., 0] = b | c += b | c *= 2 | c[0] += b | c[1:] *= b | c.mul_(b) | c[[0, 1]] = b
c.add_(b, alpha=0.3) | c[:, 1] -= 0.1 | c.fill_(0.5) | c.clamp_(-1, 1) | c.masked_fill_(c.data > 0, 0.1) | c.zero_()
""".replace("\n", " | ")
KINDS = [[line.strip() for line in kind.split("|") if line.strip()] for kind in (READ, FLAT, SMOOTH, SUMS, TWO, WRITE)]
WEIGHTS = (6, 3, 4, 2, 5, 2)


class Case(NamedTuple):
    """A program, which of its tensors have names, and its outputs."""

    lines: tuple[str, ...]
    named: tuple[str, ...]
    outputs: tuple[str, ...]
    dtype: torch.dtype

    def __str__(self) -> str:
        return "\n".join([*self.lines, f"# {self.dtype}, outputs: {self.outputs}, named: {self.named}"])


def leaves(dtype: torch.dtype) -> dict[str, tapegrad.Tensor]:
    """What programs start from: ``m`` lies in memory by columns."""
    g = torch.Generator().manual_seed(1)
    data = {"x": torch.randn(3, 4, generator=g), "m": torch.randn(4, 3, generator=g).T}
    data |= {"w": torch.randn(4, generator=g), "s": torch.randn((), generator=g)}
    return {name: tapegrad.tensor(t.to(dtype), requires_grad=True) for name, t in data.items()}


def run(lines: Sequence[str], dtype: torch.dtype) -> dict[str, Any]:
    """The variables of a program."""
    scope: dict[str, Any] = {**leaves(dtype), "torch": torch, "np": np, "F": F}
    for line in lines:
        exec(line, scope)
    return {name: value for name, value in scope.items() if isinstance(value, tapegrad.Tensor)}


def draw(random: Random, length: int) -> Case:
    """A random program that runs."""
    dtype = random.choice(DTYPES)
    lines: list[str] = []
    scope: dict[str, Any] = {**leaves(dtype), "torch": torch, "np": np, "F": F}
    names = ["x", "m", "w", "s"]
    while len(lines) < length:
        (kind,) = random.choices(range(len(KINDS)), WEIGHTS)
        text = random.choice(KINDS[kind])
        a, b = random.choice(names[-6:]), random.choice(names)
        new = f"t{len(names)}"
        words = {"a": a, "b": b, "c": new}
        text = re.sub(r"(?<![\w.])[abc]\b", lambda word, words=words: words[word[0]], text)
        tried = [f"{new} = {a}.clone()", text] if kind == len(KINDS) - 1 else [f"{new} = {text}"]
        before = dict(scope)
        try:
            for line in tried:
                exec(line, scope)
        except (RuntimeError, IndexError, TypeError, ValueError, NotImplementedError):
            scope = before
            continue
        value = scope[new]
        fits = isinstance(value, tapegrad.Tensor) and value.requires_grad and 0 < value.data.numel() <= MOST
        if not fits or value.dtype != dtype or not value.data.isfinite().all():
            scope = before
            continue
        names.append(new)
        lines += tried
    outputs = tuple(dict.fromkeys([names[-1], *random.choices(names[4:], k=random.choice([0, 0, 1, 2]))]))
    outputs = tuple({scope[name].record: name for name in reversed(outputs) if scope[name].record}.values())
    if not outputs:  # of leaves alone
        return draw(random, length)
    named = tuple([name for name in names[4:] if random.random() < 0.4 or name in outputs])
    if random.random() < 0.6:
        lines.append("loss = " + " + ".join([f"{name}.sum()" for name in outputs]))
        named, outputs = (*named, "loss"), ("loss",)
    return Case(tuple(lines), named, outputs, dtype)


def disagreement(case: Case) -> str:
    """What is wrong with a program's sources; "" if nothing is."""
    values = run(case.lines, case.dtype)
    names = {name: values[name] for name in ("x", "m", "w", "s", *case.named) if name in values}
    nodes = [t.record or t for t in names.values()]
    names = {
        n: t for i, (n, t) in enumerate(names.items()) if not any((t.record or t) is node for node in nodes[:i])
    }  # x.contiguous() is x
    outputs = [values[name] for name in case.outputs]
    alone = len(outputs) == 1 and outputs[0].data.numel() == 1
    g = torch.Generator().manual_seed(2)
    v = [torch.ones_like(o.data) if alone else torch.randn(o.shape, generator=g).to(o.dtype) for o in outputs]
    wanted = tapegrad.grad(outputs, list(names.values()), v, retain_graph=True, allow_unused=True)
    tape = tapegrad.tape(*outputs, names=names)
    called = [next(n for n, t in names.items() if (t.record or t) is (o.record or o)) for o in outputs]
    cotangents = {} if alone else {f"d{name}": c for name, c in zip(called, v, strict=True)}
    for style in STYLES:
        for forward in (False, True):
            text = ""
            try:
                text = tape.source(names=names, style=style, forward=forward)
                given = tape.bindings(names=names, style=style, forward=forward)
                functions: dict[str, Any] = {}
                exec(compile(text, "<source>", "exec"), functions)
                if forward:
                    *computed, given = functions["forward"](**given)
                    for name, mine, out in zip(case.outputs, computed, outputs, strict=True):
                        if wrong := difference(mine, out.data, style):
                            return f"{style}: {name}: {wrong}\n{text}"
                got = functions["backward"](**given, **cotangents)
            except Exception as error:
                return f"{style}: {type(error).__name__}: {error}\n{text}"
            for name, theirs in zip(names, wanted, strict=True):
                if wrong := difference(got.get(name), theirs, style):
                    return f"{style}: the gradient of {name}: {wrong}\n{text}"
    return ""


def difference(mine: torch.Tensor | None, theirs: torch.Tensor | None, style: str) -> str:
    """How two tensors differ: bit by bit in style "exact", else by more than rounding; "" if they do not."""
    if mine is None or theirs is None:
        return "" if mine is theirs else f"{mine} is not {theirs}"
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return f"{tuple(mine.shape)} {mine.dtype} is not {tuple(theirs.shape)} {theirs.dtype}"
    if style == "exact":
        same = (mine == theirs) & (mine.signbit() == theirs.signbit()) | (mine.isnan() & theirs.isnan())
    else:
        step = torch.finfo(mine.dtype).eps
        scale = float(theirs.nan_to_num(0, 0, 0).abs().max())
        same = torch.isclose(mine, theirs, rtol=500 * step, atol=500 * step * max(1.0, scale), equal_nan=True)
    if same.all():
        return ""
    at = tuple((~same).nonzero()[0].tolist())
    return f"at {list(at)} {mine[at].item()!r} is not {theirs[at].item()!r}"


def shortest(case: Case) -> Case:
    """A program with as few lines and names as still disagree."""
    changed = True
    while changed:
        changed = False
        for smaller in _smaller(case):
            try:
                wrong = disagreement(smaller)
            except Exception:
                continue
            if wrong:
                case, changed = smaller, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    for i in range(len(case.lines) - 1, -1, -1):
        yield case._replace(lines=case.lines[:i] + case.lines[i + 1 :])
    for i, name in enumerate(case.named):
        if name not in case.outputs:
            yield case._replace(named=case.named[:i] + case.named[i + 1 :])
    if len(case.outputs) > 1:
        for i in range(len(case.outputs)):
            yield case._replace(outputs=case.outputs[:i] + case.outputs[i + 1 :])
    for line in case.lines:
        name = line.partition(" = ")[0]
        if name in case.outputs:
            break
        if name.isidentifier():
            yield case._replace(outputs=(name,), named=tuple(dict.fromkeys((*case.named, name))))


def main(count: int, seed: int = 0) -> int:
    """Run programs; print and count those that disagree."""
    torch.set_num_threads(1)
    failures = 0
    for k in range(seed, seed + count):
        case = draw(Random(k), Random(k).randint(2, 9))
        if disagreement(case):
            case = shortest(case)
            print(f"--- program {k}\n{case}\n{disagreement(case)}\n", flush=True)
            failures += 1
    print(f"{count} programs, {failures} disagree")
    return failures


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:] or ["1000"]))))
