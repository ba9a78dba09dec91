"""A compiled function does what the function does: the same bits, and the same things to everything around it."""

import threading
import warnings

import pytest
import torch
import torch.nn.functional as F

import tapegrad
from tapegrad import CompileError, StaleTensor, tensor
from tapegrad.engine import backward
from tapegrad.plan import compiled


def leaves(*shapes, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [tensor(torch.randn(*shape, generator=g), requires_grad=True) for shape in shapes]


def twins(*shapes, seed=0):
    return leaves(*shapes, seed=seed), leaves(*shapes, seed=seed)


def same(a, b):
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    a, b = (t.data if isinstance(t, tapegrad.Tensor) else t for t in (a, b))
    return a is b is None or (a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b))


def mlp(W, b, x):
    return (torch.tanh(x @ W + b) ** 2).mean()


X = torch.randn(5, 3, generator=torch.Generator().manual_seed(7))


@pytest.fixture(params=["interpreter", "python"], autouse=True)
def executor(request, monkeypatch):
    """Both ways of running a program."""
    if request.param == "python":
        monkeypatch.setattr("tapegrad.plan.program.can_lower", lambda: False)


def check(function, shapes, args=(), calls=4, seed=0):
    """Several calls and backward passes, compiled and eager."""
    ours, theirs = twins(*shapes, seed=seed)
    step = tapegrad.compile(function)
    for i in range(calls):
        a, b = step(*ours, *args), function(*theirs, *args)
        assert same(a, b), i
        a.backward()
        b.backward()
        assert same([p.grad for p in ours], [p.grad for p in theirs]), i
    return step


def test_gradients_are_equal_to_the_bit_and_accumulate():
    step = check(mlp, [(3, 4), (4,)], [X])
    assert len(step._ready) == 1


def test_it_is_a_decorator_too():
    @tapegrad.compile
    def f(x):
        """A square."""
        return (x * x).sum()

    @tapegrad.compile
    def g(x):
        return f(x) * 2  # one within the other

    (x,) = leaves((3,))
    for _ in range(3):
        x.grad = None
        g(x).backward()
        assert same(x.grad, 4 * x.data)
    assert (f.__name__, f.__doc__) == ("f", "A square.")
    assert f(x).requires_grad


def test_methods_can_be_compiled():
    class Net:
        def __init__(self):
            (self.W,) = leaves((3, 2))

        @tapegrad.compile
        def loss(self, x):
            return (x @ self.W).sum()

    net, other = Net(), Net()
    other.W.data.mul_(2)
    for _ in range(3):
        for n in (net, other):
            assert same(n.loss(X), (X @ n.W).sum())


def test_a_second_forward_before_the_first_backward():
    (W, b), (V, c) = twins((3, 4), (4,))
    step = tapegrad.compile(mlp)
    step(W, b, X)
    one, two = step(W, b, X), step(W, b, X * 2)
    three = step(W, b, X * 3)
    for loss, x in ((two, X * 2), (one, X), (three, X * 3)):
        loss.backward()
        mlp(V, c, x).backward()
        assert same([W.grad, b.grad], [V.grad, c.grad])


def test_results_and_gradients_that_are_kept_stay_as_they_are():
    def f(W, x):
        h = torch.tanh(x @ W)
        return h.detach(), h.sum()

    (W,), (V,) = twins((3, 4))
    step = tapegrad.compile(f)
    kept, expected = [], []
    for i in range(6):
        W.grad = V.grad = None
        (h, loss), (k, other) = step(W, X + i), f(V, X + i)
        loss.backward()
        other.backward()
        kept += [h, loss, W.grad]
        expected += [k, other, V.grad]
    assert same(kept, expected)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("name", ["max", "min", "amax", "sum", "mean", "norm", "logsumexp"])
def test_a_reduction_is_the_one_that_was_recorded(name, shape):
    """``max`` into a buffer and ``max`` of two tensors take as many arguments."""

    def f(x):
        y = x.logsumexp(-1) if name == "logsumexp" else getattr(x, name)()
        return (y * 2).sum()

    x, z = (tapegrad.tensor(torch.full(shape, 0.5), requires_grad=True) for _ in range(2))
    if shape:
        x.data[-1] = z.data[-1] = 1.5
    step = tapegrad.compile(f)
    for _ in range(4):
        for leaf in (x, z):
            leaf.grad = None
        mine, yours = step(x), f(z)
        assert same([mine], [yours])
        mine.backward()
        yours.backward()
        assert same([x.grad], [z.grad])
        for leaf in (x, z):
            leaf.data += 1


