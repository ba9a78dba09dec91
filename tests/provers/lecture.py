"""The lecture's cells, as text, and the variables they need."""

from __future__ import annotations

import torch
import torch.nn.functional as F

import tapegrad

VOCAB, BLOCK, EMBEDDING, BATCH = 27, 3, 10, 32

# The forward pass of the lecture, chunked into smaller steps that can be differentiated one at a time.
FORWARD = """
emb = C[Xb] # embed the characters into vectors
embcat = emb.view(emb.shape[0], -1) # concatenate the vectors
# Linear layer 1
hprebn = embcat @ W1 + b1 # hidden layer pre-activation
# BatchNorm layer
bnmeani = 1/n*hprebn.sum(0, keepdim=True)
bndiff = hprebn - bnmeani
bndiff2 = bndiff**2
bnvar = 1/(n-1)*(bndiff2).sum(0, keepdim=True) # note: Bessel's correction (dividing by n-1, not n)
bnvar_inv = (bnvar + 1e-5)**-0.5
bnraw = bndiff * bnvar_inv
hpreact = bngain * bnraw + bnbias
# Non-linearity
h = torch.tanh(hpreact) # hidden layer
# Linear layer 2
logits = h @ W2 + b2 # output layer
# cross entropy loss (same as F.cross_entropy(logits, Yb))
logit_maxes = logits.max(1, keepdim=True).values
norm_logits = logits - logit_maxes # subtract max for numerical stability
counts = norm_logits.exp()
counts_sum = counts.sum(1, keepdims=True)
counts_sum_inv = counts_sum**-1 # if I use (1.0 / counts_sum) instead then I can't get backprop to be bit exact...
probs = counts * counts_sum_inv
logprobs = probs.log()
loss = -logprobs[range(n), Yb].mean()
"""

# The same with torch's own spelling of a view and of keepdim, as another notebook writes them.
FORWARD_AGAIN = (
    FORWARD.replace("emb.view(emb.shape[0], -1)", "emb.view(-1, block_size * n_embd)")
    .replace("1/n*hprebn", "1/n * hprebn")
    .replace("keepdims=True", "keepdim=True")
)

BACKWARD = """
for p in parameters:
  p.grad = None
for t in [logprobs, probs, counts, counts_sum, counts_sum_inv, # afaik there is no cleaner way
          norm_logits, logit_maxes, logits, h, hpreact, bnraw,
         bnvar_inv, bnvar, bndiff2, bndiff, hprebn, bnmeani,
         embcat, emb]:
  t.retain_grad()
loss.backward()
"""

ROWS = """logprobs probs counts_sum_inv counts_sum counts norm_logits logit_maxes logits h W2 b2 hpreact bngain bnbias
    bnraw bnvar_inv bnvar bndiff2 bndiff bnmeani hprebn embcat W1 b1 emb C""".split()

# Exercise 1, every gradient by hand.
MANUAL = """
dlogprobs = torch.zeros_like(logprobs)
dlogprobs[range(n), Yb] = -1.0/n
dprobs = (1.0 / probs) * dlogprobs
dcounts_sum_inv = (counts * dprobs).sum(1, keepdim=True)
dcounts_sum = (-counts_sum**-2) * dcounts_sum_inv
dcounts = counts_sum_inv * dprobs
dcounts += torch.ones_like(counts) * dcounts_sum
dnorm_logits = counts * dcounts
dlogits = dnorm_logits.clone()
dlogit_maxes = (-dnorm_logits).sum(1, keepdim=True)
dlogits += F.one_hot(logits.max(1).indices, num_classes=logits.shape[1]) * dlogit_maxes
dh = dlogits @ W2.T
dW2 = h.T @ dlogits
db2 = dlogits.sum(0)
dhpreact = (1.0 - h**2) * dh
dbngain = (bnraw * dhpreact).sum(0, keepdim=True)
dbnbias = dhpreact.sum(0, keepdim=True)
dbnraw = bngain * dhpreact
dbnvar_inv = (bndiff * dbnraw).sum(0, keepdim=True)
dbndiff = bnvar_inv * dbnraw
dbnvar = (-0.5 * (bnvar + 1e-5)**-1.5) * dbnvar_inv
dbndiff2 = (1.0/(n-1)) * torch.ones_like(bndiff2) * dbnvar
dbndiff += (2 * bndiff) * dbndiff2
dbnmeani = (-dbndiff).sum(0, keepdim=True)
dhprebn = dbndiff.clone()
dhprebn += (1.0/n) * (torch.ones_like(hprebn) * dbnmeani)
dembcat = dhprebn @ W1.T
dW1 = embcat.T @ dhprebn
db1 = dhprebn.sum(0)
demb = dembcat.view(emb.shape[0], emb.shape[1], emb.shape[2])
"""

