"""The functions of nanoGPT's block, in float32 and in the layouts that they meet there: how many bits are torch's?

    python -m tests.provers.nanogpt          1,000 random inputs of each
    python -m tests.provers.nanogpt 50
    ATEN_CPU_CAPABILITY=avx2 python -m tests.provers.nanogpt

For each function: on how many inputs the value, and all gradients, equal torch's in every bit; and the largest
difference, relative to the largest element of its tensor.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

import tapegrad

HEADS = 4


def heads(x: Any) -> Any:
    """(B, T, C) as (B, heads, T, C / heads): a transposed view, as attention has it."""
    B, T, C = x.shape
    return x.view(B, T, HEADS, C // HEADS).transpose(1, 2)


def attention(x: Any) -> Any:
    """Causal attention of the three thirds of ``x``, by torch's fused function."""
    q, k, v = (heads(part) for part in x.split(x.shape[2] // 3, dim=2))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return y.transpose(1, 2).contiguous().view(x.shape[0], x.shape[1], -1)


def attention_by_hand(x: Any) -> Any:
    """The same, as nanoGPT writes it for older versions of torch."""
    q, k, v = (heads(part) for part in x.split(x.shape[2] // 3, dim=2))
    T = x.shape[1]
    att = (q @ k.transpose(-2, -1)) * (1.0 / (q.shape[-1]) ** 0.5)
    att = att.masked_fill(torch.tril(torch.ones(T, T)) == 0, float("-inf"))
    return (F.softmax(att, dim=-1) @ v).transpose(1, 2).contiguous().view(x.shape[0], T, -1)


# What runs, and the shapes of what it is given, from (B, T, C).
FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[[int, int, int], list[tuple[int, ...]]]]] = {
    "layer_norm": (lambda x, w, b: F.layer_norm(x, w.shape, w, b, 1e-5), lambda B, T, C: [(B, T, C), (C,), (C,)]),
    "linear": (F.linear, lambda B, T, C: [(B, T, C), (3 * C, C), (3 * C,)]),
    "attention": (attention, lambda B, T, C: [(B, T, 3 * C)]),
    "attention by hand": (attention_by_hand, lambda B, T, C: [(B, T, 3 * C)]),
    "softmax": (lambda x: F.softmax(x, -1), lambda B, T, C: [(B, HEADS, T, T)]),
    "gelu": (F.gelu, lambda B, T, C: [(B, T, 4 * C)]),
    "gelu, tanh": (lambda x: F.gelu(x, approximate="tanh"), lambda B, T, C: [(B, T, 4 * C)]),
    "embedding": (lambda w: F.embedding(torch.arange(24).view(2, 12) % len(w), w), lambda B, T, C: [(17, C)]),
    "cross_entropy": (
        lambda x: F.cross_entropy(x.view(-1, x.size(-1)), torch.arange(x.shape[0] * x.shape[1]) % x.shape[2]),
        lambda B, T, C: [(B, T, 65)],
    ),
}  # fmt: skip


@dataclass
class Found:
    """What came of a function's inputs.

    Attributes:
        inputs: how many were run.
        values: on how many of them the value has torch's bits.
        gradients: on how many all gradients have.
        elements: the share of gradient elements that have.
        difference: the largest, relative to the largest element of its tensor.
    """

    inputs: int = 0
    values: int = 0
    gradients: int = 0
    elements: float = 0.0
    difference: float = 0.0


def measure(name: str, inputs: int, dtype: torch.dtype = torch.float32) -> Found:
    """Run a function on random inputs, on both libraries."""
    function, shapes = FUNCTIONS[name]
    generator, found = torch.Generator().manual_seed(0), Found()
    same = total = 0
    for _ in range(inputs):
        B, T, C = (int(torch.randint(low, high, (), generator=generator)) for low, high in ((1, 5), (2, 33), (1, 17)))
        data = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes(B, T, C * HEADS)]
        mine = [tapegrad.tensor(t.clone(), requires_grad=True) for t in data]
        yours = [t.clone().requires_grad_() for t in data]
        a, b = function(*mine), function(*yours)
        g = torch.randn(b.shape, generator=generator, dtype=dtype)
        a.backward(g.clone())
        b.backward(g.clone())
        pairs = [(p.grad, q.grad) for p, q in zip(mine, yours, strict=True)]
        found.inputs += 1
        found.values += torch.equal(a.data, b.detach())
        found.gradients += all(torch.equal(p, q) for p, q in pairs)
        for p, q in [(a.data, b.detach()), *pairs]:
            found.difference = max(found.difference, float((p - q).abs().max() / q.abs().max().clamp(min=1e-30)))
        same += sum(int((p == q).sum()) for p, q in pairs)
        total += sum(p.numel() for p, _ in pairs)
    found.elements = same / total
    return found


def main() -> int:
    """The command line."""
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {inputs} inputs of each, float32")
    print(f"{'':18} {'value':>6} {'gradients':>10} {'elements':>9}  difference")
    for name in FUNCTIONS:
        f = measure(name, inputs)
        print(f"{name:18} {f.values:6} {f.gradients:10} {f.elements:9.2%}  {f.difference:.1e}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
