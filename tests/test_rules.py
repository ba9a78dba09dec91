"""Every entry of the rule table, on every sample call, against torch.autograd and against finite differences."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, copy, ours, raw, theirs
from samples import SAMPLES, Call

import tapegrad
from tapegrad.op import TABLE, Op

FLOATS = (torch.float32, torch.float64)
SMALL = 12  # elements: finite differences run the function four times for each


def name_of(function: Callable[..., Any]) -> str:
    """The name that a user would write."""
    for place, prefix in ((torch, "torch"), (torch.Tensor, "torch.Tensor"), (F, "F"), (torch.special, "torch.special")):
        if getattr(place, function.__name__, None) is function:
            return f"{prefix}.{function.__name__}"
    return f"{'operator.' if function in vars(operator).values() else ''}{function.__name__}"


def is_torchs(function: Callable[..., Any]) -> bool:
    """Whether torch has it, and not tapegrad or a test."""
    return name_of(function) != function.__name__


CASES = [(function, i, call) for function, calls in SAMPLES.items() for i, call in enumerate(calls)]
IDS = [f"{name_of(function)}-{i}({call})" for function, i, call in CASES]
each_call = pytest.mark.parametrize(("function", "i", "call"), CASES, ids=IDS)


def as_called(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method is called on its object, which may be a Tensor of ours."""
    if not isinstance(function, type(torch.Tensor.view)):
        return function
    return lambda x, *args, **kwargs: getattr(x, function.__name__)(*args, **kwargs)


class Run:
    """One call, made on one library.

    Attributes:
        leaves: the tensors that take a gradient.
        result: what the function returned.
        outputs: the parts of it that carry a gradient.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        call: Call,
        leaf: Callable[..., Any],
        dtype: torch.dtype,
        *,
        only: int | None = None,
        layout: Callable[[torch.Tensor], torch.Tensor] = lambda x: x,
        wrap_constants: bool = False,
    ) -> None:
        args, kwargs, is_leaf = call.data(dtype)
        flags = iter(is_leaf)
        self.leaves: list[Any] = []
        count = -1

        def enter(value: Any) -> Any:
            nonlocal count
            if isinstance(value, torch.Tensor):
                if not next(flags):
                    return tapegrad.tensor(value) if wrap_constants and value.is_floating_point() else value
                count += 1
                if only is not None and count != only:
                    return layout(value)
                self.leaves.append(leaf(layout(value)))
                return self.leaves[-1]
            if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
                return type(value)([enter(v) for v in value])
            return value

        args, kwargs = [enter(a) for a in args], {k: enter(v) for k, v in kwargs.items()}
        torch.manual_seed(1)  # for dropout
        self.result = as_called(function)(*args, **kwargs)
        parts = self.result if isinstance(self.result, (tuple, list)) else (self.result,)
        self.outputs = [p for p in parts if isinstance(p, (torch.Tensor, tapegrad.Tensor)) and p.requires_grad]

    def cotangents(self) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(7)
        return [torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.dtype) for o in self.outputs]


def both(function: Callable[..., Any], call: Call, dtype: torch.dtype, **options: Any) -> tuple[Run, Run]:
    wrap = options.pop("wrap_constants", False)
    return (
        Run(function, call, ours, dtype, wrap_constants=wrap, **options),
        Run(function, call, theirs, dtype, **options),
    )


def tolerance(call: Call, dtype: torch.dtype) -> dict[str, float]:
    """None, or as many roundings as the sample declares."""
    widest = torch.finfo(dtype).eps * call.rtol
    return {"rtol": widest, "atol": widest} if call.reason else {}


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


@pytest.mark.parametrize("dtype", FLOATS, ids=["float32", "float64"])
@each_call
def test_value_and_gradient_are_torchs(function, i, call, dtype):
    mine, yours = both(function, call, dtype)
    assert type(mine.result) is type(yours.result) or isinstance(mine.result, tapegrad.Tensor)
    assert_same(raw(mine.result), raw(yours.result), "value", **tolerance(call, dtype))
    assert len(mine.outputs) == len(yours.outputs)
    assert_same(*backward(mine, yours), "gradient", **tolerance(call, dtype))


SEVERAL = [case for case in zip(CASES, IDS, strict=True) if len(case[0][2].data(torch.float32)[2]) > 1]


@pytest.mark.parametrize(("function", "i", "call"), [c for c, _ in SEVERAL], ids=[name for _, name in SEVERAL])
def test_each_input_alone(function, i, call):
    """The others are constants: plain torch tensors, on either side."""
    for only in range(sum(call.data(torch.float32)[2])):
        mine, yours = both(function, call, torch.float32, only=only, wrap_constants=True)
        assert_same(raw(mine.result), raw(yours.result), "value", **tolerance(call, torch.float32))
        assert_same(*backward(mine, yours), f"gradient of leaf {only} alone", **tolerance(call, torch.float32))


# --- (2, 3) finite differences, and gradients of gradients ---



def smooth(call: Call) -> bool:
    """Whether finite differences can judge a call."""
    return not call.at_kink and 0 < call.numel <= SMALL and not call.has_float32


SMOOTH = [(case, name) for case, name in zip(CASES, IDS, strict=True) if smooth(case[2])]


@pytest.mark.parametrize(("function", "i", "call"), [c for c, _ in SMOOTH], ids=[name for _, name in SMOOTH])
def test_finite_differences(function, i, call):
    """First and second order."""
    run = Run(function, call, ours, torch.float64)

    def of_leaves(*leaves):
        supply = iter(leaves)
        again = Run(function, call, lambda value: next(supply), torch.float64)
        return again.outputs[0] if len(again.outputs) == 1 else torch.cat([o.reshape(-1) for o in again.outputs])

    if run.outputs:
        assert tapegrad.gradcheck(of_leaves, run.leaves, order=2)


@each_call
def test_recorded_gradient_and_its_gradient_are_torchs(function, i, call):
    """With ``create_graph`` the formulas run, not the kernels: equal to torch's up to rounding, and so are their gradients."""
    mine, yours = both(function, call, torch.float64)
    v = mine.cotangents()
    if not mine.outputs:
        return
    v_mine, v_yours = [ours(c) for c in v], [theirs(c) for c in v]
    first = tapegrad.grad(mine.outputs, mine.leaves, v_mine, create_graph=True, allow_unused=True)
    wanted = torch.autograd.grad(yours.outputs, yours.leaves, v_yours, create_graph=True, allow_unused=True)
    close = {"rtol": 1e-4, "atol": 1e-4} if call.has_float32 else {"rtol": 1e-10, "atol": 1e-10}
    assert_same([raw(g) for g in first], [raw(g) for g in wanted], "gradient", **close)

    second = gradient_of_weighted(tapegrad.grad, first, [*mine.leaves, *v_mine])
    wanted = gradient_of_weighted(torch.autograd.grad, wanted, [*yours.leaves, *v_yours])
    for k, (a, b) in enumerate(zip(second, wanted, strict=True)):
        if a is None or b is None:  # where one library says None and the other zeros, they mean the same
            assert not (a if b is None else b).count_nonzero() if (a is not None or b is not None) else True
        else:
            assert_same(a, b, f"second gradient {k}", **close)


