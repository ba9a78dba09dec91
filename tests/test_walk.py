"""The backward walk: every path once, sums in torch's order, nobody's buffer shared, everything freed."""

from __future__ import annotations

import warnings

import pytest
import torch
from helpers import assert_grads_agree, assert_program_agrees, assert_same, ours, randn, raw, same_bits, theirs
from hypothesis import given
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

import tapegrad
from tapegrad import FreedTape

pytestmark = pytest.mark.usefixtures("road")

# --- graphs ---


def fan_out_twice(a):
    b = a + a
    c = b + b
    return c * c


def diamond(x):
    a, b = x.exp(), x * 3
    return a * b + a / (b * b + 1)


def deep_diamond(x):
    for _ in range(20):
        x = x + x * 0.5 - x.tanh() * x
    return x


def shared_operand(x):
    return x * x + x**2 - x / (x * x + 2) + (x @ x.T).sum()


def skipping(x):
    a = x * 2
    b = a + x
    c = b * a
    return c + x + a


@pytest.mark.parametrize("program", [fan_out_twice, diamond, deep_diamond, shared_operand, skipping])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_path_counts_once(program, dtype):
    assert_program_agrees(program, randn(3, 4, dtype=dtype))


def test_doubling_by_hand():
    a = tapegrad.tensor([1.0, 2.0], requires_grad=True)
    b = a + a
    c = b + b
    c.sum().backward()
    assert a.grad.tolist() == [4.0, 4.0]


def test_a_fan_out_of_a_thousand():
    def program(x):
        y = x.tanh()
        total = y * 0
        for k in range(1000):
            total = total + y * (k / 1000)
        return total

    assert_program_agrees(program, randn(5, dtype=torch.float32))


def test_a_leaf_used_a_thousand_times():
    assert_program_agrees(lambda x: sum((x * k for k in range(1000)), x), randn(5, dtype=torch.float32))


def test_a_chain_of_ten_thousand():
    def program(x):
        for _ in range(5000):
            x = (x * 1.0001).sin()
        return x

    assert_program_agrees(program, randn(3))


def test_the_output_is_a_leaf():
    x = tapegrad.tensor(2.0, requires_grad=True)
    x.backward()
    x.backward()
    assert x.grad.item() == 2.0


def test_unused_leaves_get_no_gradient():
    x, y = ours(randn(3)), ours(randn(3))
    (x * 2).sum().backward()
    assert y.grad is None


def test_constants_get_no_gradient():
    x, c = ours(randn(3)), tapegrad.tensor(randn(3))
    (x * c).sum().backward()
    assert c.grad is None
    assert not c.requires_grad


BINARY = [lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a - b, lambda a, b: a / (b * b + 1), lambda a, b: a @ b]
UNARY = [
    lambda a: a.tanh(), lambda a: a.exp() * 0.1, lambda a: -a, lambda a: a * a, lambda a: a.sum(0, keepdim=True) + a,
    lambda a: a - a.max(1, keepdim=True).values, lambda a: a[[0, 2, 2, 1]], lambda a: a.T, lambda a: a.clone(),
    lambda a: a.view(-1).view(4, 4), lambda a: a[:, :2].sum() + a, lambda a: a.mean(1) + a,
]  # fmt: skip
step = st.tuples(st.integers(0, len(BINARY) + len(UNARY) - 1), st.integers(0, 30), st.integers(0, 30))


@given(steps=st.lists(step, min_size=1, max_size=25), used=st.lists(st.integers(0, 30), min_size=1, max_size=4))
def test_random_graphs_accumulate_in_torchs_order(steps, used):
    """Sums of three or more floating point numbers depend on their order: equal bits mean the same order."""

    def program(*leaves):
        values = list(leaves)
        for which, i, j in steps:
            a, b = values[i % len(values)], values[j % len(values)]
            values.append(BINARY[which](a, b) if which < len(BINARY) else UNARY[which - len(BINARY)](a))
        total = values[-1]
        for k in used:
            total = total + values[k % len(values)]
        return total

    data = [randn(4, 4, dtype=torch.float32, seed=s) * 0.5 for s in (1, 2)]
    mine, yours = [ours(d) for d in data], [theirs(d) for d in data]
    a, b = program(*mine), program(*yours)
    assert_same(raw(a), raw(b), "value")
    v = randn(4, 4, dtype=torch.float32)
    a.backward(v)
    b.backward(v)
    assert_grads_agree(mine, yours)


