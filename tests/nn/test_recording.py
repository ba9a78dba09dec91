"""``recording()``: a training loop that was written for torch, unchanged."""

from __future__ import annotations

import copy
import gc
import threading
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tapegrad
from tapegrad import ForeignTensor, InPlaceError, MissingRule, StaleTensor, Tensor
from tests.helpers import randn


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 2))


def train(model, steps=20, optimizer=torch.optim.AdamW, **options):
    """A plain loop: weight decay, a penalty, clipping, a scheduler."""
    torch.manual_seed(1)
    optimizer = optimizer(model.parameters(), **{"lr": 0.01, **options})
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x, y = torch.randn(16, 3), torch.randint(0, 2, (16,))
        loss = F.cross_entropy(model(x), y) + 1e-3 * sum(p.pow(2).sum() for p in model.parameters())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        scheduler.step()
    return loss


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"fused": True}, {"foreach": False}])
def test_a_loop_ends_in_the_same_parameters(options):
    ours, theirs = mlp(), mlp()
    train(theirs, **options)
    with tapegrad.recording():
        loss = train(ours, **options)
    assert type(loss) is Tensor
    assert same(ours, theirs)


def test_it_is_a_decorator():
    ours, theirs = mlp(), mlp()
    train(theirs)
    assert type(tapegrad.recording()(train)(ours)) is Tensor
    assert same(ours, theirs)
    assert type(theirs(randn(1, 3).float())) is torch.Tensor  # and over when it returns

    def generator():
        yield 1

    with pytest.raises(TypeError, match=r"write `with recording\(\):` in it"):
        tapegrad.recording()(generator)


def test_a_leaf_shares_memory_and_grad():
    p = nn.Parameter(randn(3))
    with tapegrad.recording():
        leaf = p.clone().record.parents[0]
    assert leaf.data.data_ptr() == p.data_ptr()
    assert leaf.data._version == p._version
    p.grad = randn(3)
    assert leaf.grad is p.grad
    leaf.grad = None
    assert p.grad is None
    (leaf * 2).sum().backward()
    assert p.grad.tolist() == [2.0] * 3
    assert leaf.grad is p.grad


def test_gradients_accumulate_and_the_sum_is_in_place():
    p = nn.Parameter(randn(3))
    with tapegrad.recording():
        (p * 2).sum().backward()
        kept = p.grad
        (p * p).sum().backward()
    assert p.grad is kept
    assert torch.equal(kept, 2 + 2 * p.detach())


def test_the_binding_keeps_nothing():
    p = nn.Parameter(randn(3))
    with tapegrad.recording():
        loss = (p * 2).sum()
        leaf = weakref.ref(loss.record.parents[0].parents[0])
        alive = leaf()
        assert alive is not None
        del alive
        loss.backward()
        gc.collect()
        assert leaf() is None
        gone = weakref.ref(p)
        del p
        assert gone() is None


@pytest.mark.parametrize("replace", [lambda p: p.data.double(), lambda p: randn(2, 2).float(), lambda p: p.data.t()])
def test_data_that_was_replaced_is_bound_anew(replace):
    p = nn.Parameter(torch.arange(4.0).view(2, 2))
    with tapegrad.recording():
        kept = p * 2
        p.data = replace(p)
        out = p * 3
    assert torch.equal(out.data, p.detach() * 3)
    out.sum().backward()
    assert torch.equal(p.grad, torch.full_like(p, 3.0))
    del kept


def test_other_shapes_since_the_forward_pass_are_refused():
    p = nn.Parameter(randn(3))
    with tapegrad.recording():
        loss = (p * 2).sum()
        p.data = randn(4)
        with pytest.raises(StaleTensor, match="compute the loss anew"):
            loss.backward()


def test_a_change_since_the_forward_pass_is_noticed():
    p = nn.Parameter(randn(3))
    with tapegrad.recording():
        loss = (p * p).sum()
        with torch.no_grad():
            p.add_(1)
        with pytest.raises(StaleTensor):
            loss.backward()


def test_weights_may_be_tied():
    def tied():
        model = mlp()
        model.extra = nn.Linear(3, 8)
        model.extra.weight = model[0].weight
        return model

    def loss(model):
        x = randn(4, 3).float()
        return (model[0](x) * model.extra(x)).sum()

    ours, theirs = tied(), tied()
    loss(theirs).backward()
    with tapegrad.recording():
        loss(ours).backward()
    assert torch.equal(ours[0].weight.grad, theirs[0].weight.grad)


def test_inputs_are_leaves_and_their_hooks_run():
    x, seen = randn(3).requires_grad_(), []
    x.register_hook(lambda g: seen.append(g) or g * 2)
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t))
    with tapegrad.recording():
        (x.exp() * 3).sum().backward()
    assert torch.equal(x.grad, x.detach().exp() * 3 * 2)
    assert seen[1] is x


def test_lazy_modules_parametrizations_and_copies():
    def build():
        torch.manual_seed(0)
        return nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)))

    x = randn(5, 3).float()
    ours, theirs = build(), build()
    torch.manual_seed(2)
    theirs(x).square().sum().backward()
    torch.manual_seed(2)
    with tapegrad.recording():
        ours(x).square().sum().backward()
        twin = copy.deepcopy(ours)
        twin.load_state_dict(ours.state_dict())
    for a, b, c in zip(ours.parameters(), theirs.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, c)
        assert torch.allclose(a.grad, b.grad, rtol=1e-5, atol=1e-6)


def test_lbfgs():
    def fit(model):
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=5)
        x, y = randn(8, 3).float(), randn(8, 2, seed=1).float()

        def closure():
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            return loss

        for _ in range(3):
            optimizer.step(closure)

    ours, theirs = mlp().eval(), mlp().eval()
    fit(theirs)
    with tapegrad.recording():
        fit(ours)
    assert same(ours, theirs)