def test_a_number_that_takes_a_gradient():
    def f(scale, x):
        return (torch.tanh(scale) * x).sum()

    s, r = (tapegrad.tensor(0.5, requires_grad=True) for _ in range(2))
    step = tapegrad.compile(f)
    for i in range(4):
        step(s, X + i).backward()
        f(r, X + i).backward()
        assert same([s.grad], [r.grad])
    assert not s.grad.is_meta


def test_a_result_from_which_another_was_computed():
    """A gradient, a hook or retain_grad() there finds what it would without a plan, for there is none."""

    def f(W, x):
        logits = x @ W
        return (logits**2).mean(), logits

    (W,), (V,) = twins((3, 4))
    step = tapegrad.compile(f)
    with pytest.warns(UserWarning, match=r"return the first as x\.detach\(\)"):
        step(W, X)
    for _ in range(3):
        for how in ("grad", "retain_grad", "hook"):
            found = []
            for function, w in ((step, W), (f, V)):
                loss, logits = function(w, X)
                if how == "grad":
                    found.append(tapegrad.grad(loss, logits, allow_unused=True)[0])
                elif how == "retain_grad":
                    logits.retain_grad()
                    loss.backward()
                    found.append(logits.grad)
                else:
                    seen = []
                    logits.register_hook(seen.append)
                    loss.backward()
                    found += seen
            assert len(found) == 2
            assert same(found[:1], found[1:])


def test_the_way_out_of_it_is_planned(monkeypatch):
    def f(W, x):
        logits = x @ W
        return (logits**2).mean(), logits.detach()

    (W,), (V,) = twins((3, 4))
    step = tapegrad.compile(f)
    step(W, X)[0].backward()
    f(V, X)[0].backward()
    monkeypatch.setattr(step, "function", None)
    loss, logits = step(W, X + 1)
    loss.backward()
    other, expected = f(V, X + 1)
    other.backward()
    assert same([W.grad, loss, logits], [V.grad, other, expected])


def test_gradients_held_across_steps_are_added_to_in_place():
    step = tapegrad.compile(mlp)
    W, b = leaves((3, 4), (4,))
    step(W, b, X).backward()
    held, first = W.grad, W.grad.clone()
    for n in range(2, 5):
        step(W, b, X).backward()
        assert W.grad is held
        assert torch.allclose(held, first * n)


def test_parameters_may_change_in_place_or_be_replaced_between_calls():
    step = tapegrad.compile(mlp)
    ours, theirs = twins((3, 4), (4,))
    for i in range(6):
        a, b = step(*ours, X), mlp(*theirs, X)
        a.backward()
        b.backward()
        assert same(a, b)
        for p, q in zip(ours, theirs, strict=True):
            assert same(p.grad, q.grad)
            if i % 2:
                p.data += -0.1 * p.grad
                q.data += -0.1 * q.grad
            else:
                p.data = p.data - 0.1 * p.grad
                q.data = q.data - 0.1 * q.grad
            p.grad = q.grad = None
    assert len(step._ready) == 1


def test_torch_optim():
    step = tapegrad.compile(mlp)
    ours, theirs = twins((3, 4), (4,))
    optimizers = [torch.optim.Adam([p.data for p in side], lr=0.1) for side in (ours, theirs)]
    for _ in range(5):
        step(*ours, X).backward()
        mlp(*theirs, X).backward()
        for side, optimizer in zip((ours, theirs), optimizers, strict=True):
            for p in side:
                p.data.grad = p.grad
            optimizer.step()
            for p in side:
                p.data.grad = p.grad = None
        assert same([p.data for p in ours], [p.data for p in theirs])


def test_a_value_changed_between_forward_and_backward_is_noticed():
    step = tapegrad.compile(lambda x: (x * x).sum())
    (x,) = leaves((3,))
    step(x)
    for walk in (lambda loss: loss.backward(), lambda loss: loss.backward(retain_graph=True)):
        loss = step(x)
        x.data.add_(1)
        with pytest.raises(StaleTensor, match="changed in place"):
            walk(loss)
    step(x).backward()  # and the next call is fine


def test_a_returned_tensor_changed_before_backward_is_noticed():
    step = tapegrad.compile(lambda x: torch.exp(x))
    (x,) = leaves((3,))
    step(x)
    out = step(x)
    out.data.zero_()
    with pytest.raises(StaleTensor):
        out.sum().backward()


