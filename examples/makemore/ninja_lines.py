"""What `ninja.ipynb` asks for: each gradient of the lecture's pass with a nudge and an answer, and the other exercises.

The answers are equal to the engine's gradients bit for bit.
"""

# Title -> (whose gradient, a nudge, an answer).
SECTIONS: dict[str, list[tuple[str, str, str]]] = {
    "The loss": [
        (
            "logprobs",
            "The loss is minus the mean of `n` of these numbers, one from each row. What is the slope at those, and "
            "what at all the others?",
            "dlogprobs = torch.zeros_like(logprobs)\ndlogprobs[range(n), Yb] = -1.0 / n",
        ),
        ("probs", "One number in, one number out: the chain rule and nothing else.", "dprobs = dlogprobs / probs"),
        (
            "counts_sum_inv",
            "It has one column, and `counts` has 27: it was copied along the row. What do the gradients of copies do?",
            "dcounts_sum_inv = (counts * dprobs).sum(1, keepdim=True)",
        ),
        ("counts_sum", "A power of minus one.", "dcounts_sum = -(counts_sum**-2) * dcounts_sum_inv"),
        (
            "counts",
            "It stands in two lines. One of them is a sum: each term of a sum gets all of the sum's gradient.",
            "dcounts = counts_sum_inv * dprobs\ndcounts = dcounts + dcounts_sum",
        ),
        ("norm_logits", "You have the derivative of `exp` already: look at the forward pass.",
         "dnorm_logits = counts * dcounts"),
        (
            "logit_maxes",
            "Copied along the row once more, and with a minus. Look at the numbers when you have them: why are they so "
            "small?",
            "dlogit_maxes = (-dnorm_logits).sum(1, keepdim=True)",
        ),
        (
            "logits",
            "Two lines use it. The maximum of a row is one of its numbers, and does not care about the others.",
            "dlogits = dnorm_logits.clone()\n"
            "dlogits = dlogits + F.one_hot(logits.max(1).indices, num_classes=vocab_size) * dlogit_maxes",
        ),
    ],
    "The second layer": [
        ("h", "Write down a product of two small matrices element by element, or try what fits the shapes.",
         "dh = dlogits @ W2.T"),
        ("W2", "The same product, seen from its other side.", "dW2 = h.T @ dlogits"),
        ("b2", "One row, added to every row.", "db2 = dlogits.sum(0)"),
        (
            "hpreact",
            "The derivative of `tanh` can be had from its output alone.",
            "# (1 - h**2) * dh, with 1 - h**2 rounded once: as torch does, and so with the same bits\n"
            "dhpreact = torch.addcmul(torch.ones(()), h, h, value=-1) * dh",
        ),
    ],
    "Batch norm": [
        ("bngain", "It has one row. Does your gradient?", "dbngain = (bnraw * dhpreact).sum(0, keepdim=True)"),
        ("bnbias", "Likewise.", "dbnbias = dhpreact.sum(0, keepdim=True)"),
        ("bnraw", "No sum this time: why?", "dbnraw = bngain * dhpreact"),
        ("bnvar_inv", "One row again.", "dbnvar_inv = (bndiff * dbnraw).sum(0, keepdim=True)"),
        ("bnvar", "The exponent comes down, and then goes down by one.",
         "dbnvar = (-0.5 * (bnvar + 1e-5) ** -1.5) * dbnvar_inv"),
        ("bndiff2", "A sum becomes a broadcast. The factor in front of it is not `1/n`.",
         "dbndiff2 = 1.0 / (n - 1) * torch.ones_like(bndiff2) * dbnvar"),
        ("bndiff", "It stands in two lines, and you came through one of them a while ago.",
         "dbndiff = bnvar_inv * dbnraw + 2 * bndiff * dbndiff2"),
        ("bnmeani", "A row that was subtracted from every row.", "dbnmeani = (-dbndiff).sum(0, keepdim=True)"),
        ("hprebn", "Two lines: it is what the mean is taken from, and what the mean is taken of.",
         "dhprebn = dbndiff + 1.0 / n * torch.ones_like(hprebn) * dbnmeani"),
    ],
    "The first layer and the letters": [
        ("embcat", "You know this one.", "dembcat = dhprebn @ W1.T"),
        ("W1", "And this one.", "dW1 = embcat.T @ dhprebn"),
        ("b1", "And this one. Look at the numbers: what is a bias worth in front of batch norm?",
         "db1 = dhprebn.sum(0)"),
        ("emb", "Nothing was computed, only looked at in another shape.", "demb = dembcat.view(emb.shape)"),
        (
            "C",
            "A letter that comes up ten times has sent its row to ten places. Begin with zeros, and bring home what "
            "each place has.",
            "dC = torch.zeros_like(C)\n"
            "for k in range(Xb.shape[0]):\n"
            "    for j in range(Xb.shape[1]):\n"
            "        dC[Xb[k, j]] += demb[k, j]",
        ),
    ],
}  # fmt: skip

