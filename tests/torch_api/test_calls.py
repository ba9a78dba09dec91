"""Calls that torch's users make: each does here what it does in torch, or says why not and what to do instead."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import distributions as D
from torch.nn.utils.rnn import pad_sequence

import tapegrad
from tapegrad import MissingRule, Tensor
from tapegrad.engine.table import TABLE
from tapegrad.torch_api.dispatch import call
from tests.helpers import ROOT, ours, raw, theirs


def data(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.3


A, B, V, W = data(3, 3), data(3, 4, seed=1), data(3, seed=2), data(3, seed=3)


def tensors(value):
    if isinstance(value, (torch.Tensor, Tensor)):
        return [value]
    return [t for v in value for t in tensors(v)] if isinstance(value, (tuple, list)) else []


def run(function, leaves, grad):
    """Its results, and the gradients of those that have one."""
    torch.manual_seed(3)
    results = tensors(function(*leaves))
    outputs = [t for t in results if t.requires_grad and not t.is_leaf]
    if not outputs:
        return results, []
    v = [data(*t.shape, seed=7).to(t.dtype) for t in outputs]
    return results, list(grad(outputs, leaves, v, allow_unused=True))


def assert_as_torch(function, *inputs):
    mine = run(function, [ours(x) for x in inputs], tapegrad.grad)
    yours = run(function, [theirs(x) for x in inputs], torch.autograd.grad)
    assert [t.requires_grad for t in mine[0]] == [t.requires_grad for t in yours[0]]
    for a, b in zip([*mine[0], *mine[1]], [*yours[0], *yours[1]], strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(raw(a), b.detach(), equal_nan=True)


def changed(x, method, *args):
    y = x * 1
    return getattr(y, method)(*args)


def set_at(x, index, value):
    y = x * 1
    y[index] = value(x)
    return y


def whole_target(x, write):
    target = torch.zeros(3, dtype=torch.long)
    write(target, x)
    return target


def twice_with_a_constant(x):
    y = x * 2
    y.detach_()
    return y * x


MASK = torch.tensor([1, 0, 1], dtype=torch.uint8)
SAME = {
    "NumPy's exponent": (lambda x: x ** np.int64(2), A),
    "NumPy's float exponent": (lambda x: x ** np.float32(2.5), A),
    "NumPy's truth as an exponent": (lambda x: x ** np.bool_(True) + np.bool_(True) ** x, A),
    "filled with NumPy's truth": (lambda x: x * changed(x, "fill_", np.bool_(True)), A),
    "NumPy's dim": (lambda x: x.sum(np.int64(1)) + x.mean(np.int64(1)) + x.max(np.int64(1)).values, A),
    "an array's number": (lambda x: x.select(0, np.array(1)) + x.topk(np.array(3)).values[0], A),
    "a tensor's dim": (lambda x: x.sum(torch.tensor(1)) + x.logsumexp(torch.tensor(0)), A),
    "a tensor's shift": (lambda x: x.roll(torch.tensor(2)).var(torch.tensor(0)), A),
    "a tensor's shift of truth values": (lambda x: x.roll(torch.tensor(True)), A),
    "a tensor's correction": (lambda x: x.std(0, correction=torch.tensor(True)), A),
    "a tensor's length, rounded down": (lambda x: x.split(torch.tensor(1.7))[1], A),
    "a tensor's size": (lambda x: F.avg_pool1d(x[None], torch.tensor(2)), A),
    "a tensor's power": (lambda x: torch.matrix_power(x, torch.tensor(2)), A),
    "the first power": (lambda x: torch.matrix_power(x, 1), A),
    "NumPy's sizes": (lambda x: x.reshape(np.int64(9)).roll(np.int64(2)).chunk(np.int64(2))[0], A),
    "NumPy's bounds": (lambda x: x.clamp(np.float32(0.5), np.float64(0.9)), A),
    "sublists": (lambda x, y: torch.einsum(x, [0, 1], y, [1, 2], [0, 2]), A, B),
    "a sublist without an output": (lambda x: torch.einsum(x, [0, 0]) + torch.einsum(x, [...]).sum(), A),
    "a sublist alone": (lambda x: torch.einsum(x, [0, 1], [1, 0]), A),
    "mixed dtypes": (lambda x, y: torch.einsum("i,i->i", x, y.float()), V, W),
    "other bits": (lambda x: x.view(torch.int64), A),
    "not": (lambda x: ~(x > 0.5), A),
    "and": (lambda x: (x * 5).long() & 1 | 2 ^ 4, A),
    "shifts": (lambda x: (x * 5).long() << 1 >> 2, A),
    "an integer's element": (lambda x: whole_target(x, lambda t, v: t.__setitem__(0, v[0] * 5)), V),
    "integers copied": (lambda x: whole_target(x, lambda t, v: t.copy_(v * 5)), V),
    "dlpack": (lambda x: torch.from_dlpack(x.detach()) * 1, A),
    "no features": (lambda x, w: F.linear(x, w), torch.zeros(3, 0), torch.zeros(2, 0)),
    "a boolean target": (lambda x: F.mse_loss(x, x.detach() > 0.5), A),
    "a tensor through a mask of uint8": (lambda x: set_at(x, MASK, lambda x: x[:2] * 2), A),
    "classes of uint8": (lambda x: F.cross_entropy(x, torch.tensor([0, 1, 2], dtype=torch.uint8)), A),
    "smoothing below 0": (lambda x: F.cross_entropy(x, torch.tensor([0, 1, 2]), label_smoothing=-0.5), A),
    "info of cholesky": (lambda x: torch.linalg.cholesky_ex(-x @ x.T).info, A),
    "info of inv": (lambda x: torch.linalg.inv_ex(x * 0).info, A),
    "info of solve": (lambda x: torch.linalg.solve_ex(x * 0, x).info, A),
    "nothing's integral": (lambda x: torch.trapezoid(x), torch.zeros(0)),
    "nothing's norm": (lambda x: torch.linalg.matrix_norm(x), torch.zeros(0, 3)),
    "a histogram": (lambda x: x.histc(4), A),
    "a rank": (lambda x: torch.linalg.matrix_rank(x), A),
    "gumbel": (lambda x: F.gumbel_softmax(x, hard=True), A),
    "slopes": (lambda x: torch.gradient(x, spacing=0.5), A),
    "points that take a gradient": (lambda x, t: torch.gradient(x, spacing=(t.cumsum(0),), dim=0, edge_order=2), A, V),
    "least squares": (lambda a, b: torch.linalg.lstsq(a, b).solution, data(5, 3), data(5, 2, seed=9)),
    "padded": (lambda x, y: pad_sequence([x, y], batch_first=True, padding_side="left"), data(2, 3), data(4, 3)),
    "poisson": (lambda x: torch.poisson(x), A),
    "gamma": (lambda x: torch._standard_gamma(x), A),
    "a diagonal": (lambda x: changed(x, "fill_diagonal_", 2.0), A),
    "a wrapped diagonal": (lambda x: changed(x, "fill_diagonal_", 2.0, True), data(7, 3)),
    "leaky_relu_": (lambda x: F.leaky_relu_(x * 1 - 0.7, 0.1), A),
    "elu_": (lambda x: F.elu_(x * 1 - 0.7, 0.5), A),
    "celu_": (lambda x: F.celu_(x * 1 - 0.7, 0.5), A),
    "selu_": (lambda x: F.selu_(x * 1 - 0.7), A),
    "hardtanh_": (lambda x: F.hardtanh_(x * 1 - 0.7, -0.2, 0.2), A),
    "threshold_": (lambda x: F.threshold_(x * 1, 0.7, 2.0), A),
    "compared in place": (lambda x: x + changed(x, "gt_", 0.7), A),
    "a number copied": (lambda x: x + changed(x, "copy_", 0.7), A),
    "detach_": (twice_with_a_constant, A),
    "detach": (lambda x: torch.detach(x) * x, A),
    "squeezed dims": (lambda x: x[None, :, None].squeeze((0, 2)), A),
    "points that broadcast": (lambda y, x: torch.trapezoid(y, x), data(4, 2, 3), data(2, 3, seed=1)),
    "a smaller src": (lambda x: B.clone().scatter(0, torch.tensor([[0, 1, 2]]), x[:1]), A),
    "by force": (lambda x: torch.from_numpy(x.numpy(force=True)) * 1, A),
}


@pytest.mark.filterwarnings("ignore:indexing with dtype torch.uint8")
@pytest.mark.parametrize("name", SAME)
def test_as_in_torch(name):
    assert_as_torch(*SAME[name])


# --- distributions, which validate what they are given ---

DISTRIBUTIONS = {
    "Bernoulli": lambda a, b: D.Bernoulli(logits=a),
    "Beta": D.Beta,
    "Categorical": lambda a, b: D.Categorical(a),
    "Cauchy": D.Cauchy,
    "Chi2": lambda a, b: D.Chi2(a),
    "FisherSnedecor": D.FisherSnedecor,
    "Dirichlet": lambda a, b: D.Dirichlet(a),
    "Exponential": lambda a, b: D.Exponential(a),
    "Gamma": D.Gamma,
    "Gumbel": D.Gumbel,
    "HalfCauchy": lambda a, b: D.HalfCauchy(a),
    "Independent": lambda a, b: D.Independent(D.Normal(a, b), 1),
    "Laplace": D.Laplace,
    "Laplace of a number": lambda a, b: D.Laplace(0.1, b),
    "LowRankMultivariateNormal": lambda a, b: D.LowRankMultivariateNormal(a, b[:, None], b),
    "LogNormal": D.LogNormal,
    "MultivariateNormal": lambda a, b: D.MultivariateNormal(a, torch.diag(b)),
    "Normal": D.Normal,
    "Poisson": lambda a, b: D.Poisson(a),
    "StudentT": D.StudentT,
    "StudentT of a number": lambda a, b: D.StudentT(5.1, a, b),
    "Uniform": lambda a, b: D.Uniform(a, a + b),
    "Weibull": D.Weibull,
    "Wishart": lambda a, b: D.Wishart(a[0] + 3, torch.diag(b)),
}


@pytest.mark.filterwarnings("ignore:Singular sample detected")  # by a Wishart, whatever it draws
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions(name):
    def drawn(a, b):
        distribution = DISTRIBUTIONS[name](a, b)
        value = distribution.rsample() if distribution.has_rsample else distribution.sample()
        return value, distribution.log_prob(raw(value).detach())

    assert_as_torch(drawn, V, W)
    outside = torch.full((3, 3) if name == "Wishart" else (3,), torch.nan, dtype=torch.float64)
    for make in (ours, theirs):
        with pytest.raises(ValueError, match="support"):
            DISTRIBUTIONS[name](make(V), make(W)).log_prob(outside)


MOMENTS = {
    "variance of StudentT": lambda a, b: D.StudentT(5.1, a, b).variance,
    "variance of HalfCauchy": lambda a, b: D.HalfCauchy(b).variance,
    "entropy of LowRankMultivariateNormal": lambda a, b: D.LowRankMultivariateNormal(a, b[:, None], b).entropy(),
    "from one Wishart to another": lambda a, b: D.kl_divergence(
        D.Wishart(a[0] + 3, torch.diag(b)), D.Wishart(b[0] + 3, torch.diag(a))
    ),
    "from a low rank": lambda a, b: D.kl_divergence(
        D.LowRankMultivariateNormal(a, b[:, None], b), D.MultivariateNormal(b, torch.diag(a))
    ),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_what_is_known_of_distributions(name):
    assert_as_torch(MOMENTS[name], V, W)


# --- refused, as in torch ---

REFUSED_BY_TORCH = {
    "mean(keepdim=True)": lambda x: x.mean(keepdim=True),
    "sum(keepdims=True)": lambda x: x.sum(keepdims=True),
    "requires_grad_('a')": lambda x: x.detach().requires_grad_("a"),
    "requires_grad_(1)": lambda x: x.detach().requires_grad_(1),
    "smoothing above 1": lambda x: F.cross_entropy(x, torch.tensor([0, 1, 2]), label_smoothing=1.5),
    "a number through a mask of uint8": lambda x: set_at(x, MASK, lambda x: 0.0),
    "pad(value=x[0])": lambda x: F.pad(x, (1, 1), value=x[0, 0]),
    "chunk(0)": lambda x: x.chunk(0),
    "dlpack": lambda x: torch.from_dlpack(x),
    "a leaf's detach_": lambda x: x[0].detach_(),
}


@pytest.mark.filterwarnings("ignore:indexing with dtype torch.uint8")
@pytest.mark.parametrize("name", REFUSED_BY_TORCH)
def test_refused_as_in_torch(name):
    for x in (ours(A), theirs(A)):
        with pytest.raises((TypeError, RuntimeError, BufferError)):
            REFUSED_BY_TORCH[name](x)


# --- refused with a way out, which works ---


def way_out(function, instead, match, kind=MissingRule):
    x = ours(V)
    with pytest.raises(kind, match=match):
        function(x)
    t = instead(x)
    (t.sum() if isinstance(t, Tensor) and t.requires_grad else x.sum()).backward()
    assert x.grad is not None


def test_messages_can_be_followed():
    way_out(lambda x: torch.ops.aten.sin(x), torch.sin, r"aten\.sin\(\): .*; use torch\.sin$")
    way_out(
        lambda x: torch.linspace(x[0], x[1], 5),
        lambda x: x[0] + (x[1] - x[0]) * torch.linspace(0, 1, 5),
        r"start \+ \(end - start\) \* torch\.linspace\(0, 1, steps\)",
    )
    way_out(
        lambda x: torch.logspace(x[0], x[1], 5),
        lambda x: 10 ** (x[0] + (x[1] - x[0]) * torch.linspace(0, 1, 5)),
        r"base \*\* \(start \+ \(end - start\) \* torch\.linspace\(0, 1, steps\)\)",
    )
    way_out(
        lambda x: torch.bincount(torch.tensor([0, 1, 1]), x),
        lambda x: torch.zeros(2).double().index_add(0, torch.tensor([0, 1, 1]), x),
        r"torch\.zeros\(n\)\.index_add\(0, input, weights\)",
    )
    way_out(
        lambda x: torch.histogram(V.float(), 2, weight=x.float()),
        lambda x: torch.zeros(3).index_add(0, torch.bucketize(V.float(), torch.tensor([0.5, 1.0])), x.float()),
        r"index_add\(0, torch\.bucketize\(input, edges\), weight\)",
    )
    way_out(lambda x: torch.full((2,), x[0]), lambda x: x[0].expand(2), r"number\.expand\(size\)")
    way_out(torch.vander, lambda x: torch.linalg.vander(x).flip(-1), r"torch\.linalg\.vander\(x\)\.flip\(-1\)")
    way_out(
        lambda x: x.sum().backward(create_graph=True), lambda x: x, r"tapegrad\.grad\(loss, inputs, create_graph=True\)"
    )


def test_elu_with_a_scale_is_refused():
    with pytest.raises(MissingRule, match=r"elu_\(\): .*scale"):
        F.elu_(ours(A) * 1 - 0.7, 0.3, 0.7)


def test_an_operator_of_torchs_library_may_have_a_rule():
    operator = torch.ops.aten.sin.default
    tapegrad.rule(operator, "self", self=lambda g, self: g * self.cos())
    try:
        assert_as_torch(operator, A)
    finally:
        del TABLE[operator]


def test_what_a_start_given_as_a_tensor_was_is_noticed():
    x, start = ours(V), torch.tensor(0)
    y = x.narrow(0, start, 2)
    start.fill_(1)
    with pytest.raises(tapegrad.StaleTensor, match="narrow needs its start"):
        y.sum().backward()


def test_gradients_of_what_is_not_used():
    x, unused = ours(V), ours(W)
    for create_graph in (False, True):
        _, zeros = tapegrad.grad((x * x).sum(), [x, unused], create_graph=create_graph, materialize_grads=True)
        assert torch.equal(raw(zeros), torch.zeros_like(W))
    with pytest.raises(ValueError, match="allow_unused"):
        tapegrad.grad((x * x).sum(), [x, unused], allow_unused=False, materialize_grads=True)


def test_a_hook_after_accumulation():
    with pytest.raises(AttributeError, match="register_hook sees the gradient right before"):
        _ = ours(V).register_post_accumulate_grad_hook


# --- every public callable of torch's ---


@pytest.fixture(scope="module")
def page():
    spec = importlib.util.spec_from_file_location("make_torch", ROOT / "docs" / "make_torch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_callable_is_known(page):
    found = page.classified()
    assert sum(len(names) for kinds in found.values() for names in kinds.values()) > 1300
    assert not {title: kinds[page.UNKNOWN] for title, kinds in found.items() if page.UNKNOWN in kinds}


def test_each_refusal_is_by_name_and_with_its_reason(page):
    x = ours(A) * 1
    for title, namespace in page.NAMESPACES.items():
        for name, function in page.public(namespace).items():
            kind = page.kind(namespace, name, function)
            if not kind.startswith(page.REFUSED):
                continue
            reason = kind.removeprefix(f"{page.REFUSED}: ")
            method = getattr(Tensor, name, None) if namespace is torch.Tensor else None
            args = (x, x) if name.startswith("__") else (x,)
            with pytest.raises(MissingRule) as caught:
                method(*args) if method else call(function, args, {})
            assert reason in str(caught.value), f"{title}.{name}"


def test_what_a_tensor_is_said_to_have_it_has(page):
    for name, function in page.public(torch.Tensor).items():
        kind = page.kind(torch.Tensor, name, function)
        if kind in (page.RULE, page.IN_PLACE, page.PLAIN_RESULT):
            assert callable(getattr(Tensor, name, None)), name
