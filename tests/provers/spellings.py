"""Gradients that people derive by hand, in the many spellings that PyTorch has, and whether the closed form is found.

    python -m tests.provers.spellings [SEED]

A family is a forward pass in steps, ``exp``, ``sum``, ``over`` and so on; each of these can be said in several ways.
A cell is one choice of them, with the shape that it is tried on: each way once with the others as they stand first,
and some choices at random. A closed form is found if it costs no more passes than the first cell of the family on
the same shape, and it has to be true: the program that is written gives the engine's gradient.
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

import tapegrad

LONGEST = 2.0  # seconds of processor time that a derivation may take
RANDOM = 12  # choices at random for each family and shape
Way = Callable[..., Any]

WAYS: dict[str, dict[str, Way]] = {
    "exp": {"x.exp()": lambda x: x.exp(), "torch.exp(x)": torch.exp},
    "log": {"x.log()": lambda x: x.log(), "torch.log(x)": torch.log},
    "sqrt": {
        "x.sqrt()": lambda x: x.sqrt(),
        "torch.sqrt(x)": torch.sqrt,
        "x**0.5": lambda x: x**0.5,
        "x.pow(0.5)": lambda x: x.pow(0.5),
    },
    "square": {
        "x**2": lambda x: x**2,
        "x * x": lambda x: x * x,
        "x.square()": lambda x: x.square(),
        "x.pow(2)": lambda x: x.pow(2),
        "torch.pow(x, 2)": lambda x: torch.pow(x, 2),
    },
    "over": {
        "a / s": lambda a, s: a / s,
        "a * s**-1": lambda a, s: a * s**-1,
        "a * (1 / s)": lambda a, s: a * (1 / s),
        "a * s.reciprocal()": lambda a, s: a * s.reciprocal(),
        "torch.div(a, s)": torch.div,
        "s**-1 * a": lambda a, s: s**-1 * a,
    },
    "total": {
        "x.sum(-1, keepdim=True)": lambda x: x.sum(-1, keepdim=True),
        "x.sum(dim=-1, keepdims=True)": lambda x: x.sum(dim=-1, keepdims=True),
        "x.sum(last, keepdim=True)": lambda x: x.sum(x.ndim - 1, keepdim=True),
        "x.sum(-1).unsqueeze(-1)": lambda x: x.sum(-1).unsqueeze(-1),
        "x.sum(dim=-1)[..., None]": lambda x: x.sum(dim=-1)[..., None],
        "torch.sum(x, dim=-1, keepdim=True)": lambda x: torch.sum(x, dim=-1, keepdim=True),
        "x.sum((-1,), keepdim=True)": lambda x: x.sum((-1,), keepdim=True),
    },
    "mean": {
        "x.mean(-1, keepdim=True)": lambda x: x.mean(-1, keepdim=True),
        "x.sum(-1, keepdim=True) / n": lambda x: x.sum(-1, keepdim=True) / x.shape[-1],
        "1 / n * x.sum(-1, keepdim=True)": lambda x: 1 / x.shape[-1] * x.sum(-1, keepdim=True),
        "x.mean(-1).unsqueeze(-1)": lambda x: x.mean(-1).unsqueeze(-1),
        "x.mean(dim=-1)[..., None]": lambda x: x.mean(dim=-1)[..., None],
        "torch.mean(x, -1, keepdim=True)": lambda x: torch.mean(x, -1, keepdim=True),
        "x.sum(-1)[..., None] * n**-1": lambda x: x.sum(-1)[..., None] * x.shape[-1] ** -1,
    },
    "shifted": {
        "x - x.max(-1, keepdim=True).values": lambda x: x - x.max(-1, keepdim=True).values,
        "x": lambda x: x,
        "x - x.amax(-1, keepdim=True)": lambda x: x - x.amax(-1, keepdim=True),
        "x - x.max(dim=-1).values.unsqueeze(-1)": lambda x: x - x.max(dim=-1).values.unsqueeze(-1),
        "x - torch.max(x, -1, keepdim=True)[0]": lambda x: x - torch.max(x, -1, keepdim=True)[0],
        "x - x.detach().max(-1, keepdim=True).values": lambda x: x - x.detach().max(-1, keepdim=True).values,
        "x - x.max()": lambda x: x - x.max(),
    },
    "pick": {
        "p.gather(-1, y.unsqueeze(-1))": lambda p, y: p.gather(-1, y.unsqueeze(-1)).squeeze(-1),
        "p[range(n), y]": lambda p, y: p[(*torch.meshgrid(*map(torch.arange, y.shape), indexing="ij"), y)],
        "(p * onehot).sum(-1)": lambda p, y: (p * F.one_hot(y, p.shape[-1])).sum(-1),
        "(onehot.float() * p).sum(-1)": lambda p, y: (F.one_hot(y, p.shape[-1]).to(p.dtype) * p).sum(-1),
        "torch.gather(p, -1, y[..., None])": lambda p, y: torch.gather(p, -1, y[..., None])[..., 0],
        "take_along_dim": lambda p, y: torch.take_along_dim(p, y[..., None], -1),
    },
    "average": {
        "x.mean()": lambda x: x.mean(),
        "x.sum() / n": lambda x: x.sum() / x.numel(),
        "torch.mean(x)": torch.mean,
        "1 / n * x.sum()": lambda x: 1 / x.numel() * x.sum(),
    },
    "softmax": {
        "F.softmax(x, dim=-1)": lambda x: F.softmax(x, dim=-1),
        "x.softmax(-1)": lambda x: x.softmax(-1),
        "torch.softmax(x, dim=-1)": lambda x: torch.softmax(x, dim=-1),
        "x.log_softmax(-1).exp()": lambda x: x.log_softmax(-1).exp(),
        "nn.Softmax(-1)(x)": lambda x: torch.nn.Softmax(-1)(x),
        "exp(x - logsumexp)": lambda x: (x - x.logsumexp(-1, keepdim=True)).exp(),
    },
    "log_softmax": {
        "F.log_softmax(x, -1)": lambda x: F.log_softmax(x, -1),
        "x - logsumexp": lambda x: x - x.logsumexp(-1, keepdim=True),
        "x.softmax(-1).log()": lambda x: x.softmax(-1).log(),
        "x - x.exp().sum().log()": lambda x: x - x.exp().sum(-1, keepdim=True).log(),
        "torch.log_softmax(x, dim=-1)": lambda x: torch.log_softmax(x, dim=-1),
        "nn.LogSoftmax(-1)(x)": lambda x: torch.nn.LogSoftmax(-1)(x),
    },
    "cross_entropy": {
        "F.cross_entropy(x, y)": lambda x, y: F.cross_entropy(flat(x), y.reshape(-1)),
        "nn.CrossEntropyLoss()(x, y)": lambda x, y: torch.nn.CrossEntropyLoss()(flat(x), y.reshape(-1)),
        "F.nll_loss(F.log_softmax(x))": lambda x, y: F.nll_loss(F.log_softmax(flat(x), 1), y.reshape(-1)),
        "sum / n": lambda x, y: F.cross_entropy(flat(x), y.reshape(-1), reduction="sum") / y.numel(),
        "none, mean": lambda x, y: F.cross_entropy(flat(x), y.reshape(-1), reduction="none").mean(),
        "onehot targets": lambda x, y: F.cross_entropy(flat(x), F.one_hot(y.reshape(-1), x.shape[-1]).to(x.dtype)),
    },
    "sigmoid": {
        "torch.sigmoid(x)": torch.sigmoid,
        "x.sigmoid()": lambda x: x.sigmoid(),
        "1 / (1 + exp(-x))": lambda x: 1 / (1 + torch.exp(-x)),
        "(1 + exp(-x))**-1": lambda x: (1 + (-x).exp()) ** -1,
        "e / (1 + e)": lambda x: x.exp() / (1 + x.exp()),
        "F.sigmoid(x)": torch.nn.functional.sigmoid,
        "0.5 * (1 + tanh(x / 2))": lambda x: 0.5 * (1 + torch.tanh(x / 2)),
        "1 / (exp(-x) + 1).": lambda x: (torch.exp(-x) + 1.0).reciprocal(),
    },
    "bce": {
        "t log p + (1 - t) log(1 - p)": lambda p, t: -(t * p.log() + (1 - t) * (1 - p).log()).mean(),
        "- - ": lambda p, t: (-t * torch.log(p) - (1 - t) * torch.log(1 - p)).mean(),
        "(t - 1)": lambda p, t: ((t - 1) * (1 - p).log() - t * p.log()).mean(),
        "F.binary_cross_entropy(p, t)": lambda p, t: F.binary_cross_entropy(p, t),
        "sum / n": lambda p, t: -(t * p.log() + (1 - t) * torch.log(1 - p)).sum() / t.numel(),
    },
    "tanh": {
        "(e - 1) / (e + 1), e = exp(2 x)": lambda x: _ratio((2 * x).exp()),
        "(exp(x) - exp(-x)) / (exp(x) + exp(-x))": lambda x: (
            (torch.exp(x) - torch.exp(-x)) / (torch.exp(x) + torch.exp(-x))
        ),
        "1 - 2 / (exp(2 x) + 1)": lambda x: 1 - 2 / ((2 * x).exp() + 1),
        "(1 - e) / (1 + e), e = exp(-2 x)": lambda x: (1 - (-2 * x).exp()) / (1 + (-2 * x).exp()),
        "2 sigmoid(2 x) - 1": lambda x: 2 * torch.sigmoid(2 * x) - 1,
        "torch.tanh(x)": torch.tanh,
        "sinh / cosh": lambda x: x.sinh() / x.cosh(),
    },
    "variance": {
        "((x - x.mean())**2).sum() / (n - 1)": lambda x: (
            ((x - x.mean(-1, keepdim=True)) ** 2).sum(-1) / (x.shape[-1] - 1)
        ),
        "x.var(-1)": lambda x: x.var(-1),
        "torch.var(x, -1)": lambda x: torch.var(x, -1),
        "x.var(-1, unbiased=True)": lambda x: x.var(-1, unbiased=True),
        "x.std(-1)**2": lambda x: x.std(-1) ** 2,
        "mean of squares": lambda x: (
            ((x**2).mean(-1) - x.mean(-1) ** 2) * x.shape[-1] / (x.shape[-1] - 1)
        ),
        "torch.var_mean(x)": lambda x: torch.var_mean(x, -1)[0],
    },
    "spread": {
        "((x - m)**2).mean()": lambda x, d: (d**2).mean(-1, keepdim=True),
        "x.var(correction=0)": lambda x, d: x.var(-1, correction=0, keepdim=True),
        "x.var(unbiased=False)": lambda x, d: x.var(-1, unbiased=False, keepdim=True),
        "(d * d).sum() / n": lambda x, d: (d * d).sum(-1, keepdim=True) / x.shape[-1],
        "d.square().mean().unsqueeze": lambda x, d: d.square().mean(-1).unsqueeze(-1),
        "x.std(correction=0)**2": lambda x, d: x.std(-1, correction=0, keepdim=True) ** 2,
    },
    "normed": {
        "d * (v + eps)**-0.5": lambda d, v: d * (v + 1e-5) ** -0.5,
        "d / (v + eps).sqrt()": lambda d, v: d / (v + 1e-5).sqrt(),
        "d / torch.sqrt(v + eps)": lambda d, v: d / torch.sqrt(v + 1e-5),
        "d * torch.rsqrt(v + eps)": lambda d, v: d * torch.rsqrt(v + 1e-5),
        "d * (1 / (v + eps)**0.5)": lambda d, v: d * (1 / (v + 1e-5) ** 0.5),
        "d * (eps + v).sqrt()**-1": lambda d, v: d * (1e-5 + v).sqrt() ** -1,
    },
    "norm": {
        "(x**2).sum().sqrt()": lambda x: (x**2).sum(-1, keepdim=True).sqrt(),
        "x.norm()": lambda x: x.norm(dim=-1, keepdim=True),
        "torch.linalg.vector_norm": lambda x: torch.linalg.vector_norm(x, dim=-1, keepdim=True),
        "x.norm(p=2).unsqueeze": lambda x: x.norm(p=2, dim=-1).unsqueeze(-1),
        "(x * x).sum()**0.5": lambda x: (x * x).sum(-1, keepdim=True) ** 0.5,
        "x.square().sum().sqrt()[..., None]": lambda x: x.square().sum(-1).sqrt()[..., None],
    },
    "logsumexp": {
        "m + log(sum(exp(x - m)))": lambda x: _logsumexp(x),
        "log(sum(exp(x)))": lambda x: x.exp().sum(-1).log(),
        "x.logsumexp(-1)": lambda x: x.logsumexp(-1),
        "torch.logsumexp(x, dim=-1)": lambda x: torch.logsumexp(x, dim=-1),
        "amax": lambda x: (x - x.amax(-1, keepdim=True)).exp().sum(-1).log() + x.amax(-1),
    },
    "squared_error": {
        "((x - t)**2).mean()": lambda x, t: ((x - t) ** 2).mean(),
        "F.mse_loss(x, t)": F.mse_loss,
        "nn.MSELoss()(x, t)": lambda x, t: torch.nn.MSELoss()(x, t),
        "(x - t).square().mean()": lambda x, t: (x - t).square().mean(),
        "((t - x) * (t - x)).sum() / n": lambda x, t: ((t - x) * (t - x)).sum() / x.numel(),
        "(x - t).pow(2).mean()": lambda x, t: (x - t).pow(2).mean(),
        "x x - 2 x t + t t": lambda x, t: (x * x - 2 * x * t + t * t).mean(),
    },
}  # fmt: skip


def flat(x: Any) -> Any:
    """Rows: nothing to do if there are no others."""
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])


def _ratio(e: Any) -> Any:
    return (e - 1) / (e + 1)


def _logsumexp(x: Any) -> Any:
    m = x.max(-1, keepdim=True).values
    return (x - m).exp().sum(-1).log() + m.squeeze(-1)


SHAPES = ((5, 7), (32, 27), (2, 3, 6))


@dataclass(frozen=True)
class Family:
    """A gradient in many spellings.

    Attributes:
        title: what it is called.
        forward: lines, in the words of ``WAYS``; ``x`` is the parameter, ``y`` integers and ``t`` targets from 0 to 1.
        loss: what is differentiated.
        shapes: what it is tried on.
    """

    title: str
    forward: str
    loss: str
    shapes: tuple[tuple[int, ...], ...] = SHAPES

    @property
    def words(self) -> list[str]:
        """The words whose ways are tried."""
        return [word for word in WAYS if f"{word}(" in self.forward.replace("log_softmax(", "log_softmax (")] + (
            ["log_softmax"] if "log_softmax(" in self.forward else []
        )


FAMILIES = (
    Family("softmax", "z = shifted(x)\ne = exp(z)\ns = total(e)\nout = over(e, s)", "out"),
    Family("softmax, inline", "e = exp(shifted(x))\nout = over(e, total(e))", "out"),
    Family("softmax, as one op", "out = softmax(x)", "out"),
    Family("log-softmax", "z = shifted(x)\ncounts = exp(z)\ns = total(counts)\nout = z - log(s)", "out"),
    Family("log-softmax, as one op", "out = log_softmax(x)", "out"),
    Family(
        "cross entropy with a mean",
        "z = shifted(x)\ne = exp(z)\ns = total(e)\np = over(e, s)\nl = log(p)\nloss = -average(pick(l, y))",
        "loss",
    ),
    Family("cross entropy, of log_softmax", "l = log_softmax(x)\nloss = -average(pick(l, y))", "loss"),
    Family("cross entropy, of softmax", "p = softmax(x)\nloss = -average(log(pick(p, y)))", "loss"),
    Family("cross entropy with a sum", "e = exp(shifted(x))\np = over(e, total(e))\nloss = -log(pick(p, y)).sum()", "loss"),
    Family("cross entropy, as one op", "loss = cross_entropy(x, y)", "loss"),
    Family("sigmoid with binary cross entropy", "p = sigmoid(x)\nloss = bce(p, t)", "loss"),
    Family("sigmoid", "out = sigmoid(x)", "out"),
    Family("tanh", "out = tanh(x)", "out"),
    Family("layer norm", "m = mean(x)\nd = x - m\nv = spread(x, d)\nout = normed(d, v)", "out"),
    Family("rms norm", "ms = mean(square(x))\nout = normed(x, ms)", "out"),
    Family("l2 normalisation", "n = norm(x)\nout = over(x, n)", "out"),
    Family("logsumexp", "out = logsumexp(x)", "out"),
    Family("mean squared error", "loss = squared_error(x, t)", "loss"),
    Family("variance", "out = variance(x)", "out"),
    Family(
        "attention's softmax",
        "q = x * 0.5\ne = exp(shifted(q @ k))\natt = over(e, total(e))\nout = att @ v",
        "out",
        shapes=((5, 7), (2, 3, 6)),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A family in one spelling, on one shape.

    Attributes:
        family: which.
        shape: of ``x``.
        choice: word -> the way that it is said.
    """

    family: Family
    shape: tuple[int, ...]
    choice: tuple[tuple[str, str], ...]

    def variables(self) -> dict[str, Any]:
        """The variables of the forward pass."""
        generator = torch.Generator().manual_seed(5)
        *rows, n = self.shape
        scope: dict[str, Any] = {word: WAYS[word][way] for word, way in self.choice}
        scope["x"] = tapegrad.tensor(torch.randn(self.shape, generator=generator), requires_grad=True)
        scope["y"] = torch.randint(n, rows, generator=generator)
        scope["t"] = torch.rand(self.shape, generator=generator)
        scope["k"], scope["v"] = torch.randn(n, 4, generator=generator), torch.randn(4, n, generator=generator)
        scope["q"] = None
        exec(self.family.forward, scope)
        return {name: v for name, v in scope.items() if isinstance(v, (torch.Tensor, tapegrad.Tensor))}

    @property
    def words(self) -> str:
        """Where the choice differs from the first."""
        said = [f"{way}" for word, way in self.choice if way != next(iter(WAYS[word]))]
        return f"{self.shape}: {'; '.join(said) or 'as it stands'}"