MANUAL_EMBEDDING = """
dC = torch.zeros_like(C)
for k in range(Xb.shape[0]):
    for j in range(Xb.shape[1]):
        ix = Xb[k,j]
        dC[ix] += demb[k,j]
"""

# Exercise 4: the network as it is trained.
TRAINING_FORWARD = """
emb = C[Xb] # embed the characters into vectors
embcat = emb.view(emb.shape[0], -1) # concatenate the vectors
# Linear layer
hprebn = embcat @ W1 + b1 # hidden layer pre-activation
# BatchNorm layer
# -------------------------------------------------------------
bnmean = hprebn.mean(0, keepdim=True)
bnvar = hprebn.var(0, keepdim=True, unbiased=True)
bnvar_inv = (bnvar + 1e-5)**-0.5
bnraw = (hprebn - bnmean) * bnvar_inv
hpreact = bngain * bnraw + bnbias
# -------------------------------------------------------------
# Non-linearity
h = torch.tanh(hpreact) # hidden layer
logits = h @ W2 + b2 # output layer
loss = F.cross_entropy(logits, Yb) # loss function
"""

MANUAL_TRAINING = """
#Logits backprop
dlogits = F.softmax(logits, 1)
dlogits[range(n), Yb] -= 1
dlogits /= n

#Second layer backprop
dh = dlogits @ torch.transpose(W2, 0, 1)
dW2 = torch.transpose(h, 0, 1) @ dlogits
db2 = dlogits.sum(0)

#Tanh
dhpreact = (1.0 - h**2) * dh

#Batchnorm backprop
dbngain = (dhpreact * bnraw).sum(0, keepdim=True)
dbnbias = dhpreact.sum(0, keepdims=True)
dhprebn = bngain*bnvar_inv/n * (n*dhpreact - dhpreact.sum(0) - n/(n-1) * bnraw * (bnraw*dhpreact).sum(0))

#First layer backprop
dembcat = dhprebn @ W1.T
dW1 = embcat.T @ dhprebn
db1 = dhprebn.sum(0)

#Embedding
demb = dembcat.view(emb.shape)
dC = torch.zeros_like(C)
for k in range(Xb.shape[0]):
  for j in range(Xb.shape[1]):
      ix = Xb[k,j]
      dC[ix] += demb[k,j]

#Assemble grads
grads = [dC, dW1, db1, dW2, db2, dbngain, dbnbias]
"""


def scope(wrap, hidden: int, dtype: torch.dtype = torch.float32) -> dict:
    """The lecture's variables before the forward pass, with each parameter wrapped."""
    g = torch.Generator().manual_seed(2147483647)
    C = torch.randn((VOCAB, EMBEDDING), generator=g)
    W1 = torch.randn((EMBEDDING * BLOCK, hidden), generator=g) * (5 / 3) / ((EMBEDDING * BLOCK) ** 0.5)
    b1 = torch.randn(hidden, generator=g) * 0.1
    W2 = torch.randn((hidden, VOCAB), generator=g) * 0.1
    b2 = torch.randn(VOCAB, generator=g) * 0.1
    bngain = torch.randn((1, hidden), generator=g) * 0.1 + 1.0
    bnbias = torch.randn((1, hidden), generator=g) * 0.1
    names = {"C": C, "W1": W1, "b1": b1, "W2": W2, "b2": b2, "bngain": bngain, "bnbias": bnbias}
    names = {name: wrap(value.to(dtype)) for name, value in names.items()}
    parameters = list(names.values())
    for p in parameters:
        p.requires_grad = True
    Xtr = torch.randint(0, VOCAB, (500, BLOCK), generator=g)
    Ytr = Xtr[:, -1]  # something to learn
    return names | {
        "parameters": parameters, "Xtr": Xtr, "Ytr": Ytr, "Xb": Xtr[:BATCH], "Yb": Ytr[:BATCH], "n": BATCH, "g": g,
        "block_size": BLOCK, "n_embd": EMBEDDING, "torch": torch, "F": F,
    }  # fmt: skip


def both(hidden: int, dtype: torch.dtype = torch.float32) -> tuple[dict, dict]:
    return scope(tapegrad.tensor, hidden, dtype), scope(lambda t: t, hidden, dtype)


def train(variables: dict, steps: int, gradients: str, update: str) -> list[float]:
    losses = []
    for i in range(steps):
        variables["i"] = i
        exec(
            "ix = torch.randint(0, Xtr.shape[0], (n,), generator=g)\nXb, Yb = Xtr[ix], Ytr[ix]\n"
            + TRAINING_FORWARD
            + "for p in parameters:\n  p.grad = None\n"
            + gradients
            + "lr = 0.1 if i < 10 else 0.01 # step learning rate decay\n"
            + update,
            variables,
        )
        losses.append(variables["loss"].log10().item())
    return losses
