"""The lecture's network: its parameters, and its forward pass in the two forms the lecture gives it.

Nothing here knows which engine runs it. Give `forward` torch tensors that require grad and torch.autograd follows
it; wrap the same parameters in `tapegrad.tensor` and tapegrad does. The lines between `fmt: off` and `fmt: on` are the
lecture's own.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F

from examples.makemore.names import BLOCK_SIZE, Examples

Tensor: TypeAlias = Any  # a torch.Tensor or a tapegrad.Tensor
PARAMETERS = ("C", "W1", "b1", "W2", "b2", "bngain", "bnbias")
N_EMBD = 10  # the dimensionality of the character embedding vectors


def init_parameters(vocab_size: int, n_hidden: int, generator: torch.Generator, dtype: torch.dtype) -> list[Tensor]:
    """Draws the seven parameters, in the lecture's order and scale.

    C (vocab, 10), W1 (30, hidden), b1 (hidden,), W2 (hidden, vocab), b2 (vocab,), bngain and bnbias (1, hidden). The
    biases are not zero and the gains not one, because such values could hide a wrong gradient.
    """

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    fan_in = N_EMBD * BLOCK_SIZE
    return [
        randn(vocab_size, N_EMBD),
        randn(fan_in, n_hidden) * (5 / 3) / fan_in**0.5,
        randn(n_hidden) * 0.1,
        randn(n_hidden, vocab_size) * 0.1,
        randn(vocab_size) * 0.1,
        randn(1, n_hidden) * 0.1 + 1.0,
        randn(1, n_hidden) * 0.1,
    ]


def draw_batch(examples: Examples, batch: int, generator: torch.Generator) -> Examples:
    """Draws a minibatch, with replacement."""
    X, Y = examples
    ix = torch.randint(0, X.shape[0], (batch,), generator=generator).to(X.device)
    return X[ix], Y[ix]


def forward(parameters: Sequence[Tensor], Xb: torch.Tensor, Yb: torch.Tensor) -> SimpleNamespace:
    """Exercise 1: the pass in steps small enough to go back through one at a time.

    Returns every variable of the pass by its name; `.loss` is the scalar to call `backward()` on.
    """
    # fmt: off
    C, W1, b1, W2, b2, bngain, bnbias = parameters
    n = Xb.shape[0]
    emb = C[Xb]  # embed the characters into vectors (n, 3, 10)
    embcat = emb.view(emb.shape[0], -1)  # concatenate the vectors (n, 30)
    # Linear layer 1
    hprebn = embcat @ W1 + b1  # hidden layer pre-activation (n, hidden)
    # BatchNorm layer
    bnmeani = 1/n*hprebn.sum(0, keepdim=True)  # (1, hidden)
    bndiff = hprebn - bnmeani
    bndiff2 = bndiff**2
    bnvar = 1/(n-1)*(bndiff2).sum(0, keepdim=True)  # note: Bessel's correction (dividing by n-1, not n)
    bnvar_inv = (bnvar + 1e-5)**-0.5
    bnraw = bndiff * bnvar_inv
    hpreact = bngain * bnraw + bnbias
    # Non-linearity
    h = torch.tanh(hpreact)  # hidden layer (n, hidden)
    # Linear layer 2
    logits = h @ W2 + b2  # output layer (n, vocab)
    # cross entropy loss (same as F.cross_entropy(logits, Yb))
    logit_maxes = logits.max(1, keepdim=True).values  # (n, 1)
    norm_logits = logits - logit_maxes  # subtract max for numerical stability
    counts = norm_logits.exp()
    counts_sum = counts.sum(1, keepdims=True)
    counts_sum_inv = counts_sum**-1
    probs = counts * counts_sum_inv
    logprobs = probs.log()
    loss = -logprobs[range(n), Yb].mean()
    # fmt: on
    return SimpleNamespace(**locals())


def training_forward(parameters: Sequence[Tensor], Xb: torch.Tensor, Yb: torch.Tensor) -> SimpleNamespace:
    """Exercise 4: the same pass in fewer steps, as it is trained. Returns every variable by its name."""
    # fmt: off
    C, W1, b1, W2, b2, bngain, bnbias = parameters
    emb = C[Xb]  # embed the characters into vectors
    embcat = emb.view(emb.shape[0], -1)  # concatenate the vectors
    # Linear layer
    hprebn = embcat @ W1 + b1  # hidden layer pre-activation
    # BatchNorm layer
    bnmean = hprebn.mean(0, keepdim=True)
    bnvar = hprebn.var(0, keepdim=True, unbiased=True)
    bnvar_inv = (bnvar + 1e-5)**-0.5
    bnraw = (hprebn - bnmean) * bnvar_inv
    hpreact = bngain * bnraw + bnbias
    # Non-linearity
    h = torch.tanh(hpreact)  # hidden layer
    logits = h @ W2 + b2  # output layer
    loss = F.cross_entropy(logits, Yb)  # loss function
    # fmt: on
    return SimpleNamespace(**locals())


def before_batch_norm(parameters: Sequence[torch.Tensor], X: torch.Tensor) -> torch.Tensor:
    """The first layer alone: contexts (N, 3) to `hprebn` (N, hidden)."""
    C, W1, b1, *_ = parameters
    return C[X].flatten(1) @ W1 + b1


def predict(
    parameters: Sequence[torch.Tensor], bnmean: torch.Tensor, bnvar: torch.Tensor, X: torch.Tensor
) -> torch.Tensor:
    """The trained network: contexts (N, 3) to logits (N, vocab), with batch norm's mean and variance given."""
    *_, W2, b2, bngain, bnbias = parameters
    bnraw = (before_batch_norm(parameters, X) - bnmean) * (bnvar + 1e-5) ** -0.5
    return torch.tanh(bngain * bnraw + bnbias) @ W2 + b2
