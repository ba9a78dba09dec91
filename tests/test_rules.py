"""Every entry of the rule table, on every sample call, against torch.autograd and against finite differences."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, copy, ours, raw, theirs
from samples import SAMPLES, Call, assigned

import tapegrad
from tapegrad.engine.op import Op
from tapegrad.engine.table import TABLE

pytestmark = [  # torch still has them, and so have we
    pytest.mark.filterwarnings("ignore:.*deprecated"),
    pytest.mark.filterwarnings("ignore:Using padding='same'"),
]

Function = Callable[..., Any]
FLOATS = (torch.float32, torch.float64)
REFUSALS = (TypeError, RuntimeError, AttributeError, ValueError, IndexError)


NAMESPACES = {
    torch: "torch",
    F: "F",
    torch.Tensor: "torch.Tensor",
    torch._C.TensorBase: "torch.Tensor",
    torch.special: "torch.special",
    torch._C._special: "torch.special",
    torch.linalg: "torch.linalg",
    torch._C._linalg: "torch.linalg",
    torch._C._nn: "torch._C._nn",
    torch.functional: "torch.functional",
}


def name_of(function: Function) -> str:
    """The name that a user would write."""
    for place, prefix in NAMESPACES.items():
        if getattr(place, function.__name__, None) is function:
            return f"{prefix}.{function.__name__}"
    return f"operator.{function.__name__}" if function in vars(operator).values() else function.__name__


def is_operator(function: Function) -> bool:
    """Whether it is one of Python's operators that torch has a function for as well."""
    return function in vars(operator).values() and function is not operator.getitem


def is_torchs(function: Function) -> bool:
    """Whether torch has it, and not tapegrad or a test."""
    return "." in name_of(function)


def for_each_call(
    check: Callable[[Function, Call], None] | None = None,
    *,
    of: Callable[[Function], bool] = lambda function: True,
    which: Callable[[list[Call]], list[Call]] = lambda calls: calls,
) -> Any:
    """Make a check of one call a test of each function, which makes all calls and reports all that fail."""
    if check is None:
        return lambda check: for_each_call(check, of=of, which=which)
    cases = {f: which(calls) for f, calls in SAMPLES.items() if of(f)}

    @pytest.mark.parametrize("function", [f for f, calls in cases.items() if calls], ids=name_of)
    def test(function: Function) -> None:
        failures = []
        for call in cases[function]:
            try:
                check(function, call)
            except Exception as error:
                failures.append((f"{name_of(function)}({call}): {type(error).__name__}: {error}", error))
        if failures:
            first = failures[0][1]
            raise AssertionError("\n".join(text for text, _ in failures)) from first

    test.__doc__ = check.__doc__
    return test


class Run:
    """One call, made on one library.

    Attributes:
        leaves: the tensors that take a gradient.
        result: what the function returned.
        outputs: the parts of it that carry a gradient.
    """

    def __init__(
        self,
        function: Function,
        call: Call,
        leaf: Callable[[torch.Tensor], Any],
        dtype: torch.dtype,
        *,
        only: int | None = None,
        layout: Callable[[torch.Tensor], torch.Tensor] = lambda x: x,
        constant: Callable[[torch.Tensor], Any] = lambda x: x,
    ) -> None:
        args, kwargs, is_leaf = call.data(dtype)
        flags = iter(is_leaf)
        self.leaves: list[Any] = []
        count = -1

        def enter(value: Any) -> Any:
            nonlocal count
            if isinstance(value, torch.Tensor):
                if not next(flags):
                    return constant(value)
                count += 1
                if only is not None and count != only:
                    return constant(layout(value))
                self.leaves.append(leaf(layout(value)))
                return self.leaves[-1]
            if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
                return type(value)([enter(v) for v in value])
            return value

        args, kwargs = [enter(a) for a in args], {k: enter(v) for k, v in kwargs.items()}
        torch.default_generator.manual_seed(1)  # for dropout; torch.manual_seed is slow
        self.result = as_called(function)(*args, **kwargs)
        parts = self.result if isinstance(self.result, (tuple, list)) else (self.result,)
        self.outputs = [p for p in parts if isinstance(p, (torch.Tensor, tapegrad.Tensor)) and p.requires_grad]

    def cotangents(self) -> list[torch.Tensor]:
        """Random numbers in the shapes of the outputs."""
        generator = torch.Generator().manual_seed(7)
        return [torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.dtype) for o in self.outputs]