def test_retain_graph_and_a_freed_tape():
    (W, b), (V, c) = twins((3, 4), (4,))
    step = tapegrad.compile(mlp)
    step(W, b, X)
    loss, other = step(W, b, X), mlp(V, c, X)
    for t in (loss, other):
        t.backward(retain_graph=True)
        t.backward(retain_graph=True)
        t.backward()
        with pytest.raises(tapegrad.FreedTape):
            t.backward()
    assert same([W.grad, b.grad], [V.grad, c.grad])


def test_grad_and_cotangents_of_any_layout():
    def f(W, x):
        return torch.tanh(x @ W) * W.sum()

    (W,), (V,) = twins((3, 4))
    step = tapegrad.compile(f)
    step(W, X)
    g = torch.randn(4, 5).t()
    for cotangent in (torch.ones(5, 4), g, torch.ones(()).expand(5, 4), g, torch.ones(5, 4)):
        for _ in range(2):
            assert same(
                tapegrad.grad(step(W, X), W, grad_outputs=cotangent), tapegrad.grad(f(V, X), V, grad_outputs=cotangent)
            )


def test_ops_before_and_after_and_more_uses_of_the_same_tensor():
    def f(h, W):
        return torch.sin(h @ W) * W.mean() + W.sum()

    step = tapegrad.compile(f)
    (W, x), (V, y) = twins((4, 4), (3, 4))
    for _ in range(4):
        out = [(step(torch.tanh(x @ W), W) * 3 + W.sum(0)).sum() + (x @ W).prod()]
        out += [(f(torch.tanh(y @ V), V) * 3 + V.sum(0)).sum() + (y @ V).prod()]
        for t in out:
            t.backward()
        assert same([*out, W.grad, x.grad][::2], [*out, V.grad, y.grad][::2])
        assert same([W.grad, x.grad], [V.grad, y.grad])


def test_several_outputs_with_any_of_them_walked():
    def f(W, b, x):
        h = x @ W
        return {"h": torch.tanh(h), "more": (h.sum() + b.sum(), [b * 2, 7, "text", x])}

    def losses(out):
        a, (b, (c, *_)) = out["h"], out["more"]
        return [a.sum(), b, (c * c).sum(), a.sum() + b, b + c.sum(), a.sum() + b + c.sum()]

    step = tapegrad.compile(f)
    (W, b), (V, c) = twins((3, 4), (4,))
    step(W, b, X)
    for _ in range(2):
        for i in range(6):
            W.grad = b.grad = V.grad = c.grad = None
            losses(step(W, b, X))[i].backward()
            losses(f(V, c, X))[i].backward()
            assert same([W.grad, b.grad], [V.grad, c.grad]), i
    out = step(W, b, X)
    assert out["more"][1][1:3] == [7, "text"]
    assert out["more"][1][3] is X


def test_outputs_that_are_arguments_views_or_take_no_gradient():
    def f(x, n):
        return x, x.view(-1), n + 1, (x > 0), x.detach() * 2, x.argmax()

    (x,) = leaves((2, 3))
    n = torch.arange(3)
    step = tapegrad.compile(f)
    for _ in range(3):
        out, expected = step(x, n), f(x, n)
        assert out[0] is x
        assert [type(t) for t in out] == [type(t) for t in expected]
        assert same(out, expected)
        assert out[1].data.data_ptr() == x.data.data_ptr()
        assert [getattr(t, "requires_grad", False) for t in out] == [True, True, False, False, False, False]


def test_hooks_on_inputs_and_results():
    (W, b), (V, c) = twins((3, 4), (4,))
    step = tapegrad.compile(mlp)
    step(W, b, X).backward()
    mlp(V, c, X).backward()
    seen = []
    for p in (W, V):
        p.register_hook(lambda g: seen.append(g.clone()) or g * 2)
    for loss in (step(W, b, X), mlp(V, c, X)):
        loss.register_hook(lambda g: g * 3)
        loss.retain_grad()
        loss.backward()
        seen.append(loss.grad)
    assert same(seen[:2], seen[2:])
    assert same([W.grad, b.grad], [V.grad, c.grad])


