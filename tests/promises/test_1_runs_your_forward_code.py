"""Promise 1: it runs your forward code. The lecture's cells and torch's modules, as written, on wrapped parameters.

Each function, method and spelling has samples: tests/provers/samples and tests/torch_api/test_spellings.py.
"""

from __future__ import annotations

import copy

import pytest
import torch

import tapegrad
from tests.helpers import assert_same, ours, raw
from tests.provers.lecture import BACKWARD, FORWARD, MANUAL, MANUAL_EMBEDDING, ROWS, both, scope, train
from tests.provers.networks import cnn_loss, cnn_parameters

pytestmark = pytest.mark.usefixtures("road")


def test_a_model_learns():
    """A few steps of the convolutional net on one batch, by hand."""
    torch.manual_seed(0)
    p = {name: tapegrad.tensor(value.float(), requires_grad=True) for name, value in cnn_parameters().items()}
    losses = []
    for _ in range(10):
        torch.manual_seed(1)
        loss = cnn_loss(p)
        for t in p.values():
            t.grad = None
        loss.backward()
        for t in p.values():
            t.data -= 0.3 * t.grad
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


def lent(module: torch.nn.Module) -> list[tapegrad.Tensor]:
    """Tensors in the place of a module's parameters."""
    tensors = []
    for layer in module.modules():
        for name, p in list(layer.named_parameters(recurse=False)):
            delattr(layer, name)
            setattr(layer, name, tapegrad.tensor(p.detach(), requires_grad=True))
            tensors.append(getattr(layer, name))
    return tensors


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_modules_and_optimizers(optimizer):
    """Bit for bit as with parameters of torch's."""
    twin = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    net = copy.deepcopy(twin)
    parameters = lent(net)
    opt = optimizer([p.data for p in parameters], lr=0.1)
    torch_opt = optimizer(twin.parameters(), lr=0.1)
    X, Y = torch.randn(16, 3), torch.randn(16, 2)
    loss_of = torch.nn.MSELoss()
    for _ in range(3):
        loss, torch_loss = loss_of(net(X), Y), loss_of(twin(X), Y)
        loss.backward()
        torch_loss.backward()
        for p in parameters:
            p.data.grad = p.grad
        for each in (opt, torch_opt):
            each.step()
            each.zero_grad()
        for p in parameters:
            p.grad = None
        assert loss.item() == torch_loss.item()
    for p, q in zip(parameters, twin.parameters(), strict=True):
        assert torch.equal(p.data, q)
    assert not [*net.parameters()]


def test_modules_take_tensors():
    layer = torch.nn.Linear(3, 2)
    x = ours(torch.randn(4, 3))
    layer(x).sum().backward()
    assert torch.equal(layer.bias.grad, torch.full((2,), 4.0))
    x.grad = None
    layer.requires_grad_(False)(x).sum().backward()
    assert torch.equal(x.grad, layer.weight.sum(0).expand(4, 3))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: torch.func.grad(torch.sum)(x),
        lambda x: torch.func.vmap(torch.exp)(x),
        lambda x: torch.func.jvp(torch.exp, (x,), (x,)),
        lambda x: torch.func.functional_call(torch.nn.Linear(3, 2, bias=False), {"weight": x}, torch.ones(3)),
        lambda x: torch.autograd.functional.jacobian(torch.exp, x),
        lambda x: torch.optim.SGD([x]),
        lambda x: setattr(torch.nn.Linear(3, 2), "weight", x),
        lambda x: torch.nn.Parameter(x),
    ],
)
def test_what_takes_no_tensor_of_ours(call):
    """It is refused, by torch; never taken for something else."""
    with pytest.raises((TypeError, ValueError, RuntimeError, AttributeError)):
        call(ours(torch.randn(2, 3)))


@pytest.mark.parametrize("hidden", [64, 200])
def test_compare_prints_the_lectures_table(hidden):
    variables = scope(tapegrad.tensor, hidden)
    exec(FORWARD, variables)
    rows = tapegrad.compare(variables["loss"], names={row: variables[row] for row in ROWS})
    assert rows.exact
    assert [row.name for row in rows] == ROWS
    assert str(rows).splitlines()[0] == "logprobs        | exact: True  | approximate: True  | maxdiff: 0.0"