# --- gradients that stay: leaves ---


def test_gradients_accumulate_over_backwards():
    mine, yours = ours(randn(3)), theirs(randn(3))
    for k in range(3):
        for x in (mine, yours):
            (x**2 * (k + 0.3)).sum().backward()
    assert same_bits(mine.grad, yours.grad)


def test_an_existing_gradient_is_added_to():
    x = ours(randn(3))
    x.grad = torch.full((3,), 10.0, dtype=torch.float64)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [12.0, 12.0, 12.0]


def test_a_gradient_is_a_plain_tensor():
    x = ours(randn(3))
    (x * 2).sum().backward()
    assert type(x.grad) is torch.Tensor
    assert not x.grad.requires_grad


ALIASING = {
    "identity": lambda x, y: x + y,
    "clone": lambda x, y: x.clone() + y.clone(),
    "expand": lambda x, y: (x.sum() + y.sum()).expand(3, 3),
    "view": lambda x, y: (x + y).view(9).view(3, 3),
    "transpose": lambda x, y: (x.T + y.T).T,
    "slices": lambda x, y: torch.cat([x[:1] + y[:1], (x + y)[1:]]),
    "cat": lambda x, y: torch.cat([x, y])[:3] + torch.cat([x, y])[3:],
    "stack": lambda x, y: torch.stack([x, y]).sum(0),
}


@pytest.mark.parametrize("name", ALIASING)
def test_no_gradient_shares_memory_with_another(name):
    """Two leaves, and the caller's cotangent: writing into one changes no other."""
    x, y = ours(randn(3, 3)), ours(randn(3, 3, seed=1))
    out = ALIASING[name](x, y)
    v = torch.ones(3, 3, dtype=torch.float64)
    out.backward(v)
    x.grad.add_(100)
    x.grad.mul_(3)
    assert v.max() == 1
    assert y.grad.max() <= 9
    y.grad.zero_()
    assert x.grad.min() >= 300
    v.zero_()
    assert x.grad.min() >= 300


@pytest.mark.parametrize("name", ALIASING)
def test_every_gradient_can_be_written_element_by_element(name):
    """No expanded view with strides of 0 is left on a leaf: ``p.grad[0, 0] = ...`` changes one element."""
    x, y = ours(randn(3, 3)), ours(randn(3, 3, seed=1))
    ALIASING[name](x, y).sum().backward()
    before = x.grad.clone()
    x.grad[0, 0] += 5
    assert (x.grad != before).sum() == 1


def test_a_leafs_gradient_survives_the_next_backward():
    x = ours(randn(3))
    (x * 2).sum().backward()
    first = x.grad
    kept = first.clone()
    x.grad = None
    (x * 5).sum().backward()
    assert same_bits(first, kept)
    assert x.grad is not first


def test_the_cotangent_of_a_leaf_is_copied():
    x = ours(randn(3))
    v = randn(3, seed=1)
    x.backward(v)
    v.zero_()
    assert x.grad.abs().min() > 0


@pytest.mark.parametrize("make", [lambda x: x.T, lambda x: x[:, ::2], lambda x: x.expand(2, 3, 4), lambda x: x])
def test_gradients_of_leaves_in_any_layout(make):
    assert_program_agrees(lambda x: x * 2 + x.sum(), make(randn(3, 4)))


# --- gradients that stay: computed tensors ---


def test_retain_grad():
    x = ours(randn(3))
    y = x * 2
    z = y.exp()
    y.retain_grad()
    assert y.retains_grad
    assert not z.retains_grad
    z.sum().backward()
    assert y.grad is not None
    with pytest.warns(UserWarning, match=r"only if you call retain_grad\(\) first"):
        assert z.grad is None
    assert_same(y.grad, z.data, "gradient of y")