def test_grad_of_computed_inputs_and_unused_inputs():
    step = tapegrad.compile(lambda h, unused: (h * h).sum())
    (x, u) = leaves((3,), (2,))
    for _ in range(3):
        h = torch.sin(x)
        loss = step(h, u)
        gh, gu = tapegrad.grad(loss, [h, u], allow_unused=True, retain_graph=True)
        assert gu is None
        assert same(gh, 2 * h.data)
        loss.backward()
        assert u.grad is None


def test_no_grad_and_inference_are_other_plans():
    (W, b) = leaves((3, 4), (4,))
    step = tapegrad.compile(mlp)
    for _ in range(3):
        assert step(W, b, X).requires_grad
        with torch.no_grad():
            out = step(W, b, X)
            assert not out.requires_grad
            assert same(out, mlp(W, b, X))
        with torch.inference_mode():
            assert same(step(W, b, X), mlp(W, b, X))
    assert len(step._ready) == 3


def test_requires_grad_decides():
    (W, b), (V, c) = twins((3, 4), (4,))
    step = tapegrad.compile(mlp)
    for frozen in (False, True, False, True):
        b.requires_grad = c.requires_grad = not frozen
        W.grad = b.grad = V.grad = c.grad = None
        step(W, b, X).backward()
        mlp(V, c, X).backward()
        assert same([W.grad, b.grad], [V.grad, c.grad])
    assert len(step._ready) == 2


def test_captured_tensors_are_inputs_and_captured_numbers_are_watched():
    (W,) = leaves((3, 4))
    scale, state, box = torch.ones(4), {"k": 2.0}, [torch.zeros(4)]

    def f(x):
        return ((x @ W) * scale * state["k"] + box[0]).sum()

    step = tapegrad.compile(f)
    for i in range(8):
        W.grad = None
        a = step(X)
        a.backward()
        got, W.grad = W.grad, None
        b = f(X)
        b.backward()
        assert same([a, got], [b, W.grad]), i
        if i == 1:
            scale.mul_(3)
        if i == 2:
            box[0] = torch.ones(4)
        if i == 3:
            state["k"] = 5.0
        if i == 4:
            W = tensor(W.data * 2, requires_grad=True)
        if i == 5:
            scale = torch.full((4,), 0.5)
        if i == 6:
            box.append(1)
    assert len(step._ready) <= 3


def test_a_global_function_that_is_replaced(monkeypatch):
    step = tapegrad.compile(lambda x: helper(x).sum())
    (x,) = leaves((3,))
    step(x)
    assert same(step(x), torch.sin(x).sum())
    monkeypatch.setitem(globals(), "helper", torch.cos)
    assert same(step(x), torch.cos(x).sum())
    assert same(step(x), torch.cos(x).sum())


def helper(x):
    return torch.sin(x)


def test_the_same_tensor_twice_is_another_plan():
    def f(x, y):
        return (x * y + x).sum()

    (x, y), (u, v) = twins((3,), (3,))
    step = tapegrad.compile(f)
    for a, b, c, d in ((x, y, u, v), (x, x, u, u), (x, y, u, v), (x, x, u, u), (y, x, v, u)) * 2:
        x.grad = y.grad = u.grad = v.grad = None
        step(a, b).backward()
        f(c, d).backward()
        assert same([x.grad, y.grad], [u.grad, v.grad])
    assert len(step._ready) == 2


def test_two_leaves_on_one_tensor():
    data = torch.randn(3)
    x, y = tensor(data, requires_grad=True), tensor(data, requires_grad=True)
    step = tapegrad.compile(lambda x, y: (x * x * y).sum())
    for _ in range(3):
        x.grad = y.grad = None
        step(x, y).backward()
        assert same([x.grad, y.grad], [(data * data).mul(2), data * data])
    assert len(step._ready) == 1


def test_other_shapes_dtypes_strides_and_values_are_other_plans():
    def f(x, power, how="sum"):
        return getattr(x**power, how)()

    step = tapegrad.compile(f)
    base = torch.randn(3, 4)
    calls = [
        (base, 2),
        (base.t(), 2),
        (base.double(), 2),
        (base, 3),
        (base, 2.0),
        (base[:, ::2], 2),
        (base, 0.0),
        (base, -0.0),
    ]
    for _ in range(2):
        for data, power in calls:
            x, y = (tensor(data, requires_grad=True) for _ in "ab")
            a, b = step(x, power), f(y, power)
            assert same(a, b)
            a.backward()
            b.backward()
            assert same(x.grad, y.grad)
            assert x.grad.stride() == y.grad.stride()
    assert len(step._ready) == 8
    x = tensor(base, requires_grad=True)
    with pytest.warns(UserWarning, match="power keeps changing"):
        assert same(step(x, 7), f(x, 7))


