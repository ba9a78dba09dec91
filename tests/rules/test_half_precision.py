"""float16 and bfloat16: values and gradients are as near to the true ones as torch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad.engine.table import TABLE, kernel
from tapegrad.fast import roads
from tests.helpers import assert_same, ours, randn, raw, same_bits, theirs
from tests.provers.half_precision import HALF

# --- the cases that were wrong ---


def gradients(program, *data, dtype=torch.float16):
    """The gradients of a program's sum: ours, torch's, and the true ones."""
    data = [d.to(dtype) for d in data]
    results = []
    for make, values in ((ours, data), (theirs, data), (theirs, [d.double() for d in data])):
        leaves = [make(v) for v in values]
        program(*leaves).sum().backward()
        results.append([x.grad for x in leaves])
    return results


def worst(values, truth) -> float:
    return max((v.double() - t).abs().max().item() for v, t in zip(values, truth, strict=True))


def test_batch_norm_where_the_variance_exceeds_the_range_of_float16():
    x = 1000 * randn(8, 3)
    w = randn(8, 3, seed=1).half()
    assert x.var() > torch.finfo(torch.float16).max

    def program(x):
        return F.batch_norm(x, None, None, training=True) * w.to(x.dtype)  # as torch's

    mine, yours, true = gradients(program, x)
    assert mine[0].count_nonzero() == x.numel()
    assert worst(mine, true) <= 1.1 * worst(yours, true)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("needs_mask", [False, True])
def test_attention_where_scores_exceed_the_range_of_float16(dtype, needs_mask):
    """With torch's fused kernel, and, for the gradient of a mask, written out."""
    q, k, v = (200 * randn(1, 2, 5, 16, seed=i) for i in range(3))
    assert (q @ k.mT).abs().max() > torch.finfo(torch.float16).max
    mask = [randn(5, 5, seed=4)] if needs_mask else []
    program = F.scaled_dot_product_attention
    mine, yours, true = gradients(program, q, k, v, *mask, dtype=dtype)
    assert all(g.isfinite().all() for g in mine)
    assert worst(mine, true) <= 1.1 * worst(yours, true)
    args = [x.to(dtype) for x in (q, k, v, *mask)]
    value = program(*[ours(x) for x in args])
    assert_same(raw(value), raw(program(*[theirs(x) for x in args])), "value")


def test_attention_still_refuses_operands_of_different_types():
    q, k = (tapegrad.tensor(randn(2, 3, 4).to(d), requires_grad=True) for d in (torch.float16, torch.float32))
    with pytest.raises(RuntimeError):
        F.scaled_dot_product_attention(q, k, k, attn_mask=ours(randn(3, 3).half()))


@pytest.mark.skipif(not hasattr(F, "linear_cross_entropy"), reason="new in torch 2.13")
def test_linear_cross_entropy_in_chunks_where_scores_exceed_the_range_of_float16():
    from torch.nn.modules.linear_cross_entropy_options import LinearCrossEntropyOptions

    options = LinearCrossEntropyOptions(batch_chunk_size=2)
    x, w, y = 200 * randn(6, 8), 200 * randn(5, 8, seed=1), torch.arange(6) % 5
    assert (x @ w.mT).abs().max() > torch.finfo(torch.float16).max
    mine, yours, true = gradients(lambda x, w: F.linear_cross_entropy(x, w, y, options=options), x, w)
    assert all(g.isfinite().all() for g in mine)
    assert worst(mine, true) <= 1.1 * worst(yours, true)


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (lambda x: F.gelu(x, approximate="tanh"), [100.0, 1000.0, -100.0, 6e4]),
        (F.softplus, [12.0, 15.0, 19.0, -19.0]),
        (F.mish, [12.0, 15.0, 19.0, 6e4]),
        (F.hardswish, [-2.0, 2.0, 6e4, -6e4]),
        (lambda x: x.square(), [3e4, -3e4, 1.0, 0.0]),
        (lambda x: x.sinc(), [1e-4, -1e-4, 0.5, 3.0]),
        (lambda x: x / 6e4, [4e4, -4e4, 1.0, 0.0]),
    ],
)
def test_finite_where_steps_between_would_overflow(function, x):
    mine, yours, true = gradients(function, torch.tensor(x))
    assert mine[0].isfinite().all()
    assert worst(mine, true) <= max(1.1 * worst(yours, true), (true[0].half().double() - true[0]).abs().max())


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("function", [F.silu, F.gelu, F.mish, torch.tanh, torch.sigmoid, F.logsigmoid, F.elu])
def test_activations_are_rounded_once(function, dtype):
    """No value of the dtype is nearer to the true gradient than ours, but for the rounding of a saved output."""
    x = 3 * randn(2000)
    mine, yours, true = gradients(function, x, dtype=dtype)
    error, torchs = ((g[0].double() - true[0]).abs().mean().item() for g in (mine, yours))
    assert error <= 1.02 * torchs


# --- how it is done ---


def record_of(function, dtype):
    return function(tapegrad.tensor(torch.ones(3, dtype=dtype), requires_grad=True)).record


def test_only_rules_that_round_more_than_once_are_widened():
    for dtype in (torch.float32, torch.float64):
        assert record_of(torch.tanh, dtype).op is TABLE[torch.tanh]
    for dtype in HALF:
        assert record_of(torch.tanh, dtype).op is not TABLE[torch.tanh]
        assert record_of(torch.neg, dtype).op is TABLE[torch.neg]
        assert record_of(torch.clone, dtype).op is TABLE[torch.clone]