def test_reading_a_gradient_that_no_walk_leaves_warns():
    """Where torch warns, and nowhere else."""
    for x, c in ((ours(randn(3)), ours(randn(3), False)), (theirs(randn(3)), theirs(randn(3), False))):
        y, z, constant = x * 2, x * 3, c * 2
        y.retain_grad()
        with pytest.warns(UserWarning, match="grad"):
            assert z.grad is None
        z.grad = torch.ones(3).double()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert all(t.grad is None for t in (x, c, y, constant))
            assert z.grad.tolist() == [1.0, 1.0, 1.0]


def test_retained_gradients_accumulate_as_torchs_do():
    mine, yours = ours(randn(3)), theirs(randn(3))
    grads = []
    for x in (mine, yours):
        y = x * 2
        y.retain_grad()
        z = y.exp().sum()
        z.backward(retain_graph=True)
        z.backward()
        grads.append(y.grad)
    assert_same(*grads, "retained gradient after two backwards")
    assert_same(mine.grad, yours.grad, "gradient of the leaf")


def test_retain_grad_after_use_and_twice():
    x = ours(randn(3))
    y = x * 2
    z = y.exp().sum()
    y.retain_grad()
    y.retain_grad()
    z.backward()
    assert_same(y.grad, y.data.exp(), "gradient of y")


def test_a_retained_gradient_shares_no_memory():
    x = ours(randn(3))
    a = x + 0.0
    b = a.clone()
    c = b + 0.0
    for t in (a, b, c):
        t.retain_grad()
    v = torch.ones(3, dtype=torch.float64)
    c.backward(v)
    a.grad.zero_()
    assert b.grad.min() == c.grad.min() == x.grad.min() == v.min() == 1


def test_retain_grad_of_a_dropped_tensor_costs_nothing():
    x = ours(randn(3))
    y = x * 2
    y.retain_grad()
    z = y.sum()
    del y
    z.backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_retain_grad_on_a_leaf_does_nothing():
    x = ours(randn(3))
    x.retain_grad()
    assert not x.retains_grad
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_retain_grad_needs_grad():
    with pytest.raises(RuntimeError, match="requires_grad"):
        tapegrad.tensor(1.0).retain_grad()


def test_the_loss_itself_can_retain_its_gradient():
    x = ours(randn(3))
    loss = (x * 2).sum()
    loss.retain_grad()
    loss.backward()
    assert loss.grad.item() == 1.0


# --- walking twice ---


def test_a_second_backward_says_what_to_do():
    x = ours(randn(3))
    y = (x * 2).exp().sum()
    y.backward()
    with pytest.raises(FreedTape, match="retain_graph=True"):
        y.backward()


def test_a_backward_into_a_freed_part():
    x = ours(randn(3))
    shared = (x * 2).exp()
    shared.sum().backward()
    with pytest.raises(FreedTape, match="exp"):
        (shared * 3).sum().backward()


def test_a_failed_second_backward_leaves_gradients_alone():
    x = ours(randn(3))
    y = (x * 2).exp().sum()
    y.backward()
    before = x.grad.clone()
    with pytest.raises(FreedTape):
        y.backward()
    assert same_bits(x.grad, before)


def test_retain_graph():
    mine, yours = ours(randn(3)), theirs(randn(3))
    for x in (mine, yours):
        y = (x * 2).exp().sum()
        y.backward(retain_graph=True)
        y.backward(retain_graph=True)
        y.backward()
    assert_same(mine.grad, yours.grad, "gradient")


def test_gradients_of_computed_tensors_do_not_survive():
    """A second walk starts from nothing: micrograd's sums went wrong here."""
    x = ours(randn(3))
    y = (x * 2).exp().sum()
    y.backward(retain_graph=True)
    first, x.grad = x.grad, None
    y.backward()
    assert same_bits(first, x.grad)


# --- starting points ---


def test_a_cotangent_can_be_given():
    mine, yours = ours(randn(2, 3)), theirs(randn(2, 3))
    v = randn(2, 3, seed=1)
    for x in (mine, yours):
        (x * x).backward(v)
    assert_same(mine.grad, yours.grad, "gradient")
    third = ours(randn(2, 3))
    (third * third).backward(gradient=tapegrad.tensor(v))
    assert_same(third.grad, yours.grad, "gradient from a Tensor as cotangent")


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_element_needs_no_cotangent(shape):
    x = ours(randn(*shape))
    (x * 3).backward()
    assert x.grad.flatten().tolist() == [3.0]
    assert x.grad.shape == shape


