"""The work that is timed: what there is to compute, in as many styles of writing as contestants need.

Every contestant is given a work of its own, freshly made from the same seed, so no two share a buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch

from benchmarks import gpt, straight
from examples.makemore import manual
from examples.makemore.model import draw_batch, forward, init_parameters, training_forward

Step = Callable[[], tuple[Any, Sequence[Any]]]  # computes once; returns the loss and the parameters' gradients
SYMBOLS = 27  # the alphabet and the dot
CHAIN = 100_000
FACTOR = 1.00001


@dataclass
class Work:
    """One thing to compute: a loss, and its gradient with respect to each parameter.

    Attributes:
        name: what it is called on the command line and in tables.
        rounds: how many timing samples make a sound median.
        parameters: raw torch tensors, each contestant's own.
        batch: gives the inputs of a step.
        torch: the loss from parameters and inputs, in torch's words; it runs on whatever answers to them.
        array: the same in numpy's words; the first argument is the module that speaks them.
        hand: loss and gradients, by a backward pass derived by hand; None where nobody has.
        kernels: loss and gradients, by the kernels that an eager tape calls, in a straight line.
        unrolls: whether a compiler would have to take a loop of 100,000 turns apart.
        exact: whether tapegrad promises torch's very bits.
        tolerance: what others may be off by, as a part of the largest element of all gradients.
        draws: whether every step takes a new batch; otherwise all take the same.
        rate: the learning rate of the update that ends a step, or 0 for no update.
    """

    name: str
    rounds: int
    parameters: list[torch.Tensor]
    batch: Callable[[], tuple[torch.Tensor, ...]]
    torch: Callable[..., Any]
    array: Callable[..., Any]
    hand: Callable[..., Any] | None = None
    kernels: Callable[..., Any] | None = None
    unrolls: bool = False
    exact: bool = True
    tolerance: float = 1e-4
    draws: bool = False
    rate: float = 0.0


# --- the lecture's network ---


def lecture(parameters: Sequence[Any], Xb: torch.Tensor, Yb: torch.Tensor) -> Any:
    """The loss of the decomposed pass, as the lecture writes it."""
    return forward(parameters, Xb, Yb).loss


def trained(parameters: Sequence[Any], Xb: torch.Tensor, Yb: torch.Tensor) -> Any:
    """The loss of the short pass that the lecture trains with, of torch's fused functions."""
    return training_forward(parameters, Xb, Yb).loss


def by_hand(parameters: Sequence[torch.Tensor], Xb: torch.Tensor, Yb: torch.Tensor) -> tuple[Any, Sequence[Any]]:
    """Exercise 4: the training pass and its derived backward pass."""
    v = training_forward(parameters, Xb, Yb)
    return v.loss, manual.gradients(v)


def lecture_array(np: Any, parameters: Sequence[Any], Xb: Any, Yb: Any) -> Any:
    """The decomposed pass in numpy's words."""
    C, W1, b1, W2, b2, bngain, bnbias = parameters
    n = Xb.shape[0]
    emb = C[Xb]
    embcat = emb.reshape(n, -1)
    hprebn = embcat @ W1 + b1
    bnmeani = 1 / n * np.sum(hprebn, axis=0, keepdims=True)
    bndiff = hprebn - bnmeani
    bndiff2 = bndiff**2
    bnvar = 1 / (n - 1) * np.sum(bndiff2, axis=0, keepdims=True)
    bnvar_inv = (bnvar + 1e-5) ** -0.5
    bnraw = bndiff * bnvar_inv
    hpreact = bngain * bnraw + bnbias
    h = np.tanh(hpreact)
    logits = h @ W2 + b2
    norm_logits = logits - np.max(logits, axis=1, keepdims=True)
    counts = np.exp(norm_logits)
    counts_sum_inv = np.sum(counts, axis=1, keepdims=True) ** -1
    probs = counts * counts_sum_inv
    logprobs = np.log(probs)
    return -np.mean(logprobs[numpy.arange(n), Yb])


def _random_examples(count: int, g: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Contexts of three characters and the character that follows each; any will do, so no names are read."""
    return torch.randint(SYMBOLS, (count, 3), generator=g), torch.randint(SYMBOLS, (count,), generator=g)


def makemore(batch: int, hidden: int, rounds: int) -> Work:
    """Forward and backward of the decomposed pass, all seven parameter gradients."""
    g = torch.Generator().manual_seed(1)
    parameters = init_parameters(SYMBOLS, hidden, g, torch.float32)
    inputs = _random_examples(batch, g)
    name = f"makemore-{batch}x{hidden}"
    return Work(name, rounds, parameters, lambda: inputs, lecture, lecture_array, by_hand, straight.lecture)


def training(batch: int, hidden: int, rounds: int, program: Callable[..., Any] = lecture, short: str = "") -> Work:
    """A step of training: draw a batch, forward, backward, update."""
    g = torch.Generator().manual_seed(1)
    parameters = init_parameters(SYMBOLS, hidden, g, torch.float32)
    examples = _random_examples(10_000, g)
    draw = lambda: draw_batch(examples, batch, g)
    name = f"training-{batch}x{hidden}{short}"
    return Work(name, rounds, parameters, draw, program, lecture_array, by_hand, exact=False, draws=True, rate=0.01)


# --- one op, many times: nothing but overhead ---


def _chain(parameters: Sequence[Any]) -> Any:
    (y,) = parameters
    for _ in range(CHAIN):
        y = y * FACTOR
    return y


def _chain_kernels(parameters: Sequence[torch.Tensor]) -> tuple[Any, Sequence[Any]]:
    y = _chain(parameters)
    g = torch.ones_like(y)
    for _ in range(CHAIN):
        g = g * FACTOR
    return y, [g]


def chain(rounds: int) -> Work:
    """100,000 multiplications of a number by a number."""
    array = lambda np, parameters: _chain(parameters)
    start = [torch.ones(())]
    # MyGrad computes in double precision, and 100,000 roundings add up.
    return Work("chain", rounds, start, tuple, _chain, array, None, _chain_kernels, unrolls=True, tolerance=1e-2)


# --- a small transformer ---


def transformer(rounds: int) -> Work:
    """A language model of two blocks: forward and backward."""
    g = torch.Generator().manual_seed(1)
    text = torch.randint(SYMBOLS, (gpt.BATCH, gpt.TIME + 1), generator=g)
    inputs = (text[:, :-1].contiguous(), text[:, 1:].contiguous())
    return Work("gpt", rounds, gpt.parameters(SYMBOLS, g), lambda: inputs, gpt.loss, gpt.array_loss, exact=False)


WORKS: dict[str, Callable[[], Work]] = {
    "makemore-32x64": lambda: makemore(32, 64, 40),
    "makemore-32x200": lambda: makemore(32, 200, 40),
    "makemore-256x512": lambda: makemore(256, 512, 30),
    "makemore-2048x1024": lambda: makemore(2048, 1024, 15),
    "training-32x200": lambda: training(32, 200, 40),
    "training-32x200-short": lambda: training(32, 200, 40, trained, "-short"),
    "chain": lambda: chain(7),
    "gpt": lambda: transformer(30),
}
