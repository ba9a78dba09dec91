"""Each misuse of the tape: what happens, and what torch does."""

from __future__ import annotations

from dataclasses import dataclass

import tapegrad


@dataclass(frozen=True)
class Raises:
    """An error.

    Attributes:
        kind: its class.
        text: how its message begins, or what is in it.
    """

    kind: type[Exception]
    text: str


@dataclass(frozen=True)
class Gives:
    """No error.

    Attributes:
        words: what happens instead, for the page.
        check: an expression in the code's variables that is true then.
    """

    words: str
    check: str


@dataclass(frozen=True)
class Fault:
    """A misuse.

    Attributes:
        code: statements, of which the last may fail. They know ``x`` and ``w``, leaves of three elements that
            require grad, ``c``, one that does not, ``p``, a parameter of torch's, and the library's ``grad`` and
            ``tensor``.
        here: what tapegrad does.
        torch: what torch does; None if it has nothing of the kind.
    """

    code: str
    here: Raises | Gives
    torch: Raises | Gives | None


FREED = Raises(RuntimeError, "Trying to backward through the graph a second time")
STALE = Raises(RuntimeError, "modified by an inplace operation")
BOTH_CHANGE = "changes both, and records it"
LEAF = Raises(RuntimeError, "a leaf Variable that requires grad is being used in an in-place operation")