def test_several_elements_need_a_cotangent():
    with pytest.raises(RuntimeError, match=r"scalar outputs.*\(3,\)"):
        (ours(randn(3)) * 2).backward()


@pytest.mark.parametrize(
    "v", [torch.ones(2, dtype=torch.float64), torch.ones(3, 1, dtype=torch.float64), torch.ones(3, dtype=torch.float32)]
)
def test_a_cotangent_must_fit(v):
    with pytest.raises(RuntimeError, match=r"expected \(3,\) torch.float64"):
        (ours(randn(3)) * 2).backward(v)


def test_backward_from_a_constant():
    with pytest.raises(RuntimeError, match="does not require grad"):
        tapegrad.tensor(1.0).backward()
    with torch.no_grad():
        y = ours(randn(3)).sum()
    with pytest.raises(RuntimeError, match="does not require grad"):
        y.backward()


# --- backward(inputs=) ---


def test_inputs_get_gradients_and_others_do_not():
    x, y = ours(randn(3)), ours(randn(3))
    (x * y).sum().backward(inputs=[x])
    assert same_bits(x.grad, y.data)
    assert y.grad is None


def test_a_single_input():
    x, y = ours(randn(3)), ours(randn(3))
    (x * y).sum().backward(inputs=x)
    assert x.grad is not None
    assert y.grad is None


def test_computed_inputs_get_their_gradient():
    mine, yours = ours(randn(3)), theirs(randn(3))
    grads = []
    for x in (mine, yours):
        y = x * 2
        y.exp().sum().backward(inputs=[y])
        if x is yours:
            y.retain_grad()
        grads.append(y.grad if x is mine else torch.autograd.grad((y * 1).exp().sum(), y)[0])
    assert_same(*grads, "gradient of y")
    assert mine.grad is None


def test_a_computed_inputs_gradient_is_not_the_cotangent():
    x = ours(randn(3))
    y = x * 2
    v = torch.ones(3, dtype=torch.float64)
    y.backward(v, inputs=[y, x])
    v.zero_()
    y.grad.mul_(5)
    assert y.grad.tolist() == [5.0, 5.0, 5.0]
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_inputs_must_be_there_and_require_grad():
    x = ours(randn(3))
    with pytest.raises(RuntimeError, match="empty"):
        (x * 2).sum().backward(inputs=[])
    with pytest.raises(RuntimeError, match=r"inputs\[1\].*does not require grad"):
        (x * 2).sum().backward(inputs=[x, tapegrad.tensor(1.0)])


def test_only_the_paths_to_the_inputs_are_walked():
    """The rule of ``y``'s side would raise: it is never called."""

    @tapegrad.rule(x=lambda g: 1 / 0)
    def explosive(x):
        return x * 1

    x, y = ours(randn(3)), ours(randn(3))
    loss = (x * 2 + explosive(y)).sum()
    loss.backward(inputs=[x], retain_graph=True)
    assert x.grad.tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(ZeroDivisionError):
        loss.backward()


# --- grad() ---


def test_grad_returns_and_leaves_grad_alone():
    x, y = ours(randn(3)), ours(randn(3, seed=1))
    gx, gy = tapegrad.grad((x * y).sum(), [x, y])
    assert same_bits(gx, y.data)
    assert same_bits(gy, x.data)
    assert x.grad is None
    assert y.grad is None
    assert type(gx) is torch.Tensor


def test_grad_of_one_input_is_a_tuple():
    x = ours(randn(3))
    (g,) = tapegrad.grad((x * 2).sum(), x)
    assert g.tolist() == [2.0, 2.0, 2.0]


def test_grad_of_a_repeated_input():
    x = ours(randn(3))
    a, b = tapegrad.grad((x * 2).sum(), [x, x])
    assert same_bits(a, b)


def test_grad_of_a_computed_input():
    x = ours(randn(3))
    y = x * 2
    gy, gx = tapegrad.grad(y.exp().sum(), [y, x])
    assert_same(gy, y.data.exp(), "gradient of y")
    assert_same(gx, gy * 2, "gradient of x")


