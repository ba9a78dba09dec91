"""Exercises 1 to 3: the gradients of the pass on tapegrad, next to torch.autograd's.

`tapegrad.compare` runs the recorded lines once more on torch leaves, so no line stands here twice. Exercises 2 and 3
replace many steps by one; their gradients are also held against those of the many steps.
"""

import torch
import torch.nn.functional as F

import tapegrad
from examples.makemore.model import Tensor, draw_batch, forward, init_parameters
from examples.makemore.names import Data

ROWS = (
    *("logprobs", "probs", "counts_sum_inv", "counts_sum", "counts", "norm_logits", "logit_maxes", "logits"),
    *("h", "W2", "b2", "hpreact", "bngain", "bnbias", "bnraw", "bnvar_inv", "bnvar", "bndiff2", "bndiff", "bnmeani"),
    *("hprebn", "embcat", "W1", "b1", "emb", "C"),
)
TOLERANCE = 1e-8  # what one step may differ by from torch running the same step ...
FEW = 32  # ... unless the batch has fewer rows: batch norm then divides by deviations near zero, in torch as here


def lecture_pass(data: Data, n_hidden: int, batch: int, seed: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Runs exercise 1's forward pass on tapegrad and returns its variables by name."""
    g = torch.Generator().manual_seed(seed)
    start = init_parameters(data.vocab_size, n_hidden, g, dtype)
    parameters = [tapegrad.tensor(p.to(data.train[0].device), requires_grad=True) for p in start]
    return vars(forward(parameters, *draw_batch(data.train, batch, g)))


def compare_pass(data: Data, n_hidden: int, batch: int, seed: int, dtype: torch.dtype) -> bool:
    """Prints the tables of the three exercises; returns whether every row is as good as promised."""
    v = lecture_pass(data, n_hidden, batch, seed, dtype)
    rows = {name: v[name] for name in ROWS}
    print(f"Exercise 1: the whole pass, {len(rows)} gradients ({n_hidden} hidden, batch {batch}, {dtype})")
    table = tapegrad.compare(v["loss"], names=rows)
    print(table)
    for t in rows.values():
        t.retain_grad()
    v["loss"].backward()

    bound = TOLERANCE if batch >= FEW else float("inf")

    print("\nExercise 2: cross entropy as one step")
    logits = leaf(v["logits"])
    good = one_step(F.cross_entropy(logits, v["Yb"]), "logits", logits, bound, v["logits"].grad)

    print("\nExercise 3: batch norm as one line")
    x, bngain, bnbias = leaf(v["hprebn"]), v["bngain"], v["bnbias"]
    var = x.var(0, keepdim=True, unbiased=True)
    hpreact = bngain * (x - x.mean(0, keepdim=True)) / torch.sqrt(var + 1e-5) + bnbias
    good &= one_step(rest_of_pass(hpreact, v), "hprebn", x, bound, v["hprebn"].grad)

    print("\nExercise 3: batch norm as one step, F.batch_norm (which divides by n, not n-1)")
    x = leaf(v["hprebn"])
    hpreact = F.batch_norm(x, None, None, bngain.view(-1), bnbias.view(-1), training=True)
    good &= one_step(rest_of_pass(hpreact, v), "hprebn", x, bound)

    exact = sum(row.exact for row in table)
    print(f"\nThe rows of exercises 2 and 3 are held to maxdiff <= {bound:g}; of exercise 1,")
    print(f"{exact} of {len(rows)} rows exact")
    return good and exact == len(rows)


def leaf(t: Tensor) -> Tensor:
    """The same values, where a new tape begins."""
    return tapegrad.tensor(t.data, requires_grad=True)


def rest_of_pass(hpreact: Tensor, v: dict[str, Tensor]) -> Tensor:
    """From the hidden pre-activation (n, hidden) to the loss."""
    return F.cross_entropy(torch.tanh(hpreact) @ v["W2"] + v["b2"], v["Yb"])


def one_step(loss: Tensor, name: str, t: Tensor, bound: float, many_steps: torch.Tensor | None = None) -> bool:
    """Prints the row of `t` and how far its gradient lies from the many steps'; returns whether it is in bounds."""
    table = tapegrad.compare(loss, names={name: t})
    print(table)
    if many_steps is not None:
        loss.backward()
        print(f"the many steps of exercise 1 give the same to within {(t.grad - many_steps).abs().max().item():.1e}")
    return all(row.maxdiff <= bound for row in table)