FAULTS: dict[str, list[Fault]] = {
    "Walking": [
        Fault("y = (x * x).sum(); y.backward(); y.backward()", Raises(tapegrad.FreedTape, "retain_graph=True"), FREED),
        Fault(
            "y = (x + x).sum(); y.backward(); y.backward()",
            Raises(tapegrad.FreedTape, "as it passed sum"),
            Gives("adds again, for these ops had saved nothing", "x.grad.tolist() == [4, 4, 4]"),
        ),
        Fault(
            "h = x.exp(); h.sum().backward(); (h * 2).sum().backward()",
            Raises(tapegrad.FreedTape, "as it passed exp (3,)"),
            FREED,
        ),
        Fault(
            "h = x.exp(); h.sum().backward(); g = grad((w + h).sum(), w)",
            Raises(tapegrad.FreedTape, "exp (3,)"),
            Gives("gives the gradient, for the way to `w` is free", "g[0].tolist() == [1, 1, 1]"),
        ),
        Fault(
            "h = x.exp(); h.sum().backward(inputs=[h]); h.backward(h.grad)",
            Gives("goes on from `h`: what lies behind it was not walked", "x.grad.tolist() == x.exp().tolist()"),
            FREED,
        ),
        Fault("c.sum().backward()", Raises(RuntimeError, "does not require grad"), Raises(RuntimeError, "grad_fn")),
        Fault(
            "with torch.no_grad(): y = x.sum()\ny.backward()",
            Raises(RuntimeError, "compute outside torch.no_grad()"),
            Raises(RuntimeError, "does not require grad and does not have a grad_fn"),
        ),
        Fault(
            "(x * x).backward()",
            Raises(RuntimeError, "only for scalar outputs, this one has shape (3,)"),
            Raises(RuntimeError, "grad can be implicitly created only for scalar outputs"),
        ),
        Fault(
            "(x * x).backward(torch.ones(2))",
            Raises(RuntimeError, "expected (3,) torch.float32 on cpu, got (2,)"),
            Raises(RuntimeError, "Mismatch in shape"),
        ),
        Fault(
            "(x * x).backward(torch.ones(3, dtype=torch.float64))",
            Raises(RuntimeError, "got (3,) torch.float64 on cpu"),
            Gives("casts it", "x.grad.dtype is torch.float32"),
        ),
        Fault(
            "(x * x).backward(torch.ones(3, device='meta'))",
            Raises(RuntimeError, "got (3,) torch.float32 on meta"),
            Raises(RuntimeError, "expected device"),
        ),
        Fault("(x * x).sum().backward(1.0)", Raises(TypeError, "not float"), Raises(TypeError, "iterable")),
        Fault(
            "(x * x).sum().backward(inputs=[])",
            Raises(RuntimeError, "inputs is empty"),
            Raises(RuntimeError, "cannot be empty"),
        ),
        Fault("grad((x * x).sum(), [])", Raises(RuntimeError, "inputs is empty"), Raises(RuntimeError, "be empty")),
        Fault(
            "grad((x * x).sum(), [x, w])",
            Raises(RuntimeError, "do not depend on inputs[1], of shape (3,); pass allow_unused=True"),
            Raises(RuntimeError, "appears to not have been used in the graph"),
        ),
        Fault(
            "grad((x * c).sum(), [x, c])",
            Raises(RuntimeError, "inputs[1], of shape (3,), does not require grad"),
            Raises(RuntimeError, "does not require grad"),
        ),
        Fault(
            "grad([x.sum(), w.sum()], [x], [torch.tensor(1.0)])",
            Raises(RuntimeError, "2 outputs but 1 grad_outputs"),
            Raises(RuntimeError, "got 2 tensors and 1 gradients"),
        ),
    ],
    "Values that changed": [
        Fault(
            "y = (x * w).sum()\nwith torch.no_grad(): x += 1\ny.backward()",
            Raises(tapegrad.StaleTensor, "mul needs its input, of shape (3,)"),
            STALE,
        ),
        Fault(
            "y = (x * w).sum(); x.data.add_(1); y.backward()",
            Raises(tapegrad.StaleTensor, "mul needs its input"),
            Gives("takes the new values, which are wrong", "w.grad.tolist() == [2, 3, 4]"),
        ),
        Fault(
            "y = x.exp(); y.detach().zero_(); y.sum().backward()",
            Raises(tapegrad.StaleTensor, "exp needs its output, of shape (3,)"),
            STALE,
        ),
        Fault(
            "y = (x * c).sum(); c[1:].zero_(); y.backward()",
            Raises(tapegrad.StaleTensor, "mul needs its other"),
            STALE,
        ),
        Fault(
            "i = torch.tensor([0, 1]); y = x[i].sum(); i += 1; y.backward()",
            Raises(tapegrad.StaleTensor, "getitem needs its index, of shape (2,)"),
            STALE,
        ),
        Fault(
            "y = (x + c).sum(); c.zero_(); y.backward()",
            Gives("no matter: nothing needs `c`", "x.grad.tolist() == [1, 1, 1]"),
            Gives("no matter", "x.grad.tolist() == [1, 1, 1]"),
        ),
        Fault(
            "a = np.ones(3, np.float32); y = (x * torch.from_numpy(a)).sum(); a[:] = 7; y.backward()",
            Gives("cannot be noticed: numpy tells nobody that it writes", "x.grad.tolist() == [7, 7, 7]"),
            Gives("cannot be noticed", "x.grad.tolist() == [7, 7, 7]"),
        ),
        Fault(
            "h = x.exp(); h += 1; h.sum().backward()",
            Gives("is right: `h` stands for a new buffer", "(x.grad == x.exp()).all()"),
            STALE,
        ),
        Fault(
            "y = (x * 2).sum(); x.requires_grad_(False); x += w; y.backward()",
            Raises(RuntimeError, "was changed in place after it was used, by add"),
            Raises(RuntimeError, "leaf variable has been moved into the graph interior"),
        ),
    ],
    "Changes in place": [
        Fault("x += 1", Raises(tapegrad.InPlaceError, "add_(): a leaf that requires grad"), LEAF),
        Fault("x[0] = 0.0", Raises(tapegrad.InPlaceError, "__setitem__(): a leaf that requires grad"), LEAF),
        Fault(
            "h = x * 2; v = h[1:]; v.mul_(w[1:])",
            Raises(tapegrad.InPlaceError, "mul_(): this tensor, of shape (2,), shares its memory with another"),
            Gives(BOTH_CHANGE, "h.tolist() == [2, 16, 36]"),
        ),
        Fault(
            "h = x * 2; v = h[1:]; h += w",
            Raises(tapegrad.InPlaceError, "add_(): this tensor, of shape (3,), shares its memory with another"),
            Gives(BOTH_CHANGE, "v.tolist() == [8, 12]"),
        ),
        Fault(
            "h = x * 2; d = h.detach(); h += w",
            Raises(tapegrad.InPlaceError, "shares its memory with another"),
            Gives("changes both", "d.tolist() == [5, 8, 12]"),
        ),
        Fault(
            "a = np.zeros(3, np.float32); t = tensor(torch.from_numpy(a)); t += x",
            Raises(tapegrad.InPlaceError, "shares its memory with another"),
            Gives("changes the array", "a.tolist() == [1, 2, 3]"),
        ),
        Fault(
            "a = c.numpy(); c += x",
            Raises(tapegrad.InPlaceError, "shares its memory with another"),
            Gives("changes the array", "a.tolist() == [2, 4, 6]"),
        ),
        Fault(
            "h = x * 2; d = h.data; h += w",
            Gives("`d`, taken from inside, stays as it is", "d.tolist() == [2, 4, 6]"),
            Gives("changes both", "d.tolist() == [5, 8, 12]"),
        ),
        Fault(
            "h = x * 2; d = h.data; d += 1",
            Gives("changes both, and does not record it", "h.tolist() == [3, 5, 7]"),
            Gives("changes both, and does not record it", "h.tolist() == [3, 5, 7]"),
        ),
        Fault(
            "b = torch.zeros(3); s, t = tensor(b), tensor(b); s += 1",
            Gives("changes all three, which share their memory", "t.tolist() == b.tolist() == [1, 1, 1]"),
            Gives("changes all three, which are one", "s is t is b and b.tolist() == [1, 1, 1]"),
        ),
        Fault(
            "b = torch.zeros(3); s, t = tensor(b), tensor(b); s += x",
            Raises(tapegrad.InPlaceError, "shares its memory with another"),
            Gives("changes all three, which are one, and records it", "s is t is b and b.tolist() == [1, 2, 3]"),
        ),
        Fault(
            "h = x * 2; h += torch.ones(2, 3)",
            Raises(RuntimeError, "add_(): the result has shape (2, 3), which does not fit in (3,)"),
            Raises(RuntimeError, "doesn't match the broadcast shape"),
        ),
        Fault(
            "t = torch.zeros(3); t[0] = x[0]",
            Raises(tapegrad.InPlaceError, "would be written into a plain torch.Tensor"),
            Gives("records it", "t.requires_grad"),
        ),
        Fault(
            "h = x * 2; h[[0, 0, 1]] = h",
            Gives("writes on a copy", "h.tolist() == [4, 6, 6]"),
            Raises(RuntimeError, "refer to a single memory location"),
        ),
        Fault(
            "with torch.no_grad(): v = x[0]\nv.mul_(2)",
            Gives("changes `x`, as under no_grad: `v` is a constant", "x.tolist() == [2, 2, 3]"),
            Raises(RuntimeError, "A view was created in no_grad mode"),
        ),
        Fault(
            "with torch.no_grad(): v = x[1:]\ny = v * 2",
            Gives("`v` is a constant", "not y.requires_grad"),
            Gives("`v` is a leaf of its own that requires grad, cut off from `x`", "y.requires_grad"),
        ),
    ],
    "Tensors of torch's that require grad": [
        Fault("x * (p * 1)", Raises(tapegrad.ForeignTensor, "mul(): other, of shape (3,), requires grad under"), None),
        Fault("(p * 1) * x", Raises(tapegrad.ForeignTensor, "mul(): other, of shape (3,), requires grad under"), None),
        Fault("torch.cat([x, p * 1])", Raises(tapegrad.ForeignTensor, "cat(): tensors, of shape (3,)"), None),
        Fault("c += p * 1", Raises(tapegrad.ForeignTensor, "add_(): an argument"), None),
        Fault("c[0] = p[0]", Raises(tapegrad.ForeignTensor, "__setitem__(): an argument"), None),
        Fault("torch.heaviside(c, p * 1)", Raises(tapegrad.ForeignTensor, "heaviside(): "), None),
        Fault("tensor(p)", Raises(tapegrad.ForeignTensor, "tensor(): data, of shape (3,)"), None),
        Fault("x.data = p", Raises(tapegrad.ForeignTensor, "Tensor.data(): value"), None),
        Fault("(x * x).backward(p)", Raises(tapegrad.ForeignTensor, "backward(): gradient"), None),
        Fault(
            "with torch.no_grad(): y = x * p",
            Gives("is fine: nothing is recorded", "not y.requires_grad"),
            Gives("is fine", "not y.requires_grad"),
        ),
    ],
    "What may require grad, and when": [
        Fault(
            "tensor(torch.ones(3, dtype=torch.int64)).requires_grad_()",
            Raises(RuntimeError, "only floating point"),
            Raises(RuntimeError, "only Tensors of floating point"),
        ),
        Fault(
            "h = x * 2; h.requires_grad = False",
            Raises(RuntimeError, "use .detach()"),
            Raises(RuntimeError, "you can only change requires_grad flags of leaf variables"),
        ),
        Fault(
            "with torch.inference_mode(): t = tensor(torch.ones(3)) * 2\nt.requires_grad_()",
            Raises(RuntimeError, "made in torch.inference_mode()"),
            Raises(RuntimeError, "Setting requires_grad=True on inference tensor"),
        ),
        Fault(
            "with torch.inference_mode(): t = tensor(torch.ones(3)) * 2\nx * t",
            Raises(RuntimeError, "mul(): other, of shape (3,), was made in torch.inference_mode()"),
            Raises(RuntimeError, "Inference tensors cannot be saved for backward"),
        ),
        Fault(
            "with torch.inference_mode(): t = tensor(torch.ones(3)) * 2\n(x + t).sum().backward()",
            Gives("is fine: nothing needs it", "x.grad.tolist() == [1, 1, 1]"),
            Gives("is fine", "x.grad.tolist() == [1, 1, 1]"),
        ),
        Fault(
            "y = (x * 2).sum(); x.requires_grad_(False); y.backward()",
            Gives("leaves no gradient on `x`", "x.grad is None"),
            Gives("leaves no gradient on `x`", "x.grad is None"),
        ),
        Fault("c.retain_grad()", Raises(RuntimeError, "does not require grad"), Raises(RuntimeError, "retain_grad")),
        Fault(
            "c.register_hook(print)",
            Raises(RuntimeError, "does not require grad"),
            Raises(RuntimeError, "cannot register a hook"),
        ),
        Fault("x.numpy()", Raises(RuntimeError, "t.detach().numpy()"), Raises(RuntimeError, "tensor.detach().numpy()")),
    ],
    "Gradients": [
        Fault(
            "b = torch.ones(3); s, t = tensor(b, True), tensor(b, True); (s * t).sum().backward()",
            Gives("two leaves, with a gradient each", "s.grad.tolist() == t.grad.tolist() == [1, 1, 1]"),
            Gives("one leaf, with the sum", "s is t and t.grad.tolist() == [2, 2, 2]"),
        ),
        Fault("x.grad = torch.ones(2)", Raises(RuntimeError, "expected (3,)"), Raises(RuntimeError, "assign")),
        Fault(
            "x.grad = torch.ones(3, dtype=torch.float64)",
            Raises(RuntimeError, "got (3,) torch.float64"),
            Raises(RuntimeError, "assign"),
        ),
        Fault("x.grad = 1.0", Raises(TypeError, "got float"), Raises(TypeError, "got grad of type float")),
        Fault(
            "x.grad = torch.ones(3); x.data = torch.ones(2); x.sum().backward()",
            Gives("the old gradient is gone with the old data", "x.grad.tolist() == [1, 1]"),
            Raises(RuntimeError, "The size of tensor a (3) must match"),
        ),
        Fault(
            "x.register_hook(lambda g: g.sum()); x.sum().backward()",
            Raises(RuntimeError, "a hook must keep the gradient's shape"),
            Raises(RuntimeError, "has changed the size of value"),
        ),
        Fault(
            "x.register_hook(lambda g: g.double()); x.sum().backward()",
            Raises(RuntimeError, "a hook must keep the gradient's shape, dtype"),
            Raises(RuntimeError, "has changed the type of value"),
        ),
        Fault(
            "x.register_hook(lambda g: 2); x.sum().backward()",
            Raises(TypeError, "a hook returns a gradient or None, not int"),
            Raises(TypeError, "expected Variable, but hook returned 'int'"),
        ),
    ],
    "Functions": [
        Fault(
            "torch.geqrf(x[None])[0].sum().backward()",
            Raises(tapegrad.MissingRule, "geqrf(): torch has no derivative of it either"),
            Raises(RuntimeError, "derivative for 'geqrf' is not implemented"),
        ),
        Fault(
            "torch.add(x, w, out=torch.empty(3))",
            Raises(tapegrad.MissingRule, "out= is not supported"),
            Raises(RuntimeError, "don't support automatic differentiation"),
        ),
        Fault("tensor(x)", Raises(TypeError, "is a tapegrad.Tensor already"), None),
        Fault(
            "t = torch.tensor([x.sum(), 1.0])",
            Raises(TypeError, "join them with torch.stack"),
            Gives("warns, and makes a constant of the numbers", "not t.requires_grad"),
        ),
        Fault(
            "import copy; copy.deepcopy(x * 2)",
            Raises(RuntimeError, "only leaves can be copied so"),
            Raises(RuntimeError, "Only Tensors created explicitly by the user"),
        ),
        Fault(
            "with anomaly(): (x - 1).log()",
            Raises(tapegrad.Anomaly, "log(): the output, of shape (3,), has 1 of 3"),
            Gives("looks at gradients alone", "True"),
        ),
        Fault(
            "h = (x - 1).sqrt()\nwith anomaly(): h.sum().backward()",
            Raises(tapegrad.Anomaly, "sqrt(): the gradient of input"),
            Gives("reports NaN alone, and this is inf", "x.grad[0] == torch.inf"),
        ),
        Fault(
            "torch.utils.checkpoint.checkpoint(torch.sin, x, use_reentrant=True)",
            Raises(tapegrad.MissingRule, "use tapegrad.checkpoint"),
            Gives("takes the gradient over to its own tape", "True"),
        ),
        Fault(
            "class Twice(torch.autograd.Function):\n"
            "    forward = staticmethod(lambda ctx, x: x * 2)\n"
            "    backward = staticmethod(lambda ctx, g: g * 2)\n"
            "Twice.apply(x)",
            Raises(tapegrad.MissingRule, "a torch.autograd.Function does not see tapegrad's tape"),
            Gives("takes the gradient that is given there", "True"),
        ),
        Fault(
            "torch.full_like(c, x.sum())",
            Raises(tapegrad.MissingRule, "full_like(): the result takes no gradient"),
            Raises(TypeError, "must be Number, not Tensor"),
        ),
        Fault(
            "torch.add(x, w, alpha=x.sum())",
            Raises(TypeError, "must be Number, not Tensor"),
            Raises(TypeError, "must be Number, not Tensor"),
        ),
        Fault(
            "torch.select_scatter(torch.zeros(2, 3, dtype=torch.int64), x, 0, 0)",
            Raises(tapegrad.MissingRule, "the result is of torch.int64, which takes no gradient"),
            Raises(RuntimeError, "Autograd not support dtype"),
        ),
        Fault("x.softmax()", Raises(TypeError, "dim"), Raises(TypeError, "dim")),
        Fault(
            "torch.nn.functional.kl_div(x, w, reduction='typo')",
            Raises(ValueError, "typo"),
            Raises(ValueError, "typo is not a valid value for reduction"),
        ),
        Fault(
            "a = torch.tensor(1); y = x[a:].sum(); a.zero_(); y.backward()",
            Gives("is right: a bound is a number when it is used", "x.grad.tolist() == [0, 1, 1]"),
            Gives("is right", "x.grad.tolist() == [0, 1, 1]"),
        ),
    ],
}