def as_called(function: Function) -> Function:
    """A method is called on its object, which may be a Tensor of ours."""
    if not isinstance(function, type(torch.Tensor.view)):
        return function
    return lambda x, *args, **kwargs: getattr(x, function.__name__)(*args, **kwargs)


def assert_agrees(function: Function, call: Call, dtype: torch.dtype, **options: Any) -> None:
    """The same call gives the same values and gradients on both libraries, or both refuse it."""
    constant = options.pop("constant", lambda x: x)  # ours alone
    try:
        yours = Run(function, call, theirs, dtype, **options)
    except REFUSALS:
        with pytest.raises(REFUSALS):
            Run(function, call, ours, dtype, constant=constant, **options)
        return
    mine = Run(function, call, ours, dtype, constant=constant, **options)
    roundings = torch.finfo(dtype).eps * call.rtol
    close = {"rtol": roundings, "atol": roundings, "signed": not call.at_zero}
    assert_same(raw(mine.result), raw(yours.result), "value", **close)
    assert len(mine.outputs) == len(yours.outputs), "outputs that require grad"
    assert_same(*backward(mine, yours), "gradient", **close)


def backward(mine: Run, yours: Run) -> tuple[list[Any], list[Any]]:
    """Gradients of the leaves, by ``backward`` where there is one output."""
    v = mine.cotangents()
    if len(mine.outputs) == 1:
        mine.outputs[0].backward(v[0].clone())
        yours.outputs[0].backward(v[0].clone())
        return [x.grad for x in mine.leaves], [x.grad for x in yours.leaves]
    if not mine.outputs:
        return [], []
    return (
        list(tapegrad.grad(mine.outputs, mine.leaves, v, allow_unused=True)),
        list(torch.autograd.grad(yours.outputs, yours.leaves, v, allow_unused=True)),
    )


# --- (1) values and gradients are torch's, to the last bit ---


@for_each_call
def test_value_and_gradient_are_torchs(function, call):
    for dtype in FLOATS:
        Run(function, call, theirs, dtype)  # a sample is a call that torch accepts
        assert_agrees(function, call, dtype)


@for_each_call(which=lambda calls: [c for c in calls if len(c.data(torch.float32)[2]) > 1])
def test_each_input_alone(function, call):
    """The others are constants: Tensors without requires_grad, or plain torch tensors, on either side."""
    for only in range(sum(call.data(torch.float32)[2])):
        assert_agrees(function, call, torch.float32, only=only, constant=constant)
        if function is not assigned:  # nothing can be recorded in a plain torch tensor
            assert_agrees(function, call, torch.float32, only=only)


def constant(value: torch.Tensor) -> Any:
    """A Tensor that takes no gradient."""
    return tapegrad.tensor(value) if value.is_floating_point() else value


# --- (2, 3) finite differences, and gradients of gradients ---


def smooth(calls: list[Call]) -> list[Call]:
    """The calls that finite differences can judge, and quickly: the small ones, or else the smallest."""
    judged = [c for c in calls if not c.at_kink and not c.has_float32 and 0 < c.numel <= 100]
    return [c for c in judged if c.numel <= 12] or sorted(judged, key=lambda c: c.numel)[:1]


@for_each_call(of=lambda function: not is_operator(function), which=smooth)
def test_finite_differences(function, call):
    """First and second order."""
    run = Run(function, call, ours, torch.float64)
    assert run.outputs, "nothing is recorded"

    def of_leaves(*leaves):
        supply = iter(leaves)
        again = Run(function, call, lambda value: next(supply), torch.float64)
        return again.outputs[0] if len(again.outputs) == 1 else torch.cat([o.reshape(-1) for o in again.outputs])

    assert tapegrad.gradcheck(of_leaves, run.leaves, order=2 if call.numel <= 12 else 1)