CROSS_ENTROPY = """
dlogits = F.softmax(logits, 1)
dlogits[range(n), Yb] -= 1
dlogits /= n
"""

BATCH_NORM = """
dhprebn = bngain * bnvar_inv * (
    dhpreact - dhpreact.mean(0, keepdim=True) - bnraw * (dhpreact * bnraw).sum(0, keepdim=True) / (n - 1)
)
"""

TRAINING_FORWARD = """
def forward(parameters, Xb, Yb):
    C, W1, b1, W2, b2, bngain, bnbias = parameters
    embcat = C[Xb].flatten(1)
    hprebn = embcat @ W1 + b1
    bnmean = hprebn.mean(0, keepdim=True)
    bnvar_inv = (hprebn.var(0, keepdim=True) + 1e-5) ** -0.5
    bnraw = (hprebn - bnmean) * bnvar_inv
    hpreact = bngain * bnraw + bnbias
    h = torch.tanh(hpreact)
    logits = h @ W2 + b2
    loss = F.cross_entropy(logits, Yb)
    return locals()
"""

_HEAD = """
def gradients(v):
    C, W1, W2, bngain = v["C"], v["W1"], v["W2"], v["bngain"]
    Xb, Yb, embcat, bnraw, bnvar_inv, h, logits = (
        v[name] for name in ("Xb", "Yb", "embcat", "bnraw", "bnvar_inv", "h", "logits")
    )
    n = len(Yb)
"""

GRADIENTS = (
    _HEAD
    + """
    dlogits = F.softmax(logits, 1)
    dlogits[range(n), Yb] -= 1
    dlogits /= n

    dW2 = h.T @ dlogits
    db2 = dlogits.sum(0)
    dhpreact = (1 - h**2) * (dlogits @ W2.T)

    dbnbias = dhpreact.sum(0, keepdim=True)
    dbngain = (dhpreact * bnraw).sum(0, keepdim=True)
    dhprebn = bngain * bnvar_inv * (dhpreact - dbnbias / n - bnraw * dbngain / (n - 1))

    dW1 = embcat.T @ dhprebn
    db1 = dhprebn.sum(0)
    demb = (dhprebn @ W1.T).view(-1, n_embd)
    dC = torch.zeros_like(C).index_add(0, Xb.flatten(), demb)
    return dC, dW1, db1, dW2, db2, dbngain, dbnbias
"""
)

GRADIENTS_BLANK = (
    _HEAD
    + """
    dW2 = ...
    db2 = ...
    dbngain = ...
    dbnbias = ...
    dW1 = ...
    db1 = ...
    dC = ...
    return dC, dW1, db1, dW2, db2, dbngain, dbnbias
"""
)

TRAINING = """
steps, g = 20_000, torch.Generator().manual_seed(2147483647)
C, W1, b1, W2, b2, bngain, bnbias = parameters = init(n_hidden=100)  # torch's own tensors: nobody differentiates now
if any(answer is ... for answer in answers.values()):
    print("There are blanks in gradients() yet, so that nothing is trained: fill them in, and run this cell again.")
    steps = 0
for i in range(steps):
    ix = torch.randint(0, len(Xtr), (n,), generator=g)
    v = forward(parameters, Xtr[ix], Ytr[ix])
    lr = 0.1 if i < steps / 2 else 0.01
    for p, grad in zip(parameters, gradients(v), strict=True):
        p -= lr * grad
    if i % 2000 == 0:
        print(f"{i:7,}  {v['loss'].item():.4f}")
"""