def test_a_shape_that_keeps_changing_is_warned_of_and_the_number_of_plans_bounded():
    (W,) = leaves((3, 4))
    step = tapegrad.compile(lambda W, batch: (batch @ W).sum())
    with pytest.warns(UserWarning, match=r"batch, of shape \(8, 3\) now and \(7, 3\) before, keeps changing"):
        found = [(step(W, torch.ones(n, 3)), (torch.ones(n, 3) @ W).sum()) for n in range(20)]
    assert all(same(ours, theirs) for ours, theirs in found)
    assert len(step._ready) == compiled.MOST


def test_random_numbers_are_drawn_anew_from_the_same_generator_in_the_same_order():
    own = torch.Generator().manual_seed(3)

    def f(x):
        y = F.dropout(x, 0.5) + torch.rand(3) + torch.randn(3, generator=own)
        unused = torch.rand(2)  # noqa: F841 - drawn all the same
        return (y * torch.empty(3).uniform_(generator=own)).sum()

    (x,), (y,) = twins((4, 3))
    step = tapegrad.compile(f)
    ours, theirs = [], []
    for side, run, t in ((ours, step, x), (theirs, f, y)):
        torch.manual_seed(1)
        own.manual_seed(3)
        for _ in range(5):
            out = run(t)
            out.backward()
            side += [out, t.grad.clone()]
        side.append(torch.rand(1))
    assert same(ours, theirs)
    assert not same(ours[0], ours[2])
    assert not same(ours[2], ours[4])


def test_running_statistics_are_updated():
    def f(x, mean, var):
        return F.batch_norm(x, mean, var, training=True).pow(2).sum()

    (x,), (y,) = twins((6, 3))
    ours, theirs = ([torch.zeros(3), torch.ones(3)] for _ in "ab")
    step = tapegrad.compile(f)
    for _ in range(4):
        step(x, *ours).backward()
        f(y, *theirs).backward()
        assert same([*ours, x.grad], [*theirs, y.grad])
    assert ours[0].abs().sum() > 0


def test_changes_in_place_inside():
    def f(x, buffer):
        y = x * 2
        y += 1
        y[0] = 5.0
        buffer.add_(1)
        with torch.no_grad():
            z = y.data.clone()
            z.mul_(2).unsqueeze_(0)
        return (y * z * buffer).sum()

    (x,), (y,) = twins((3, 3))
    a, b = torch.zeros(3), torch.zeros(3)
    step = tapegrad.compile(f)
    for _ in range(4):
        step(x, a).backward()
        f(y, b).backward()
        assert same([x.grad, a], [y.grad, b])


def test_an_exception_half_way_leaves_everything_usable():
    def f(table, index):
        return torch.tanh(table)[index].sum()

    (x,), (y,) = twins((4, 3))
    step = tapegrad.compile(f)
    good, bad = torch.tensor([0, 3, -1]), torch.tensor([0, 9, 1])
    step(x, good)
    for _ in range(2):
        kept = step(x, good)
        with pytest.raises((IndexError, RuntimeError), match="out of"):
            step(x, bad)
        kept.backward()
        f(y, good).backward()
        assert same(x.grad, y.grad)


def test_threads():
    step = tapegrad.compile(mlp)
    shapes = [(3, 4), (4,)]
    step(*leaves(*shapes), X)
    failures = []

    def work(seed):
        ours, theirs = twins(*shapes, seed=seed)
        for i in range(50):
            x = X * (i + seed)
            a, b = step(*ours, x), mlp(*theirs, x)
            a.backward(retain_graph=bool(i % 3))
            b.backward()
            if not same([a, *[p.grad for p in ours]], [b, *[p.grad for p in theirs]]):
                failures.append((seed, i))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_a_rule_that_changes_makes_other_plans():
    @tapegrad.rule(x=lambda g: g * 2)
    def twice(x):
        return x.clone()

    step = tapegrad.compile(lambda x: twice(x).sum())
    (x,) = leaves((3,))
    for _ in range(3):
        step(x)
    tapegrad.kernel(twice, x=lambda g: g * 3)
    for _ in range(3):
        x.grad = None
        step(x).backward()
        assert same(x.grad, torch.full((3,), 3.0))