@for_each_call(which=lambda calls: [c for c in calls if not c.at_torch])
def test_recorded_gradient_and_its_gradient_are_torchs(function, call):
    """With ``create_graph`` the formulas run, not the kernels: torch's up to rounding, and so are their gradients."""
    mine = Run(function, call, ours, torch.float64)
    yours = Run(function, call, theirs, torch.float64)
    if not mine.outputs:
        return
    v = mine.cotangents()
    v_mine, v_yours = [ours(c) for c in v], [theirs(c) for c in v]
    first = tapegrad.grad(mine.outputs, mine.leaves, v_mine, create_graph=True, allow_unused=True)
    wanted = torch.autograd.grad(yours.outputs, yours.leaves, v_yours, create_graph=True, allow_unused=True)
    close = {"rtol": 1e-4, "atol": 1e-4} if call.has_float32 else {"rtol": 1e-10, "atol": 1e-10}
    assert_same([raw(g) for g in first], [raw(g) for g in wanted], "gradient", **close)

    second = gradient_of_weighted(tapegrad.grad, first, [*mine.leaves, *v_mine])
    wanted = gradient_of_weighted(torch.autograd.grad, wanted, [*yours.leaves, *v_yours])
    for k, (a, b) in enumerate(zip(second, wanted, strict=True)):
        if a is not None and b is not None:
            assert_same(a, b, f"second gradient {k}", **close)
        else:  # where one library says None, the other may say zeros
            assert all(g is None or not g.count_nonzero() for g in (a, b)), f"second gradient {k}: {a} and {b}"


def gradient_of_weighted(grad, gradients, leaves):
    """The gradient of a fixed linear function of some gradients."""
    weighted = [
        (g, torch.randn(g.shape, generator=torch.Generator().manual_seed(11 + k), dtype=torch.float64).to(g.dtype))
        for k, g in enumerate(gradients)
        if g is not None and g.requires_grad
    ]
    if not weighted:
        return [None] * len(leaves)
    gradients, w = zip(*weighted, strict=True)
    return grad(gradients, leaves, w, allow_unused=True)


# --- (4) every spelling: method, torch function, functional, in place ---


@for_each_call(of=lambda function: function in TABLE)
def test_other_spellings(function, call):
    """Each name does what torch's own function of that name does with the same arguments, errors included."""
    for spelling, entry in TABLE.items():
        if entry is TABLE[function] and spelling is not function and is_torchs(spelling):
            assert_agrees(spelling, call, torch.float64)


@for_each_call(
    of=lambda function: function in TABLE and hasattr(torch.Tensor, function.__name__ + "_"),
    which=lambda calls: [c for c in calls if c.leaf_first],
)
def test_in_place_methods(function, call):
    """``x.name_(...)`` on a computed tensor does what it does on a torch tensor."""

    def method(x, *args, **kwargs):
        x = x.clone()
        y = getattr(x, function.__name__ + "_")(*args, **kwargs)
        assert y is x
        return y

    assert_agrees(method, call, torch.float64)


# --- (5) layouts ---


def strided(x: torch.Tensor) -> torch.Tensor:
    """The same values, every second element of a larger buffer."""
    return torch.stack([x, x], -1)[..., 0]


def transposed(x: torch.Tensor) -> torch.Tensor:
    """The same values, stored in the opposite order of dimensions."""
    backwards = tuple(reversed(range(x.ndim)))
    return x.permute(backwards).contiguous().permute(backwards)


@for_each_call
def test_layouts(function, call):
    assert_agrees(function, call, torch.float32, layout=strided)
    assert_agrees(function, call, torch.float32, layout=transposed)


# --- (6) what is not recorded, and what is ---


@for_each_call
def test_nothing_is_recorded_under_no_grad(function, call):
    with torch.no_grad():
        mine, yours = Run(function, call, ours, torch.float32), Run(function, call, theirs, torch.float32)
    parts = mine.result if isinstance(mine.result, (tuple, list)) else [mine.result]
    for part in parts:
        if isinstance(part, tapegrad.Tensor) and not any(part is leaf for leaf in mine.leaves):
            assert part.is_leaf
            assert not part.requires_grad
    assert_same(raw(mine.result), raw(yours.result), "value")