def test_the_gradients_by_hand_run_on_wrapped_parameters():
    """The lecture's manual lines mix Tensors and torch tensors freely, and give the same numbers as on torch alone."""
    mine, yours = both(64)
    for variables in (mine, yours):
        exec(FORWARD + BACKWARD, variables)
        with torch.no_grad():
            exec(MANUAL + MANUAL_EMBEDDING, variables)
    for row in ROWS:
        assert_same(raw(mine[f"d{row}"]), raw(yours[f"d{row}"]), f"d{row} by hand")
        close = torch.allclose(raw(mine[f"d{row}"]), mine[row].grad.view(mine[f"d{row}"].shape), atol=1e-7)
        assert close, f"d{row} by hand, against the tape"


def test_the_gradients_by_hand_run_outside_no_grad():
    """As the notebook has it: nothing there is a leaf that requires grad, so the in-place lines are allowed."""
    mine, yours = both(64)
    for variables in (mine, yours):
        exec(FORWARD + BACKWARD + MANUAL + MANUAL_EMBEDDING, variables)
    for row in ROWS:
        assert_same(raw(mine[f"d{row}"]), raw(yours[f"d{row}"]), f"d{row} by hand")


def test_in_place_updates_under_no_grad():
    """``p -= lr * p.grad`` is another way to write the update."""
    mine, yours = both(64)
    update = "with torch.no_grad():\n  for p in parameters:\n    p -= lr * p.grad\n"
    losses = [train(variables, 5, "loss.backward()\n", update) for variables in (mine, yours)]
    assert losses[0] == losses[1]


EVALUATE = """
with torch.no_grad():
  # pass the training set through
  emb = C[Xtr]
  embcat = emb.view(emb.shape[0], -1)
  hpreact = embcat @ W1 + b1
  # measure the mean/std over the entire training set
  bnmean = hpreact.mean(0, keepdim=True)
  bnvar = hpreact.var(0, keepdim=True, unbiased=True)

@torch.no_grad() # this decorator disables gradient tracking
def split_loss(x, y):
  emb = C[x] # (N, block_size, n_embd)
  embcat = emb.view(emb.shape[0], -1) # concat into (N, block_size * n_embd)
  hpreact = embcat @ W1 + b1
  hpreact = bngain * (hpreact - bnmean) * (bnvar + 1e-5)**-0.5 + bnbias
  h = torch.tanh(hpreact) # (N, n_hidden)
  logits = h @ W2 + b2 # (N, vocab_size)
  loss = F.cross_entropy(logits, y)
  return loss.item()

loss = split_loss(Xtr, Ytr)

# sample from the model
g = torch.Generator().manual_seed(2147483647 + 10)
samples = []
for _ in range(20):
    out = []
    context = [0] * block_size # initialize with all ...
    while len(out) < 20:
      # forward pass
      emb = C[torch.tensor([context])] # (1,block_size,d)
      embcat = emb.view(emb.shape[0], -1) # concat into (N, block_size * n_embd)
      hpreact = embcat @ W1 + b1
      hpreact = bngain * (hpreact - bnmean) * (bnvar + 1e-5)**-0.5 + bnbias
      h = torch.tanh(hpreact) # (N, n_hidden)
      logits = h @ W2 + b2 # (N, vocab_size)
      # sample
      probs = F.softmax(logits, dim=1)
      ix = torch.multinomial(probs, num_samples=1, generator=g).item()
      context = context[1:] + [ix]
      out.append(ix)
      if ix == 0:
        break
    samples.append(out)
"""


def test_calibrating_evaluating_and_sampling():
    mine, yours = both(64)
    for variables in (mine, yours):
        exec(EVALUATE, variables)
    assert mine["loss"] == yours["loss"]
    assert mine["samples"] == yours["samples"]
    assert mine["bnmean"].requires_grad is False


FUSED = """
hpreact_fast = (bngain * (hprebn - hprebn.mean(0, keepdim=True))
    / torch.sqrt(hprebn.var(0, keepdim=True, unbiased=True) + 1e-5) + bnbias)
loss_fast = F.cross_entropy(logits, Yb)
difference = (hpreact_fast - hpreact).abs().max()
"""


def test_the_fused_forms_agree():
    """Exercises 2 and 3: cross-entropy and batch norm in one go."""
    mine, yours = both(64)
    for variables in (mine, yours):
        exec(FORWARD + FUSED, variables)
        (variables["loss_fast"] + variables["hpreact_fast"].sum()).backward()
    assert mine["difference"].item() == yours["difference"].item() < 1e-6
    assert (mine["loss_fast"] - mine["loss"]).abs().item() < 1e-6
    for p, q in zip(mine["parameters"], yours["parameters"], strict=True):
        assert_same(p.grad, q.grad, "gradient")