def test_detect_anomaly_sees_each_op():
    step = tapegrad.compile(lambda x: torch.log(x).sum())
    (x,) = leaves((3,))
    x.data.abs_()
    step(x)
    step(x)
    x.data[0] = -1
    with tapegrad.detect_anomaly(), pytest.raises(tapegrad.Anomaly, match="log"):
        step(x)


def test_autocast_and_half():
    def f(W, x):
        return torch.tanh(x @ W).sum()

    for dtype in (torch.bfloat16, torch.float16):
        x, y = (
            tensor(torch.randn(3, 4, generator=torch.Generator().manual_seed(1)).to(dtype), requires_grad=True)
            for _ in "ab"
        )
        step = tapegrad.compile(f)
        for _ in range(3):
            step(x, X.to(dtype)).backward()
            f(y, X.to(dtype)).backward()
            assert same(x.grad, y.grad)


def test_a_walk_put_before_that_of_plans_is_asked_once(monkeypatch):
    """As autocast and DDP put theirs; compiling another function after that must not make a circle."""
    x = tensor(torch.ones(3), requires_grad=True)
    step = tapegrad.compile(lambda x: (x * x).sum())
    step(x).backward()
    walk, asked = backward.written_walk, []
    monkeypatch.setattr(backward, "written_walk", lambda *args: asked.append(1) or walk(*args))
    other = tapegrad.compile(lambda x: (x * x * x).sum())
    for f in (other, other, step, lambda x: (x + x).sum()):
        x.grad = None
        f(x).backward()
    assert x.grad.tolist() == [2, 2, 2]
    assert len(asked) == 4


# --- what a plan cannot hold ---


def f_item(x):
    return x * x.sum().item()


def f_if(x):
    return x if x.sum() > 0 else -x


def f_print(x):
    print(x)
    return x * 2


def f_list(x):
    return x * x.detach().tolist()[0]


def f_numpy(x):
    return x * float(x.detach().numpy()[0])


def f_mask(x):
    return x[x > 0].sum()


def f_nonzero(x):
    return x.sum() * torch.nonzero(x.data).shape[0]


def f_caught(x):
    try:
        return x * x.sum().item()
    except RuntimeError:
        return x * 2


@pytest.mark.parametrize("function", [f_item, f_if, f_print, f_list, f_numpy, f_mask, f_nonzero, f_caught])
def test_what_depends_on_elements_is_refused_at_its_line(function):
    step = tapegrad.compile(function)
    (x,) = leaves((3,))
    for _ in range(2):
        with pytest.raises(CompileError, match=r"test_compile\.py:\d+: "):
            step(x)


def test_what_keeps_a_tensor_is_refused():
    kept = []

    def f(x):
        h = torch.tanh(x)
        kept.append(h)
        return (h * h).sum()

    (x,) = leaves((3,))
    with pytest.raises(CompileError, match=r"kept by something outside.*\n.*torch\.tanh"):
        tapegrad.compile(f)(x)


def test_tensors_that_it_cannot_find_are_refused():
    hidden = {"iterator": iter([torch.ones(3)] * 3)}
    (x,) = leaves((3,))
    with pytest.raises(CompileError, match="pass it as an argument"):
        tapegrad.compile(lambda x: (x * next(hidden["iterator"])).sum())(x)
    with pytest.raises(CompileError, match="make leaves outside"):
        tapegrad.compile(lambda x: (x * tensor(torch.ones(3), requires_grad=True)).sum())(x)


def test_results_that_cannot_be_rebuilt_are_refused():
    (x,) = leaves((3,))
    with pytest.raises(CompileError, match="returned a set"):
        tapegrad.compile(lambda x: {x})(x)


def test_hooks_inside_are_refused():
    def f(x):
        y = x * 2
        y.register_hook(print)
        return y.sum()

    (x,) = leaves((3,))
    with pytest.raises(CompileError, match="hook"):
        tapegrad.compile(f)(x)


def test_gradients_of_gradients_are_refused():
    (x,) = leaves((3,))
    step = tapegrad.compile(lambda x: (x**3).sum())
    step(x)
    with pytest.raises(CompileError, match="create_graph"):
        tapegrad.grad(step(x), x, create_graph=True)


def test_what_is_no_function():
    with pytest.raises(TypeError, match="function"):
        tapegrad.compile(3)


def test_no_warning_is_given_for_what_is_fine():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(mlp, [(3, 4), (4,)], [X])