def cells(family: Family, rng: random.Random) -> Iterator[Cell]:
    """Each way once, and some choices at random."""
    first = {word: next(iter(WAYS[word])) for word in family.words}
    for shape in family.shapes:
        yield Cell(family, shape, tuple(first.items()))
        for word in family.words:
            for way in list(WAYS[word])[1:]:
                yield Cell(family, shape, tuple({**first, word: way}.items()))
        for _ in range(RANDOM if len(family.words) > 1 else 0):
            yield Cell(family, shape, tuple((word, rng.choice(list(WAYS[word]))) for word in family.words))


@dataclass(frozen=True)
class Found:
    """What was found of a cell."""

    formula: str
    passes: float
    seconds: float


def derived(cell: Cell) -> Found:
    """Derive a cell's gradient and hold it to the engine's; an AssertionError if it is not true."""
    variables = cell.variables()
    loss, x = variables[cell.family.loss], variables["x"]
    began = time.process_time()
    found = tapegrad.derive(loss, "x", names=variables)
    seconds = time.process_time() - began
    assert found.check(), f"a line does not hold:\n{found}"
    space: dict[str, Any] = {}
    exec(found.source(), space)
    bindings = found.bindings()
    g = None
    given = variables.get(found.given, loss)
    if loss.shape.numel() != 1:
        g = torch.randn(given.shape, generator=torch.Generator().manual_seed(6))
        name = f"d{found.given}"
        bindings |= {name: g} if re.search(rf"def gradient\(.*\b{name}\b", found.source()) else {}
    (theirs,) = tapegrad.grad(loss if g is None else given, [x], g, retain_graph=True)
    ours = space["gradient"](**bindings)
    assert ours.shape == theirs.shape, f"{tuple(ours.shape)}, not {tuple(theirs.shape)}"
    torch.testing.assert_close(ours, theirs.data, rtol=1e-4, atol=1e-5)
    return Found(found.formula, found.passes[1], seconds)


def main(seed: int) -> int:
    """Print every family, the cells that have no closed form as short as the first, and how many there are."""
    rng = random.Random(seed)
    torch.set_num_threads(1)
    missed = count = wrong = slow = 0
    for family in FAMILIES:
        lines, base = [], {}
        for cell in cells(family, rng):
            count += 1
            try:
                found = derived(cell)
            except Exception as error:
                wrong += 1
                lines.append(f"  WRONG {cell.words}: {type(error).__name__}: {error}")
                continue
            allowed = base.setdefault(cell.shape, found.passes)
            slow += found.seconds > LONGEST
            if found.seconds > LONGEST:
                lines.append(f"  slow  {cell.words}: {found.seconds:.1f} s")
            if found.passes > allowed + 1e-9:
                missed += 1
                lines.append(f"  {found.passes:5.1f} for {allowed:.1f}  {cell.words}: {found.formula}")
        print(f"{family.title}", *lines, sep="\n", flush=True)
    print(f"{count} cells: {count - missed - wrong} found, {missed} longer, {wrong} wrong, {slow} slow")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