def gradient_of_weighted(grad, gradients, leaves):
    """The gradient of a fixed linear function of some gradients."""
    gradients = [g for g in gradients if g is not None and g.requires_grad]
    if not gradients:
        return [None] * len(leaves)
    generator = torch.Generator().manual_seed(11)
    w = [torch.randn(g.shape, generator=generator, dtype=torch.float64).to(g.dtype) for g in gradients]
    return grad(gradients, leaves, w, allow_unused=True)


# --- (4) every spelling: method, torch function, functional, in place ---


def spellings(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """What else the table knows the function as."""
    entry = TABLE.get(function)
    return [f for f, e in TABLE.items() if e is entry and f is not function and is_torchs(f)]


SPELLED = [
    (spelling, call) for function, _, call in CASES if function in TABLE for spelling in spellings(function)
]


@pytest.mark.parametrize(
    ("spelling", "call"), SPELLED, ids=[f"{name_of(s)}-{n}({c})" for n, (s, c) in enumerate(SPELLED)]
)
def test_other_spellings(spelling, call):
    """Each name does what torch's own function of that name does with the same arguments."""
    try:
        yours = Run(spelling, call, theirs, torch.float64)
    except (TypeError, RuntimeError, AttributeError, ValueError):
        with pytest.raises((TypeError, RuntimeError, AttributeError, ValueError)):
            Run(spelling, call, ours, torch.float64)
        return
    mine = Run(spelling, call, ours, torch.float64)
    assert_same(raw(mine.result), raw(yours.result), "value", **tolerance(call, torch.float64))
    assert_same(*backward(mine, yours), "gradient", **tolerance(call, torch.float64))


IN_PLACE = [
    (function, call)
    for function, _, call in CASES
    if function in TABLE and call.leaf_first and hasattr(torch.Tensor, function.__name__ + "_")
]



@pytest.mark.parametrize(("function", "call"), IN_PLACE, ids=[f"{name_of(f)}_-{n}({c})" for n, (f, c) in enumerate(IN_PLACE)])
def test_in_place_methods(function, call):
    """``x.name_(...)`` on a computed tensor does what it does on a torch tensor."""

    def method(x, *args, **kwargs):
        x = x.clone()
        y = getattr(x, function.__name__ + "_")(*args, **kwargs)
        assert y is x
        return y

    test_other_spellings(method, call)


# --- (5) layouts ---


def strided(x: torch.Tensor) -> torch.Tensor:
    """The same values, every second element of a larger buffer."""
    return torch.stack([x, x], -1)[..., 0]


def transposed(x: torch.Tensor) -> torch.Tensor:
    """The same values, stored in the opposite order of dimensions."""
    backwards = tuple(reversed(range(x.ndim)))
    return x.permute(backwards).contiguous().permute(backwards)


@pytest.mark.parametrize("layout", [strided, transposed])
@each_call
def test_layouts(function, i, call, layout):
    try:
        yours = Run(function, call, theirs, torch.float32, layout=layout)
    except RuntimeError:  # a view that this layout does not allow
        with pytest.raises(RuntimeError):
            Run(function, call, ours, torch.float32, layout=layout)
        return
    mine = Run(function, call, ours, torch.float32, layout=layout)
    assert_same(raw(mine.result), raw(yours.result), "value", **tolerance(call, torch.float32))
    assert_same(*backward(mine, yours), "gradient", **tolerance(call, torch.float32))


# --- (6) what is not recorded, and what is ---


@each_call
def test_nothing_is_recorded_under_no_grad(function, i, call):
    recorded = Run(function, call, ours, torch.float32)
    with torch.no_grad():
        mine = Run(function, call, ours, torch.float32)
    parts = mine.result if isinstance(mine.result, (tuple, list)) else [mine.result]
    for part in parts:
        if isinstance(part, tapegrad.Tensor) and not any(part is leaf for leaf in mine.leaves):
            assert part.is_leaf
            assert not part.requires_grad
    assert_same(raw(mine.result), raw(recorded.result), "value")


@each_call
def test_replay_compares_every_node(function, i, call):
    """``compare`` runs the tape again on torch: the same value, and every node's gradient exact."""
    mine = Run(function, call, ours, torch.float32)
    for out in mine.outputs:
        if not out.is_leaf:
            rows = tapegrad.compare(out, names={f"x{k}": x for k, x in enumerate(mine.leaves)})
            assert len(rows) == len(mine.leaves)
            close = max(row.maxdiff for row in rows) <= 8 * torch.finfo(torch.float32).eps * call.rtol
            assert rows.exact or (call.reason and close), rows


# --- the table is covered ---


def test_every_entry_has_samples():
    """A function in the table without samples is untested."""
    sampled = {id(TABLE[f]) for f in SAMPLES if f in TABLE}
    missing = {name_of(f) for f, entry in TABLE.items() if id(entry) not in sampled and is_torchs(f)}
    missing -= {"torch.Tensor.cuda"}  # needs another device: test_devices.py
    assert not missing


def test_every_formula_is_used():
    """Each formula of each op, internal ones included, gives a gradient in some sample's first or second order."""
    used = set()
    for function, _, call in CASES:
        if call.numel > 100 or call.has_float32:
            continue
        mine = Run(function, call, ours, torch.float64)
        if not mine.outputs:
            continue
        first = tapegrad.grad(
            mine.outputs, mine.leaves, [ours(v) for v in mine.cotangents()], create_graph=True, allow_unused=True
        )
        for t in [*mine.outputs, *first]:
            if t is not None and not t.is_leaf:
                used |= formulas_on(tapegrad.tape(t, names={}))
    declared = {(e.name, argument) for e in TABLE.values() if isinstance(e, Op) for argument in e.formulas}
    ours_alone = {e.name for f, e in TABLE.items() if isinstance(e, Op) and f.__module__.startswith("test")}
    assert not {(op, argument) for op, argument in declared - used if op not in ours_alone}


def formulas_on(tape) -> set[tuple[str, str]]:
    return {
        (record.op.name, argument)
        for record in tape
        for argument, parent in zip(record.op.parameters, record.parents, strict=True)
        if parent is not None
    }


def test_every_function_is_checked_by_finite_differences():
    """Only functions whose every result has too few bits for it go without."""
    checked = {function for (function, _, _), _ in SMOOTH}
    without = {name_of(f) for f in SAMPLES if f not in checked}
    assert without == {"torch.Tensor.float", "torch.Tensor.half", "torch.Tensor.bfloat16"}


def test_inexact_functions_are_the_documented_ones():
    """No new tolerance creeps in."""
    inexact = {name_of(function) for function, _, call in CASES if call.reason}
    assert inexact == {"F.softmax", "F.log_softmax", "F.batch_norm"}
    assert all(math.isfinite(call.rtol) and call.rtol <= 64 for _, _, call in CASES)


def test_copies_keep_their_layout():
    """The helper that all this rests on."""
    x = torch.arange(24.0).view(4, 6)[::2, 1::2].T
    y = copy(x)
    assert torch.equal(x, y)
    assert x.stride() == y.stride()
    assert x.data_ptr() != y.data_ptr()