def test_grad_of_the_output_itself():
    x = ours(randn())
    y = x * 2
    (g,) = tapegrad.grad(y, y)
    assert g.item() == 1.0


def test_grad_of_an_unused_input():
    x, y = ours(randn(3)), ours(randn(2, 2))
    with pytest.raises(RuntimeError, match=r"inputs\[1\], of shape \(2, 2\).*allow_unused=True"):
        tapegrad.grad((x * 2).sum(), [x, y])
    gx, gy = tapegrad.grad((x * 2).sum(), [x, y], allow_unused=True)
    assert gy is None
    assert gx is not None


def test_grad_of_several_outputs():
    mine, yours = ours(randn(3)), theirs(randn(3))
    v = [randn(3, seed=1), None]
    gradients = [
        module.grad([x * x, x.exp().sum()], [x], v)[0]
        for module, x in ((tapegrad, mine), (torch.autograd, yours))
    ]  # fmt: skip
    assert_same(*gradients, "gradient")


def test_grad_of_an_output_that_another_depends_on():
    mine, yours = ours(randn(3)), theirs(randn(3))
    results = []
    for module, x in ((tapegrad, mine), (torch.autograd, yours)):
        a = x * x
        b = a.exp()
        results.append(module.grad([a, b], [x, a], [randn(3, seed=1), randn(3, seed=2)]))
    assert_same(list(results[0]), list(results[1]), "gradients")


def test_grad_of_a_repeated_output():
    x = ours(randn())
    y = x * 3
    (g,) = tapegrad.grad([y, y], [x])
    assert g.item() == 6.0


def test_grad_outputs_must_match():
    x = ours(randn(3))
    with pytest.raises(RuntimeError, match="1 outputs but 2"):
        tapegrad.grad(x.sum(), x, [None, None])
    with pytest.raises(RuntimeError, match="expected"):
        tapegrad.grad(x * 2, x, torch.ones(2))


def test_grad_frees_the_tape_as_torch_does():
    x = ours(randn(3))
    y = (x * x).sum()
    tapegrad.grad(y, x)
    with pytest.raises(FreedTape):
        tapegrad.grad(y, x)
    y = (x * x).sum()
    tapegrad.grad(y, x, retain_graph=True)
    tapegrad.grad(y, x)


def test_results_of_grad_share_no_memory():
    x, y = ours(randn(3)), ours(randn(3))
    v = torch.ones(3, dtype=torch.float64)
    gx, gy = tapegrad.grad(x + y, [x, y], v)
    gx.zero_()
    assert gy.min() == v.min() == 1


# --- higher orders ---


def test_create_graph():
    mine, yours = ours(randn(3)), theirs(randn(3))
    results = []
    for module, x in ((tapegrad, mine), (torch.autograd, yours)):
        (first,) = module.grad((x**3).sum(), x, create_graph=True)
        assert first.requires_grad
        (second,) = module.grad((first**2).sum(), x, create_graph=True)
        (third,) = module.grad(second.sum(), x)
        results.append([raw(first), raw(second), third])
    assert type(first) is torch.Tensor
    assert_same(*results, "derivatives", rtol=1e-12)


def test_create_graph_gives_tensors_even_of_constants():
    """The gradient of a linear function takes no gradient in its turn, and is a Tensor all the same."""
    x, y, unused = ours(randn(3)), ours(randn(3, seed=1)), ours(randn(3))
    gx, gy, none = tapegrad.grad((x * 2 + y.exp()).sum(), [x, y, unused], create_graph=True, allow_unused=True)
    assert type(gx) is type(gy) is tapegrad.Tensor
    assert not gx.requires_grad
    assert gy.requires_grad
    assert gx.tolist() == [2.0, 2.0, 2.0]
    assert none is None
    assert tapegrad.tape((gx * gy).sum()).leaves == [y]
    (itself,) = tapegrad.grad(x, x, torch.ones(3).double(), create_graph=True)
    assert type(itself) is tapegrad.Tensor
    (plain,) = tapegrad.grad((x * 2).sum(), x)
    assert type(plain) is torch.Tensor


