"""The makemore lecture's forward pass, drawn. ``python docs/images/makemore.py`` makes ``makemore.svg`` again."""

from pathlib import Path

import torch

import tapegrad
from tapegrad import viz


def picture() -> viz.Picture:
    """The lecture's pass, line by line. The picture shows no values, so any will do."""
    n = 32
    shapes = (27, 10), (30, 64), (64,), (64, 27), (27,), (1, 64), (1, 64)
    C, W1, b1, W2, b2, bngain, bnbias = [tapegrad.tensor(torch.rand(shape), requires_grad=True) for shape in shapes]
    Xb, Yb = torch.randint(27, (n, 3)), torch.randint(27, (n,))

    emb = C[Xb]
    embcat = emb.view(emb.shape[0], -1)
    hprebn = embcat @ W1 + b1
    bnmeani = 1 / n * hprebn.sum(0, keepdim=True)
    bndiff = hprebn - bnmeani
    bndiff2 = bndiff**2
    bnvar = 1 / (n - 1) * (bndiff2).sum(0, keepdim=True)
    bnvar_inv = (bnvar + 1e-5) ** -0.5
    bnraw = bndiff * bnvar_inv
    hpreact = bngain * bnraw + bnbias
    h = torch.tanh(hpreact)
    logits = h @ W2 + b2
    logit_maxes = logits.max(1, keepdim=True).values
    norm_logits = logits - logit_maxes
    counts = norm_logits.exp()
    counts_sum = counts.sum(1, keepdims=True)
    counts_sum_inv = counts_sum**-1
    probs = counts * counts_sum_inv
    logprobs = probs.log()
    loss = -logprobs[range(n), Yb].mean()
    return viz.draw(loss)


if __name__ == "__main__":
    print(viz.render(picture(), Path(__file__).with_suffix(".svg")))