def test_a_rule_of_yours_is_given_float32_and_its_result_is_rounded():
    seen = []

    def formula(g, x):
        seen.append((type(g), g.dtype, x.dtype))
        return g * 3 * x * x

    @tapegrad.rule(x=formula)
    def cube(x):
        return x**3

    for dtype in HALF:
        x = tapegrad.tensor(torch.tensor([1.7, -0.3], dtype=dtype), requires_grad=True)
        cube(x).sum().backward()
        assert x.grad.dtype is dtype
        assert torch.equal(x.grad, (3 * x.data.float() ** 2).to(dtype))
    assert seen == [(torch.Tensor, torch.float32, torch.float32)] * 2


def test_a_kernel_that_comes_later_is_used():
    @tapegrad.rule(x=lambda g: g)
    def same(x):
        return x.clone()

    x = tapegrad.tensor(torch.ones(2).half(), requires_grad=True)
    same(x).sum().backward()
    kernel(same, x=lambda g: 2 * g)
    same(x).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_float32_weights_of_a_half_precision_input_keep_their_bits():
    """Mixed precision: only the gradient of the half-precision argument is rounded to half precision."""
    x, w, b = randn(64, 5).bfloat16(), randn(5).float(), randn(5).float()
    results = []
    for make in (ours, theirs):
        leaves = [make(t) for t in (x, w, b)]
        (F.layer_norm(leaves[0], (5,), leaves[1], leaves[2]) ** 2).sum().backward()
        results.append([leaf.grad for leaf in leaves])
    mine, yours = results
    assert [g.dtype for g in mine] == [g.dtype for g in yours] == [torch.bfloat16, torch.float32, torch.float32]
    for a, b in zip(mine, yours, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2)
    assert not same_bits(mine[1], mine[1].bfloat16().float())


def net(x, w, b):
    h = F.gelu(F.layer_norm(x @ w, (4,))) + b
    return F.cross_entropy(h / 3, torch.tensor([0, 1, 2, 3, 0]))


@pytest.mark.parametrize("dtype", HALF)
def test_walk_and_written_walk_agree(dtype, monkeypatch):
    data = [randn(5, 6, seed=1).to(dtype), randn(6, 4, seed=2).to(dtype), randn(4, seed=3).to(dtype)]
    grads = []
    for meetings in (0, 10**9):
        monkeypatch.setattr(roads, "MEETINGS", meetings)
        roads.forget()
        for _ in range(3):
            leaves = [ours(d) for d in data]
            net(*leaves).backward()
            grads.append([x.grad for x in leaves])
    roads.forget()
    for other in grads[1:]:
        assert_same(other, grads[0], "gradient")


def test_a_written_walk_is_for_one_precision(monkeypatch):
    """float32 and half-precision tapes of one structure do not take each other's rules."""
    monkeypatch.setattr(roads, "MEETINGS", 0)
    roads.forget()
    for dtype in (torch.float32, torch.float16, torch.float32, torch.bfloat16):
        x = ours(torch.tensor([12.0, 15.0], dtype=dtype))
        F.softplus(x).sum().backward()
        assert x.grad.tolist() == pytest.approx([1.0, 1.0], rel=1e-2)
        assert x.grad.dtype is dtype
    roads.forget()


@pytest.mark.parametrize("dtype", HALF)
def test_recorded_gradients_are_rounded_once_too(dtype):
    x = ours((3 * randn(50)).to(dtype))
    (recorded,) = tapegrad.grad(F.silu(x).sum(), x, create_graph=True)
    (plain,) = tapegrad.grad(F.silu(x).sum(), x)
    true = x.data.double().requires_grad_()
    (truth,) = torch.autograd.grad(F.silu(true).sum(), true, create_graph=True)
    assert_same(raw(recorded), truth.to(dtype).detach(), "gradient")
    assert_same(plain, raw(recorded), "gradient")
    (second,) = tapegrad.grad(recorded.sum(), x)
    (truth,) = torch.autograd.grad(truth.sum(), true)
    torch.testing.assert_close(second.double(), truth, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("dtype", HALF)
def test_source_computes_what_the_engine_does(dtype):
    data = {n: randn(*s, seed=i).to(dtype) for i, (n, s) in enumerate({"x": (5, 6), "w": (6, 4), "b": (4,)}.items())}
    leaves = {n: ours(d) for n, d in data.items()}
    loss = net(**leaves)
    tape = tapegrad.tape(loss, names={**leaves, "loss": loss})
    scope: dict[str, Any] = {}
    exec(tape.source(names={}, style="exact", forward=True), scope)
    _, saved = scope["forward"](**tape.bindings(names={}, style="exact", forward=True))
    exact = scope["backward"](**saved)
    exec(tape.source(names={}), scope)
    plain = scope["backward"](**tape.bindings(names={}))
    loss.backward()
    for name, leaf in leaves.items():
        assert_same(exact[name], leaf.grad, name)
        rounding = torch.finfo(dtype).eps * leaf.grad.abs().max().item()
        torch.testing.assert_close(plain[name], leaf.grad, rtol=0.0, atol=8 * rounding)  # of what was summed


def test_a_kernel_given_anew_does_not_undo_what_half_precision_needs():
    sinc = TABLE[torch.sinc]
    before = record_of(torch.sinc, torch.float16).op.kernels["input"]
    kernel(sinc, **sinc.kernels)
    assert record_of(torch.sinc, torch.float16).op.kernels["input"] is before