def test_five_derivatives_of_a_sine():
    x = tapegrad.tensor(torch.tensor(0.7, dtype=torch.float64), requires_grad=True)
    y = x.sin()
    for expected in (0.7648421872844885, -0.644217687237691, -0.7648421872844885, 0.644217687237691):
        (y,) = tapegrad.grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(expected, rel=1e-12)


def test_create_graph_leaves_the_tape():
    x = ours(randn(3))
    y = (x**3).sum()
    tapegrad.grad(y, x, create_graph=True)
    y.backward()
    assert x.grad is not None


def test_a_gradient_penalty_reaches_the_weights():
    """The gradient's norm is part of the loss, as in a WGAN."""
    results = []
    for module, wrap in ((tapegrad, ours), (torch.autograd, theirs)):
        x, w = wrap(randn(4, 3)), wrap(randn(3, 2, seed=1))
        out = (x @ w).tanh().sum()
        (g,) = module.grad(out, x, create_graph=True)
        loss = ((g**2).sum(1).sqrt() - 1).square().mean() + out
        loss.backward()
        results.append([w.grad, x.grad])
    assert_same(*results, "gradients", rtol=1e-12)


def test_a_hessian_vector_product():
    mine = ours(randn(4))
    (g,) = tapegrad.grad((mine**4).sum(), mine, create_graph=True)
    (hv,) = tapegrad.grad(g, mine, torch.ones(4, dtype=torch.float64))
    assert_same(hv, 12 * mine.data**2, "12 x^2", rtol=1e-12)


def test_cotangents_are_differentiated():
    x, v = ours(randn(3)), ours(randn(3, seed=1))
    (g,) = tapegrad.grad(x.exp(), x, v, create_graph=True)
    (gv,) = tapegrad.grad(g.sum(), v)
    assert_same(gv, x.data.exp(), "d(v exp x)/dv")


# --- grad mode ---


def test_nothing_is_recorded_under_no_grad():
    x = ours(randn(3))
    with torch.no_grad():
        y = x * 2
        with torch.enable_grad():
            z = x * 3
    assert not y.requires_grad
    assert y.is_leaf
    assert z.requires_grad


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_grad_modes_as_decorators(mode):
    x = ours(randn(3))

    @mode()
    def evaluate():
        return x * 2

    assert not evaluate().requires_grad


def test_backward_works_under_no_grad():
    x = ours(randn(3))
    y = (x * 2).sum()
    with torch.no_grad():
        y.backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_backward_leaves_the_grad_mode_alone():
    x = ours(randn(3))
    y = (x * 2).sum()
    y.backward(retain_graph=True)
    assert torch.is_grad_enabled()
    with torch.no_grad():
        tapegrad.grad(y, x, create_graph=True)
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("program", "copies"),
    [(lambda x, y: x * y, 0), (lambda x, y: x @ y, 0), (lambda x, y: x + y, 2), (lambda x, y: (x + y) * 2, 1)],
)
def test_a_leafs_gradient_is_copied_only_where_it_is_shared(program, copies):
    class Counting(TorchFunctionMode):
        clones = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.clones += func is torch.Tensor.clone
            return func(*args, **(kwargs or {}))

    x, y = ours(randn(3, 3)), ours(randn(3, 3))
    out = program(x, y)
    with Counting() as counting:
        out.backward(torch.ones(3, 3, dtype=out.dtype))
    assert counting.clones == copies
    assert x.grad.data_ptr() != y.grad.data_ptr()


def test_gradients_of_a_walk_in_inference_mode_share_nothing():
    x, y, w = ours(torch.ones(1, 2)), ours(torch.ones(2)), torch.tensor([3.0, 4.0])
    for _ in range(2):
        loss = ((x.view(2) + y) * w).sum()
        with torch.inference_mode():
            loss.backward()
    assert x.grad.tolist() == [[6.0, 8.0]]
    assert y.grad.tolist() == [6.0, 8.0]


def test_a_hook_that_removes_itself_keeps_a_gradient_of_its_own():
    x, seen = ours(randn(3)), []

    def hook(g):
        seen.append(g)
        handle.remove()

    handle = x.register_hook(hook)
    (x * 2).sum().backward()
    assert seen[0].data_ptr() != x.grad.data_ptr()
