"""The cases of docs/derivations.md: forward passes that people differentiate by hand, and what they find.

A case is forward code with ``parameter(*shape)`` for its inputs; tests run them, and variations of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

import tapegrad


@dataclass(frozen=True)
class Case:
    """A gradient to derive.

    Attributes:
        title: what it is called.
        forward: the code.
        loss: the variable that is differentiated.
        of: the variable whose gradient is asked for.
        formula: what is found.
        start: the variable whose gradient is given, if it is not to be chosen.
    """

    title: str
    forward: str
    loss: str
    of: str
    formula: str
    start: str | None = None

    def run(self, generator: torch.Generator) -> dict[str, Any]:
        """The variables of the forward pass."""

        def parameter(*shape: int) -> tapegrad.Tensor:
            return tapegrad.tensor(torch.randn(shape, generator=generator), requires_grad=True)

        scope = {"parameter": parameter, "torch": torch, "F": F, "tapegrad": tapegrad}
        exec(self.forward, scope)
        return {name: v for name, v in scope.items() if isinstance(v, (torch.Tensor, tapegrad.Tensor))}

    def derive(self, variables: dict[str, Any]) -> tapegrad.Derivation:
        """What the engine finds."""
        return tapegrad.derive(variables[self.loss], self.of, self.start, variables)


BATCH_NORM = """\
n = 32
x = parameter(n, 6) @ parameter(6, 8)
b = parameter(8)
gain = parameter(1, 8)
bias = parameter(1, 8)
hprebn = x + b
bnmean = 1/n*hprebn.sum(0, keepdim=True)
bndiff = hprebn - bnmean
bndiff2 = bndiff**2
bnvar = 1/(n-1)*(bndiff2).sum(0, keepdim=True)
bnvar_inv = (bnvar + 1e-5)**-0.5
bnraw = bndiff * bnvar_inv
hpreact = gain * bnraw + bias
"""
CASES = (
    Case("Cross entropy, in the lecture's steps (exercise 2)", """\
logits = parameter(32, 27)
Yb = torch.arange(32) % 27
logit_maxes = logits.max(1, keepdim=True).values
norm_logits = logits - logit_maxes
counts = norm_logits.exp()
counts_sum = counts.sum(1, keepdims=True)
counts_sum_inv = counts_sum**-1
probs = counts * counts_sum_inv
logprobs = probs.log()
loss = -logprobs[range(32), Yb].mean()
""", "loss", "logits", "(probs - onehot(Yb)) / 32"),
    Case("Batch norm, in the lecture's steps (exercise 3)", BATCH_NORM, "hpreact", "hprebn",
         "gain * bnvar_inv * (dhpreact - dhpreact.mean(0) - (dhpreact * bnraw).sum(0) / 31 * bnraw)"),
    Case("A bias before batch norm", BATCH_NORM, "hpreact", "b", "0"),
    Case("Softmax", """\
x = parameter(5, 7)
m = x.max(1, keepdim=True).values
e = (x - m).exp()
y = e / e.sum(1, keepdim=True)
""", "y", "x", "(dy - (dy * y).sum(1, keepdim=True)) * y"),
    Case("Log-softmax", """\
x = parameter(5, 7)
z = x - x.max(1, keepdim=True).values
counts = z.exp()
total = counts.sum(1, keepdim=True)
y = z - total.log()
""", "y", "x", "dy - dy.sum(1, keepdim=True) / total * counts"),
    Case("Cross entropy with a sum", """\
x = parameter(5, 7)
target = torch.tensor([1, 0, 3, 3, 6])
e = x.exp()
p = e / e.sum(1, keepdim=True)
loss = -p.log()[range(5), target].sum()
""", "loss", "x", "p - onehot(target)"),
    Case("Cross entropy, as one op", """\
x = parameter(5, 7)
target = torch.tensor([1, 0, 3, 3, 6])
loss = F.cross_entropy(x, target)
""", "loss", "x", "(F.softmax(x, dim=1) - onehot(target)) / 5"),
    Case("Sigmoid by an exponential, with binary cross entropy", """\
x = parameter(6)
t = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 0.3])
p = 1 / (1 + (-x).exp())
loss = -(t * p.log() + (1 - t) * (1 - p).log()).mean()
""", "loss", "x", "(p - t) / 6"),
    Case("Sigmoid as an op, with binary cross entropy", """\
x = parameter(6)
t = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 0.3])
p = torch.sigmoid(x)
loss = -(t * p.log() + (1 - t) * (1 - p).log()).mean()
""", "loss", "x", "(p - t) / 6"),
    Case("tanh by one exponential", """\
x = parameter(6)
e = (2 * x).exp()
y = (e - 1) / (e + 1)
""", "y", "x", "(1 - y**2) * dy"),
    Case("tanh by two exponentials", """\
x = parameter(6)
a = x.exp()
b = (-x).exp()
y = (a - b) / (a + b)
""", "y", "x", "(1 - y**2) * dy"),
    Case("Layer norm", """\
x = parameter(2, 3, 8)
mean = x.mean(-1, keepdim=True)
diff = x - mean
var = (diff**2).mean(-1, keepdim=True)
rstd = (var + 1e-5)**-0.5
y = diff * rstd
""", "y", "x", "rstd * (dy - dy.mean(2, keepdim=True) - (dy * y).mean(2, keepdim=True) * y)"),
    Case("RMS norm", """\
x = parameter(4, 8)
ms = (x**2).mean(-1, keepdim=True)
r = (ms + 1e-6).rsqrt()
y = x * r
""", "y", "x", "r * (dy - (dy * y).mean(1, keepdim=True) * y)"),
    Case("L2 normalisation", """\
x = parameter(4, 8)
norm = (x**2).sum(1, keepdim=True).sqrt()
y = x / norm
""", "y", "x", "(dy - (dy * y).sum(1, keepdim=True) * y) / norm"),
    Case("logsumexp", """\
x = parameter(4, 8)
m = x.max(1, keepdim=True).values
e = (x - m).exp()
s = e.sum(1, keepdim=True)
y = s.log() + m
""", "y", "x", "dy / s * e"),
    Case("Mean squared error", """\
x = parameter(4, 8)
t = torch.linspace(-1, 1, 32).view(4, 8)
loss = ((x - t)**2).mean()
""", "loss", "x", "(x - t) / 16"),
    Case("Variance", """\
x = parameter(6, 8)
mean = x.mean(0)
diff = x - mean
v = (diff**2).sum(0) / 5
""", "v", "x", "2 * dv / 5 * diff"),
    Case("Attention's softmax", """\
q = parameter(2, 4, 8)
k = parameter(2, 4, 8)
v = parameter(2, 4, 8)
scores = q @ k.transpose(-2, -1) * 8**-0.5
e = (scores - scores.max(-1, keepdim=True).values).exp()
att = e / e.sum(-1, keepdim=True)
y = att @ v
""", "y", "scores", "(datt - (datt * att).sum(2, keepdim=True)) * att"),
)  # fmt: skip