@for_each_call
def test_replay_compares_every_node(function, call):
    """``compare`` runs the tape again on torch: the same value, and every gradient exact."""
    mine = Run(function, call, ours, torch.float32)
    for out in mine.outputs:
        if not out.is_leaf:
            rows = tapegrad.compare(out, names={f"x{k}": x for k, x in enumerate(mine.leaves)})
            assert len(rows) == len(mine.leaves)
            if call.reason:
                assert max(row.maxdiff for row in rows) <= 8 * torch.finfo(torch.float32).eps * call.rtol, rows
            else:
                assert rows.exact, rows


# --- the table is covered ---


def test_every_entry_has_samples():
    """A function in the table without samples is untested; of internal ones, ``test_every_formula_is_used`` asks."""
    sampled = {id(TABLE[f]) for f in SAMPLES if f in TABLE}
    missing = {name_of(f) for f, entry in TABLE.items() if id(entry) not in sampled and is_torchs(f)}
    # torch's internals have samples under their public names; cuda() needs another device: test_devices.py.
    assert {name for name in missing if not name.startswith("torch._C.")} <= {"torch.Tensor.cuda"}


def test_every_formula_is_used():
    """Each formula of each op, internal ones included, gives a gradient in some sample's first or second order."""
    used = set()
    for function, calls in SAMPLES.items():
        for call in calls:
            if call.numel > 100 or call.has_float32:
                continue
            mine = Run(function, call, ours, torch.float64)
            if isinstance(TABLE.get(function), Op) and any(mine.result is leaf for leaf in mine.leaves):
                used |= {(TABLE[function].name, argument) for argument in TABLE[function].formulas}  # nothing to do
            if mine.outputs:
                v = [ours(v) for v in mine.cotangents()]
                first = tapegrad.grad(mine.outputs, mine.leaves, v, create_graph=True, allow_unused=True)
                for t in [*mine.outputs, *first]:
                    if t is not None and t.requires_grad and not t.is_leaf:
                        used |= formulas_on(tapegrad.tape(t, names={}))
    entries = [e for f, e in TABLE.items() if is_torchs(f) or getattr(f, "__module__", "").startswith("tapegrad")]
    declared = {(e.name, argument) for e in entries if isinstance(e, Op) for argument in e.formulas}
    assert declared <= used


def formulas_on(tape) -> set[tuple[str, str]]:
    """The op and argument of each gradient that a walk of the tape computes."""
    return {
        (record.op.name, argument)
        for record in tape
        for argument, parent in zip(record.op.parameters, record.parents, strict=True)
        if parent is not None
    }


def test_finite_differences_leave_out_only_what_says_so():
    """A function goes without only if each of its samples says why: steps, a factor that is not unique, few bits."""
    without = {f: calls for f, calls in SAMPLES.items() if f in TABLE and not smooth(calls)}
    assert {name_of(f) for f, calls in without.items() if not all(call.at_kink for call in calls)} == set()
    assert len(without) < len(SAMPLES) / 10


def test_what_a_network_is_made_of_is_exact():
    """Tolerances are for the few functions whose kernels cannot be followed; these are not among them."""
    assert all(0 < call.rtol <= 64 for calls in SAMPLES.values() for call in calls if call.reason)
    inexact = {f for f, calls in SAMPLES.items() if any(call.reason for call in calls)}
    assert len(inexact) < len(SAMPLES) / 8
    exact = [
        operator.add,
        operator.sub,
        operator.mul,
        operator.truediv,
        operator.pow,
        operator.matmul,
        operator.getitem,
    ]
    exact += [torch.tanh, torch.exp, torch.log, torch.sum, torch.mean, torch.var, torch.max, torch.sigmoid, torch.relu]
    exact += [torch.matmul, F.linear, F.embedding, torch.cat, torch.stack, torch.Tensor.view, torch.where, torch.sqrt]
    assert inexact.isdisjoint(exact)
    assert not SAMPLES[F.cross_entropy][0].reason


def test_copies_keep_their_layout():
    """The helper that all this rests on."""
    x = torch.arange(24.0).view(4, 6)[::2, 1::2].T
    y = copy(x)
    assert torch.equal(x, y)
    assert x.stride() == y.stride()
    assert x.data_ptr() != y.data_ptr()