def test_no_grad_and_frozen_parameters_record_nothing():
    model = mlp()
    with tapegrad.recording():
        with torch.no_grad():
            assert type(model(randn(2, 3).float())) is torch.Tensor
        model.requires_grad_(False)
        assert type(model(randn(2, 3).float())) is torch.Tensor


def test_a_parameter_switched_off_since_gets_nothing():
    p, q = nn.Parameter(randn(3)), nn.Parameter(randn(3, seed=1))
    with tapegrad.recording():
        loss = (p * q).sum()
        q.requires_grad_(False)
        loss.backward()
    assert q.grad is None
    assert torch.equal(p.grad, q.detach())


def test_gradients_of_parameters_returned():
    ours, theirs = mlp().eval(), mlp().eval()
    x = randn(4, 3).float()
    wanted = torch.autograd.grad(theirs(x).sum(), list(theirs.parameters()))
    with tapegrad.recording():
        found = tapegrad.grad(ours(x).sum(), list(ours.parameters()))
    assert all(map(torch.equal, found, wanted))
    assert all(p.grad is None for p in ours.parameters())
    with tapegrad.recording():
        ours(x).sum().backward(inputs=list(ours[0].parameters()))
    assert ours[0].weight.grad is not None
    assert ours[3].weight.grad is None


def test_second_order():
    x = randn(3).requires_grad_()
    with tapegrad.recording():
        (g,) = tapegrad.grad((x**3).sum(), x, create_graph=True)
        (h,) = tapegrad.grad(g.sum(), x)
    assert torch.allclose(h, 6 * x.detach())


@pytest.mark.parametrize("name", ["T", "mT", "real", "H"])
def test_properties_of_leaves_are_recorded(name):
    p = nn.Parameter(randn(2, 3))
    with tapegrad.recording():
        out = getattr(p, name)
        assert type(out) is Tensor
        out.sum().backward()
    assert torch.equal(p.grad, torch.ones(2, 3).double())


OPERATORS = {
    "+": lambda p: 1 + p, "-": lambda p: 1 - p, "*": lambda p: 2 * p, "/": lambda p: 2 / p, "**": lambda p: 2**p,
    "%": lambda p: p % 2, "@": lambda p: p @ p, "[]": lambda p: p[1:], "neg": lambda p: -p, "abs": abs,
    "iter": lambda p: next(iter(p)), "unbind": lambda p: p.unbind()[1], "split": lambda p: p.split(2)[0],
    "max": lambda p: p.max(0).values, "norm": lambda p: p.norm(), "stack": lambda p: torch.stack([p, p]),
    "einsum": lambda p: torch.einsum("i,j->ij", p, p), "to": lambda p: p.to(torch.half),
    "float": lambda p: p.float(),
    "where": lambda p: torch.where(p > 0, p, 0.0), "new": lambda p: p * p.new_ones(3) + torch.zeros_like(p),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_leaves_alone_are_recorded(name):
    """No Tensor is among the arguments."""
    ours, theirs = randn(3).requires_grad_(), randn(3).requires_grad_()
    OPERATORS[name](theirs).sum().backward()
    with tapegrad.recording():
        out = OPERATORS[name](ours)
        assert type(out) is Tensor
        out.sum().backward()
    assert torch.equal(ours.grad, theirs.grad)


def test_what_torch_would_record_itself_is_refused():
    p, x = nn.Parameter(randn(3)), randn(3)
    with tapegrad.recording():
        with pytest.raises(MissingRule, match=r"igamma\(\): tapegrad has no rule|igammac"):
            torch.igammac(x.abs(), p.exp().data.requires_grad_())
        with pytest.raises(InPlaceError, match=r"written into a plain torch\.Tensor"):
            x.mul_(p)
        with pytest.raises(InPlaceError, match=r"written into a plain torch\.Tensor"):
            x[0] = p[0]
        assert not x.requires_grad
    foreign = p * 2
    with tapegrad.recording(), pytest.raises(ForeignTensor, match=r"compute it inside tapegrad\.recording\(\)"):
        p * 3 + foreign


def test_it_nests_and_ends():
    p = nn.Parameter(randn(3))
    with tapegrad.recording():
        with tapegrad.recording():
            assert type(p * 2) is Tensor
        assert type(p * 2) is Tensor
    assert type(p * 2) is torch.Tensor
    with pytest.raises(ZeroDivisionError), tapegrad.recording():
        raise ZeroDivisionError
    assert type(p * 2) is torch.Tensor


def test_other_modes_go_on_working():
    p = nn.Parameter(randn(3))
    with tapegrad.recording(), torch.device("meta"):
        assert torch.zeros(3).is_meta
        loss = (p * 2).sum()
    loss.backward()
    with torch.device("meta"), tapegrad.recording():
        assert torch.zeros(3).is_meta
        (p * 2).sum().backward()
    assert p.grad.tolist() == [4.0] * 3


def test_other_threads_do_not_record():
    p, seen = nn.Parameter(randn(3)), []
    with tapegrad.recording():
        thread = threading.Thread(target=lambda: seen.append(type(p * 2)))
        thread.start()
        thread.join()
    assert seen == [torch.Tensor]


def test_tensors_do_outside_what_they_did():
    before = dict(vars(Tensor))
    with tapegrad.recording():
        assert vars(Tensor)["__mul__"] is not before["__mul__"]
    assert dict(vars(Tensor)) == before


def test_a_function_and_compare_inside():
    p = nn.Parameter(randn(3))
    with tapegrad.recording():
        assert all(row.exact for row in tapegrad.compare((p.exp() * 2).sum()))
