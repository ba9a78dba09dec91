"""The floor of an eager tape: the lecture's step as its kernels alone, called one after another.

No wrapper, no record and no walk; the calls, their order and their rounding are those of tapegrad's rules, so the
gradients are equal bit for bit, and what tapegrad takes longer than this is what tapegrad itself costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch


@cache
def _numbers(n: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """The numbers of the pass as tensors, which torch would otherwise make at each call."""
    values = (1, 1 / n, 1 / (n - 1), 1e-5, -0.5, -1, n)
    return tuple([torch.tensor(float(v), dtype=torch.float64).to(dtype) for v in values])


def lecture(
    parameters: Sequence[torch.Tensor], Xb: torch.Tensor, Yb: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The loss of the decomposed pass and the seven gradients."""
    C, W1, b1, W2, b2, bngain, bnbias = parameters
    n = Xb.shape[0]
    one, over_n, over_n_less_1, epsilon, minus_half, minus_one, count = _numbers(n, C.dtype)
    emb = C[Xb]
    embcat = emb.view(n, -1)
    hprebn = embcat @ W1 + b1
    bnmeani = over_n * hprebn.sum(0, keepdim=True)
    bndiff = hprebn - bnmeani
    bndiff2 = bndiff**2
    bnvar = over_n_less_1 * bndiff2.sum(0, keepdim=True)
    bnvar_eps = bnvar + epsilon
    bnvar_inv = bnvar_eps**-0.5
    bnraw = bndiff * bnvar_inv
    hpreact = bngain * bnraw + bnbias
    h = torch.tanh(hpreact)
    logits = h @ W2 + b2
    logit_maxes, indices = logits.max(1, keepdim=True)
    norm_logits = logits - logit_maxes
    counts = norm_logits.exp()
    counts_sum = counts.sum(1, keepdim=True)
    counts_sum_inv = counts_sum**-1
    probs = counts * counts_sum_inv
    logprobs = probs.log()
    rows = torch.arange(n)
    loss = -logprobs[rows, Yb].mean()

    dpicked = (-one).expand(n) / count
    dlogprobs = logprobs.new_zeros(*logprobs.shape).index_put_((rows, Yb), dpicked, accumulate=True)
    dprobs = dlogprobs / probs
    dcounts_sum_inv = (dprobs * counts).sum(1, True)
    dcounts_sum = dcounts_sum_inv * (counts_sum**-2).mul_(minus_one)
    dcounts = dprobs * counts_sum_inv + dcounts_sum.expand(counts.shape)
    dnorm_logits = dcounts * counts
    dlogit_maxes = (-dnorm_logits).sum(1, True)
    dlogits = dnorm_logits + logits.new_zeros(*logits.shape).scatter_(1, indices, dlogit_maxes)
    db2 = dlogits.sum(0)
    dh = torch.mm(dlogits, W2.mT)
    dW2 = torch.mm(h.mT, dlogits)
    dhpreact = torch.addcmul(one, h, h, value=-1).mul_(dh)
    dbnbias = dhpreact.sum(0, True)
    dbngain = (dhpreact * bnraw).sum(0, True)
    dbnraw = dhpreact * bngain
    dbnvar_inv = (dbnraw * bndiff).sum(0, True)
    dbnvar = dbnvar_inv * (bnvar_eps**-1.5).mul_(minus_half)
    dbndiff2 = (dbnvar * over_n_less_1).expand(bndiff2.shape)
    dbndiff = dbnraw * bnvar_inv + dbndiff2 * (bndiff + bndiff)
    dbnmeani = (-dbndiff).sum(0, True)
    dhprebn = dbndiff + (dbnmeani * over_n).expand(hprebn.shape)
    db1 = dhprebn.sum(0)
    demb = torch.mm(dhprebn, W1.mT).view(emb.shape)
    dW1 = torch.mm(embcat.mT, dhprebn)
    dC = C.new_zeros(*C.shape).index_put_((Xb,), demb, accumulate=True)
    return loss, [dC, dW1, db1, dW2, db2, dbngain, dbnbias]
