"""``check``: hand-written gradients, and the hint that names the mistake in a wrong one."""

from __future__ import annotations

import pytest
import torch

import tapegrad
from examples.makemore.compare import ROWS
from examples.makemore.model import forward, init_parameters
from tests.helpers import ours, randn


def lecture(wrap):
    generator = torch.Generator().manual_seed(2147483647)
    parameters = [wrap(p) for p in init_parameters(27, 64, generator, torch.float32)]
    Xb, Yb = torch.randint(0, 27, (32, 3), generator=generator), torch.randint(0, 27, (32,), generator=generator)
    return vars(forward(parameters, Xb, Yb))


def on_tapegrad():
    v = lecture(lambda p: tapegrad.tensor(p, requires_grad=True))
    tape = tapegrad.tape(v["loss"], names=v)
    tape.backward()
    return v, {name: tape.grad(name) for name in ROWS}


def on_torch():
    v = lecture(lambda p: p.requires_grad_())
    return v, dict(zip(ROWS, torch.autograd.grad(v["loss"], [v[n] for n in ROWS], retain_graph=True), strict=True))


@pytest.fixture(scope="module", params=[on_tapegrad, on_torch])
def world(request):
    v, d = request.param()
    raw = {
        k: getattr(t, "data", t).detach() if isinstance(t, (tapegrad.Tensor, torch.Tensor)) else t for k, t in v.items()
    }
    return v, d, raw


# What one writes, from the right gradients and the values, and what the hint has to say.
WRONG = {
    "sign": ("bndiff", lambda d, v: -d["bndiff"], "the sign is wrong"),
    "bessel": ("bndiff2", lambda d, v: d["bndiff2"] * 31 / 32, "1/n stands where 1/\\(n-1\\) belongs"),
    "not divided by n": ("logits", lambda d, v: d["logits"] * 32, "not divided by n = 32"),
    "not summed": ("counts_sum_inv", lambda d, v: v["counts"] * d["probs"], "not summed over dim 1"),
    "summed": ("hpreact", lambda d, v: d["hpreact"].sum(0, keepdim=True), "summed over dim 0, and should not be"),
    "keepdim": ("bngain", lambda d, v: (v["bnraw"] * d["hpreact"]).sum(0), "keepdim=True"),
    "transposed": ("W2", lambda d, v: d["logits"].T @ v["h"], "transposed"),
    "forgotten branch": ("bndiff", lambda d, v: v["bnvar_inv"] * d["bnraw"], "a branch is forgotten.*bndiff2"),
    "stale": ("hpreact", lambda d, v: d["h"], "this is the gradient of h"),
    "twice": ("b2", lambda d, v: 2 * d["b2"], "twice the gradient"),
    "factor": ("hprebn", lambda d, v: d["hprebn"] / v["bnvar_inv"], "a factor bnvar_inv is missing"),
    "zeros": ("C", lambda d, v: torch.zeros_like(v["C"]), "zero everywhere"),
    "integers": ("C", lambda d, v: torch.zeros_like(v["C"]).long(), "a gradient has the dtype"),
    "nan": ("C", lambda d, v: torch.full_like(v["C"], torch.nan), "are NaN"),
    "one-hot": ("logits", lambda d, v: v["probs"] / 32, "one place in each row"),
    "shape": ("C", lambda d, v: torch.ones(5), r"\(5,\), and should be \(27, 10\)"),
    "mean": ("b2", lambda d, v: d["logits"].mean(0), "divided by n = 32 once too often"),
    "sign and factor": ("b2", lambda d, v: -2 * d["b2"], "twice the gradient, and the sign is wrong"),
    "branch and sign": ("bndiff", lambda d, v: -v["bnvar_inv"] * d["bnraw"], "a branch is forgotten.*and the sign"),
    "garbage": ("W1", lambda d, v: d["W1"].sin() + 0.3 * v["W1"], "none of the usual mistakes"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_each_mistake_gets_the_hint_that_names_it(world, mistake):
    v, d, raw = world
    name, wrong, says = WRONG[mistake]
    (row,) = tapegrad.check(v["loss"], {name: wrong(d, raw)}, names=v)
    assert not row.approximate
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(row.hint)


ON_THE_TAPE = {
    "derivative alone": ("hpreact", lambda d, v: 1 - v["h"] ** 2, "local derivative of h alone"),
    "input for output": ("hpreact", lambda d, v: d["h"] * (1 - v["hpreact"] ** 2), "input stands where the output"),
    "other operand": ("bnraw", lambda d, v: d["hpreact"] * v["bnraw"], "other operand"),
    "written over": ("C", lambda d, v: written_over(d, v), "index takes twice was written"),
}


def written_over(d, v):
    dC = torch.zeros_like(v["C"])
    dC[v["Xb"]] = d["emb"]
    return dC


@pytest.mark.parametrize("mistake", ON_THE_TAPE)
def test_slips_in_a_rule(mistake):
    v, d = on_tapegrad()
    raw = {k: t.data if isinstance(t, tapegrad.Tensor) else t for k, t in v.items()}
    name, wrong, says = ON_THE_TAPE[mistake]
    (row,) = tapegrad.check(tapegrad.tape(v["loss"], names=v), {name: wrong(d, raw)})
    assert says in row.hint


def test_what_is_right_has_no_hint(world):
    v, d, _ = world
    checks = tapegrad.check(v["loss"], d, names=v)
    assert checks.exact
    assert str(checks).count("\n") == len(ROWS) - 1
    assert not any(row.hint for row in checks)


def test_a_blank_is_still_to_be_written():
    x = ours(randn(3))
    loss = x.sin().sum()
    (row,) = tapegrad.check(loss, {"x": ...})
    assert row.hint == "it is still to be written"
    loss.backward()


def test_a_factor_without_a_name_is_spelled_out():
    z, y = ours(randn(4)), torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    p = torch.sigmoid(z)
    loss = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    dp = tapegrad.grad(loss, p, retain_graph=True)[0]
    (row,) = tapegrad.check(loss, {"z": dp * p.data})
    assert row.hint == "a factor (1 - p) is missing"


def test_one_of_three_branches():
    x = ours(randn(3))
    a, b, c = x.exp(), x.sin(), x * x
    loss = (a + b + c).sum()
    (row,) = tapegrad.check(loss, {"x": x.data.exp() + x.data.cos()})
    assert row.hint == "a branch is forgotten: the part through c is missing, and parts add up (+=)"
    (row,) = tapegrad.check(loss, {"x": x.data.exp()})
    assert "branches are forgotten: this is the part through a alone" in row.hint
    (row,) = tapegrad.check(loss, {"x": x.data.exp() - x.data.cos() + 2 * x.data})
    assert row.hint == "the part through b has the wrong sign"


def test_refusals():
    x, y = ours(randn(3)), ours(randn(3))
    loss = x.exp().sum()
    with pytest.raises(ValueError, match=r"no tensor on the tape is called 'z'"):
        tapegrad.check(loss, {"z": x.data})
    with pytest.raises(ValueError, match="called 'y'"):
        tapegrad.check(loss, {"y": y.data})
    with pytest.raises(TypeError, match="is no tensor but int"):
        tapegrad.check(loss, {"x": 3})
    with pytest.raises(TypeError, match="given by name"):
        tapegrad.check(loss, {x: x.data})
    with pytest.raises(TypeError, match="expected a Tensor that requires grad"):
        tapegrad.check(x.data.sum(), {"x": x.data})
    with pytest.raises(ValueError, match="nothing to check"):
        tapegrad.check(loss, {})
