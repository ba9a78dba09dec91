"""Every function of the table, with one argument of a sample call replaced by one it was not made for.

    python -m tests.provers.arguments                     every kind of replacement, all samples
    python -m tests.provers.arguments gradients complex   some kinds
    python -m tests.provers.arguments -k add              functions whose name has "add" in it

What torch refuses has to be refused. What torch accepts has to be refused, or to have torch's values and torch's
gradients: a gradient that is missing is a disagreement as well. The kinds of replacement:

* gradients: a tensor that requires grad, in the place of a constant tensor, of a number or of a default;
* complex: a complex constant, in the place of a tensor or a number;
* refusals: a misspelt string, a dim out of range, a tensor of another rank or dtype, an argument that is left out;
* changed: dims, bounds and sizes given as tensors, which are changed between the forward and the backward pass.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F

import tapegrad
from tapegrad.engine.op import Op
from tapegrad.engine.table import TABLE
from tests.provers.samples import SAMPLES, Call

Function = Callable[..., Any]
Path = tuple[Any, ...]  # where a value stands in (args, kwargs): an index or a name for each level
RTOL = 1e-4  # float32 among float64: this is about gradients that are missing or another function's


@dataclass(frozen=True)
class Leaf:
    """A tensor that is to require grad."""

    data: torch.Tensor


@dataclass(frozen=True)
class Changing:
    """A tensor of integers that changes after the forward pass."""

    data: torch.Tensor


@dataclass
class Trial:
    """A call with one argument replaced.

    Attributes:
        function: what is called.
        form: as a "function", a "method" or "in place".
        args, kwargs: its arguments, a Leaf for each tensor that requires grad.
        what: which argument was replaced, and by what.
    """

    function: Function
    form: str
    args: list[Any]
    kwargs: dict[str, Any]
    what: str

    @property
    def leaf_put_in(self) -> bool:
        """Whether it is about a tensor that requires grad: then torch may refuse what is differentiated here."""
        return "= leaf" in self.what

    def __str__(self) -> str:
        given = [_text(a) for a in self.args] + [f"{k}={_text(v)}" for k, v in self.kwargs.items()]
        return f"{name_of(self.function)} ({self.form}) with {self.what}: {', '.join(given)}"


@dataclass
class Outcome:
    """What came of a trial on one library.

    Attributes:
        error: what was raised, if anything was.
        backward: whether that was in the backward pass.
        values: the tensors and numbers of the result.
        gradients: of the leaves, None for those that have none.
    """

    error: Exception | None = None
    backward: bool = False  # whether it was raised in the backward pass
    values: list[Any] = field(default_factory=list)
    gradients: list[torch.Tensor | None] = field(default_factory=list)


def name_of(function: Function) -> str:
    return str(getattr(function, "__name__", function))


def _text(value: Any) -> str:
    if isinstance(value, Leaf):
        return f"leaf{_text(value.data)}"
    if isinstance(value, Changing):
        return f"changing {value.data.tolist()}"
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype)[6:]}{tuple(value.shape)}" if value.ndim else f"tensor({value.item()})"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_text, value))}]"
    return repr(value)


# --- places among the arguments ---


def places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Each argument, and each element of those that are sequences, in (args, kwargs)."""
    if len(path) > 1:
        yield path, value
    if isinstance(value, dict):
        for name, v in value.items():
            yield from places(v, (*path, name))
    elif isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        for i, v in enumerate(value):
            yield from places(v, (*path, i))


def replaced(value: Any, path: Path, new: Any) -> Any:
    """A copy of nested arguments with another value at one place."""
    if not path:
        return new
    first, *rest = path
    if isinstance(value, dict):
        return {**value, first: replaced(value.get(first), tuple(rest), new)}
    items = [replaced(v, tuple(rest), new) if i == first else v for i, v in enumerate(value)]
    return items if isinstance(value, list) else tuple(items)


def mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """Nested arguments with each Leaf and Changing replaced."""
    if isinstance(value, dict):
        return {k: mapped(v, function) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return type(value)([mapped(v, function) for v in value])
    if isinstance(value, slice):
        return slice(*[mapped(v, function) for v in (value.start, value.stop, value.step)])
    return function(value)


# --- running a trial ---


def called(trial: Trial, leaf: Callable[[torch.Tensor], Any]) -> tuple[list[Any], list[Any], list[torch.Tensor]]:
    """The results of a call, its leaves, and the tensors that are to change."""
    leaves: list[Any] = []
    changing: list[torch.Tensor] = []

    def enter(value: Any) -> Any:
        if isinstance(value, Leaf):
            leaves.append(leaf(value.data.clone()))
            return leaves[-1]
        if isinstance(value, Changing):
            changing.append(value.data.clone())
            return changing[-1]
        return value.clone() if isinstance(value, torch.Tensor) else value

    args, kwargs = mapped(trial.args, enter), mapped(trial.kwargs, enter)
    torch.default_generator.manual_seed(1)
    if trial.form == "function" and not isinstance(trial.function, type(torch.Tensor.view)):
        result = trial.function(*args, **kwargs)
    elif trial.form == "in place":
        result = getattr(args[0].clone(), f"{name_of(trial.function)}_")(*args[1:], **kwargs)
    else:
        result = getattr(args[0], name_of(trial.function))(*args[1:], **kwargs)
    return list(flat(result)), leaves, changing


def run(trial: Trial, leaf: Callable[[torch.Tensor], Any], grad: Callable[..., Any]) -> Outcome:
    """One call, and its gradients for random cotangents."""
    outcome = Outcome()
    try:
        values, leaves, changing = called(trial, leaf)
        outcome.values = [v.data if isinstance(v, tapegrad.Tensor) else v for v in values]
        if leaf is tapegrad_leaf:  # torch has its own answer to a change
            for tensor in changing:
                tensor.add_(1)
        outcome.backward = True
        outputs = [v for v in values if getattr(v, "requires_grad", False)]
        cotangents = [cotangent(v, i) for i, v in enumerate(values) if getattr(v, "requires_grad", False)]
        outcome.gradients = [None] * len(leaves)
        if outputs and leaves:
            outcome.gradients = list(grad(outputs, leaves, cotangents, allow_unused=True))
    except Exception as error:
        outcome.error = error
    return outcome


def refilled(arguments: Any, data: list[torch.Tensor]) -> Any:
    """Arguments with other values in their leaves."""
    values = iter(data)
    return mapped(arguments, lambda v: Leaf(next(values)) if isinstance(v, Leaf) else v)


def differences(trial: Trial, leaf: Callable[[torch.Tensor], Any], which: int) -> torch.Tensor | None:
    """The gradient of one leaf by central differences; None where the function cannot be called like that."""
    data: list[torch.Tensor] = []
    mapped((trial.args, trial.kwargs), lambda v: data.append(v.data) if isinstance(v, Leaf) else None)
    gradient = torch.zeros(data[which].numel(), dtype=torch.promote_types(data[which].dtype, torch.float64))
    axes = (1.0, 1j) if gradient.is_complex() else (1.0,)
    for i, axis in product(range(gradient.numel()), axes):
        for step in (1e-6, -1e-6):
            moved = [d.clone() for d in data]
            moved[which].view(-1)[i] += step * axis
            shifted = refilled((trial.args, trial.kwargs), moved)
            try:
                values = called(Trial(trial.function, trial.form, *shifted, trial.what), leaf)[0]
            except Exception:
                return None
            outputs = [(raw(v), i) for i, v in enumerate(values) if getattr(v, "requires_grad", False)]
            change = sum(float((v.detach() * cotangent(v, k).conj()).sum().real) for v, k in outputs)
            gradient[i] += change * axis / (2 * step)
    return gradient.reshape(data[which].shape)


def flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for v in value:
            yield from flat(v)
    else:
        yield value


def cotangent(output: Any, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(output.shape, generator=generator, dtype=output.dtype)


def tapegrad_leaf(data: torch.Tensor) -> Any:
    return tapegrad.tensor(data, requires_grad=True)


def torch_leaf(data: torch.Tensor) -> Any:
    return data.requires_grad_()


def raw(value: Any) -> Any:
    return value.data if isinstance(value, tapegrad.Tensor) else value


def disagreement(trial: Trial) -> str | None:
    """What is wrong with tapegrad's answer; None if nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine = run(trial, tapegrad_leaf, tapegrad.grad)
        if mine.error is not None:
            return None  # whatever torch says: it was refused
        yours = run(trial, torch_leaf, torch.autograd.grad)
        if yours.error is not None and not yours.backward:
            reason = str(yours.error).splitlines()[0][:150]
            knows_more = trial.leaf_put_in or "automatic differentiation" in reason  # where ours knows more
            if knows_more and None not in mine.gradients:
                return None if right(trial, mine) else f"accepted, with a wrong gradient; torch: {reason}"
            return f"accepted{', a gradient dropped' * (None in mine.gradients)}; torch: {reason}"
        if len(mine.values) != len(yours.values):
            return f"{len(mine.values)} results, torch has {len(yours.values)}"
        for a, b in zip(mine.values, yours.values, strict=True):
            if not agree(a, b):
                return f"another value: {_text(a)} beside {_text(b)}"
        if yours.error is not None:
            return None  # torch takes the call, and cannot differentiate it
        for k, (a, b) in enumerate(zip(mine.gradients, yours.gradients, strict=True)):
            if a is None and b is not None and not bool((b == 0).all()):
                return f"the gradient of leaf {k} is missing"
            if a is not None and not agree(a, torch.zeros_like(a) if b is None else b) and not right(trial, mine, k):
                return f"another gradient of leaf {k}"
    return None


def right(trial: Trial, mine: Outcome, *which: int) -> bool:
    """Whether gradients are those of central differences: torch's own may be wrong, or it may have none."""
    for k in which or range(len(mine.gradients)):
        numeric, gradient = differences(trial, tapegrad_leaf, k), mine.gradients[k]
        if numeric is None or gradient is None or gradient.dtype not in (torch.float64, torch.complex128):
            return False
        scale = float(numeric.nan_to_num(0.0, 0.0, 0.0).abs().max()) if numeric.numel() else 0.0
        if not torch.allclose(gradient, numeric, rtol=1e-4, atol=1e-6 + 1e-4 * scale):
            return False
    return True


def agree(a: Any, b: Any) -> bool:
    """Whether two results are the same up to rounding."""
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
        return type(a) is type(b) and (a == b or a != a)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not (a.is_floating_point() or a.is_complex()):
        return torch.equal(a, b)
    a, b = a.detach(), b.detach()
    scale = float(b[b.isfinite()].abs().max()) if b.isfinite().any() else 0.0
    return torch.allclose(a, b, rtol=RTOL, atol=RTOL * scale, equal_nan=True)


# --- trials ---


@dataclass(frozen=True)
class Base:
    """A sample call with its tensors made: what trials start from."""

    function: Function
    form: str
    arguments: tuple[list[Any], dict[str, Any]]

    def trial(self, path: Path, new: Any, what: str) -> Trial:
        args, kwargs = replaced(self.arguments, path, new)
        where = (self.names()[path[1]] if path[0] == 0 and path[1] < len(self.names()) else path[1], *path[2:])
        return Trial(self.function, self.form, list(args), kwargs, f"{'/'.join(map(str, where))} = {what}")

    def names(self) -> list[str]:
        return list(parameters(self.function))


def parameters(function: Function) -> dict[str, Any]:
    """The arguments of a function of the table that have a name, each with its default."""
    entry = TABLE.get(function)
    if entry is None:
        return {}
    try:
        signature = entry.signature if isinstance(entry, Op) else inspect.signature(entry)
    except (TypeError, ValueError):
        return {}
    named = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {p.name: p.default for p in named}


def bases(functions: Sequence[Function], calls: int | None, dtype: torch.dtype = torch.float64) -> Iterator[Base]:
    """Sample calls as function, method and in-place method, their tensors of some elements."""
    for function in functions:
        some = [c for c in SAMPLES.get(function, ()) if 0 < c.numel < 200]
        if calls is not None:  # the calls that give most arguments
            some = sorted(some, key=lambda c: -sum(1 for _ in places((list(c.args), c.kwargs))))[:calls]
        for call in some:
            yield from forms(function, call, dtype)


def forms(function: Function, call: Call, dtype: torch.dtype) -> Iterator[Base]:
    args, kwargs, flags = call.data(dtype)
    order = iter(flags)
    args, kwargs = mapped((args, kwargs), lambda v: Leaf(v) if isinstance(v, torch.Tensor) and next(order) else v)
    yield Base(function, "function", (list(args), kwargs))
    name = name_of(function)
    if not args or not isinstance(args[0], Leaf) or isinstance(function, type(torch.Tensor.view)):
        return
    if getattr(torch.Tensor, name, None) in TABLE and not name.startswith("_"):
        yield Base(function, "method", (list(args), kwargs))
    if hasattr(torch.Tensor, f"{name}_"):
        yield Base(function, "in place", (list(args), kwargs))


def defaults(base: Base) -> Iterator[tuple[Path, Any]]:
    """The arguments that a call leaves out, each with its default."""
    for i, (name, default) in enumerate(parameters(base.function).items()):
        if i >= len(base.arguments[0]) and name not in base.arguments[1] and default is not inspect.Parameter.empty:
            yield (1, name), default


def gradients(base: Base) -> Iterator[Trial]:
    """A tensor that requires grad, wherever there is a constant, a number or a default."""
    for path, value in [*places(base.arguments), *defaults(base)]:
        if isinstance(value, torch.Tensor):
            yield base.trial(path, Leaf(value if value.is_complex() else value.double()), "leaf of its values")
        elif isinstance(value, (bool, int, float)):
            yield base.trial(path, Leaf(torch.tensor(float(value), dtype=torch.float64)), f"leaf {float(value)}")
        elif value is None:
            yield base.trial(path, Leaf(torch.tensor(1.0, dtype=torch.float64)), "leaf 1.0")
            yield base.trial(path, Leaf(torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)), "leaf of three")


def alone(base: Base) -> Iterator[Trial]:
    """The same, where no other tensor requires grad."""
    constant = mapped(base.arguments, lambda v: v.data if isinstance(v, Leaf) else v)
    yield from gradients(Base(base.function, "function", constant))


def complexes(base: Base) -> Iterator[Trial]:
    """A complex constant, in the place of a tensor or a number."""
    for path, value in [*places(base.arguments), *defaults(base)]:
        data = value.data if isinstance(value, Leaf) else value
        if isinstance(data, torch.Tensor) and data.is_floating_point():
            yield base.trial(path, torch.complex(data, data.flip(0) if data.ndim else data + 1), "complex tensor")
        elif type(data) in (int, float):
            yield base.trial(path, complex(data, 0.5), "complex number")
            yield base.trial(path, torch.tensor(complex(data, 0.5)), "complex tensor")
        elif isinstance(data, torch.dtype) or (data is None and path[-1] == "dtype"):
            yield base.trial(path, torch.complex128, "complex dtype")


def refusals(base: Base) -> Iterator[Trial]:
    """Values that the place of an argument is not made for."""
    for path, value in [*places(base.arguments), *defaults(base)]:
        for new, what in wrong(value):
            yield base.trial(path, new, what)
    args, kwargs = base.arguments
    for i in range(len(args) if base.form == "function" else 0):
        yield Trial(base.function, base.form, [*args[:i], *args[i + 1 :]], kwargs, f"argument {i} left out")
    for name in kwargs:
        rest = {k: v for k, v in kwargs.items() if k != name}
        yield Trial(base.function, base.form, list(args), rest, f"{name} left out")
    yield Trial(base.function, base.form, list(args), {**kwargs, "typo": 1}, "an argument too many")
    yield Trial(base.function, base.form, [*args, 1], kwargs, "a number too many")


def wrong(value: Any) -> Iterator[tuple[Any, str]]:
    """What to put instead of a value, and what it is called."""
    if isinstance(value, Leaf):
        for new, what in wrong(value.data):
            yield (Leaf(new) if isinstance(new, torch.Tensor) and new.is_floating_point() else new), what
        return
    if isinstance(value, torch.Tensor):
        yield value.unsqueeze(0), "one dimension more"
        yield value.expand(2, 2, *value.shape).clone(), "two dimensions more"
        yield value.unsqueeze(-1), "one dimension more at the end"
        if value.ndim and value.shape[0]:
            yield value[0], "one dimension less"
            yield value[1:], "a row less"
        if value.ndim > 1:
            yield value.flatten(), "flattened"
        if value.ndim > 1 and value.shape[-1]:
            yield value[..., :-1], "a column less"
        yield value.new_empty(0), "an empty vector"
        if not value.is_complex():
            yield value.float() if value.dtype == torch.float64 else value.double(), "another dtype"
        yield value.real.long(), "integers"
        yield value.real > 0, "booleans"
        yield None, "None"
        yield 1.0, "a number"
        yield value.tolist(), "a list"
        if not (value.is_floating_point() or value.is_complex() or value.dtype is torch.bool):
            yield value + 100, "indices beyond the end"
            yield value - 100, "indices before the start"
    elif isinstance(value, str):
        yield "typo", "a misspelt string"
        yield "", "no string"
        yield value.upper(), "another case"
        yield None, "None"
        yield 1, "a number"
    elif isinstance(value, bool):
        yield "typo", "a string"
        yield None, "None"
        yield 2.5, "a number"
    elif isinstance(value, (int, float)):
        for new in (value + 7, -7, -1, 0, 2.5, "typo", None, [value], [value, value], [], (value,) * 5):
            yield new, repr(new)
    elif value is None:
        for new in (7, -7, 2.5, "typo", True, [0, 0], [9], []):
            yield new, repr(new)
    elif isinstance(value, (list, tuple)):
        yield value[:-1], "one element less"
        yield [*value, *value[-1:]], "the last element twice"
        yield [], "no element"
        yield None, "None"
        yield 1, "a number"
        yield "typo", "a string"
    elif isinstance(value, torch.dtype):
        yield torch.int64, "an integer dtype"
        yield "typo", "a string"


def changed(base: Base) -> Iterator[Trial]:
    """Whole numbers given as tensors, which change after the forward pass."""
    for path, value in [*places(base.arguments), *defaults(base)]:
        if type(value) is int:
            yield base.trial(path, Changing(torch.tensor(value)), "changing tensor")
        elif isinstance(value, (list, tuple)) and value and all(type(v) is int for v in value):
            yield base.trial(path, [Changing(torch.tensor(v)) for v in value], "changing tensors")
            yield base.trial(path, Changing(torch.tensor(value)), "one changing tensor")
        elif type(value) is slice:
            new = slice(*[Changing(torch.tensor(v)) if type(v) is int else v for v in (value.start, value.stop)])
            yield base.trial(path, new, "changing bounds")
        elif isinstance(value, torch.Tensor) and not value.is_floating_point() and value.dtype is not torch.bool:
            yield base.trial(path, Changing(value), "changing tensor")


def plain() -> Iterator[Base]:
    """Calls of the functions whose results take no gradient, and which have no samples."""
    x, y, n = (torch.tensor(v, dtype=torch.float64) for v in ([0.5, 1.5, 2.5], [0.5, 1.0, 3.0], 2.0))
    leaf, mask = Leaf(x), x > 1
    calls: dict[str, list[tuple[Any, ...]]] = {
        "full_like": [(leaf, 2.0), (leaf, n)], "new_full": [(leaf, (2,), 2.0), (leaf, (2,), n)],
        "new_tensor": [(leaf, 2.0), (leaf, [1.0, 2.0]), (leaf, y)], "new_zeros": [(leaf, (2,))],
        "new_ones": [(leaf, (2,))], "new_empty": [(leaf, (0,))], "zeros_like": [(leaf,)], "ones_like": [(leaf,)],
        "rand_like": [(leaf,)], "randn_like": [(leaf,)], "randint_like": [(leaf, 5), (leaf, 2, 5)],
        "isclose": [(leaf, y, 0.1, 0.1)], "allclose": [(leaf, y, 0.1, 0.1)], "equal": [(leaf, y)],
        "any": [(leaf,), (leaf, 0)], "all": [(leaf,), (leaf, 0, True)], "argmax": [(leaf,), (leaf, 0)],
        "argmin": [(leaf, 0, True)], "argsort": [(leaf, 0, True)], "count_nonzero": [(leaf, 0)],
        "searchsorted": [(leaf, y), (y, leaf)], "bucketize": [(leaf, y)], "multinomial": [(leaf, 2)],
        "nonzero": [(leaf,)], "argwhere": [(leaf,)], "signbit": [(leaf,)], "isnan": [(leaf,)], "isfinite": [(leaf,)],
        "logical_and": [(leaf, mask)], "logical_or": [(leaf, y)], "logical_xor": [(leaf, y)], "logical_not": [(leaf,)],
        **{name: [(leaf, y), (leaf, 1.0)] for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    }  # fmt: skip
    for name, several in calls.items():
        for args in several:
            for place, form in ((torch, "function"), (torch.Tensor, "method")):
                if hasattr(place, name):
                    yield Base(getattr(place, name), form, (list(args), {}))


KINDS: dict[str, Callable[[Base], Iterator[Trial]]] = {
    "gradients": gradients,
    "alone": alone,
    "complex": complexes,
    "refusals": refusals,
    "changed": changed,
}


# On bad input torch's own kernels read and write outside of their memory, and the process dies.
CRASHING = {
    *(torch.embedding_bag, F.embedding_bag, torch.gru, torch.lstm, torch.rnn_tanh, torch.rnn_relu),
    *(torch.lu_solve, torch.linalg.lu_solve, torch.lu_unpack, torch.ormqr),
    # Steps within torch's functions, which have looked at the arguments before.
    *(torch._unsafe_masked_index, torch._unsafe_masked_index_put_accumulate),
    *(torch._softmax_backward_data, torch._log_softmax_backward_data, torch.native_layer_norm),
    *(torch.native_batch_norm, torch._native_batch_norm_legit),
}


def search(kind: str, functions: Sequence[Function] | None = None, calls: int | None = None) -> Iterator[str]:
    """Every disagreement, in words.

    Args:
        kind: one of ``KINDS``, or "plain": gradients, of the functions whose results take none.
        functions: of the table; all by default.
        calls: how many samples of each function; all by default.
    """
    if kind == "plain":
        yield from _search("plain", plain(), gradients)
        return
    functions = list(SAMPLES) if functions is None else functions
    if kind == "refusals":
        functions = [f for f in functions if f not in CRASHING]
    functions = [f for f in functions if not isinstance(f, torch._ops.OpOverload)]  # torch itself crashes on bad input
    found = (base for base in bases(functions, calls) if kind != "alone" or base.form == "function")
    yield from _search(kind, found, KINDS[kind])


def _search(kind: str, calls: Iterator[Base], trials: Callable[[Base], Iterator[Trial]]) -> Iterator[str]:
    for base in calls:
        for trial in trials(base):
            if not ours(trial):
                continue
            counts[kind] = counts.get(kind, 0) + 1
            if found := disagreement(trial):
                yield f"{trial}\n    {found}"


def ours(trial: Trial) -> bool:
    """Whether the call comes to tapegrad at all: a Tensor is among the arguments, first where it is a method's."""
    method = trial.form != "function" or isinstance(trial.function, type(torch.Tensor.view))
    method = method or isinstance(trial.function, type(torch.Tensor.__pow__))
    if method and not (trial.args and isinstance(trial.args[0], (Leaf, torch.Tensor))):
        return False
    leaves: list[Leaf] = []
    mapped((trial.args, trial.kwargs), lambda v: leaves.append(v) if isinstance(v, Leaf) else None)
    return bool(leaves)


counts: dict[str, int] = {}  # how many trials were made, of each kind


def main() -> int:
    """Search, and print what is found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, "plain", []], help="kinds of replacement; all by default")
    parser.add_argument("-k", default="", help="only functions whose name has this in it")
    parser.add_argument("--calls", type=int, default=None, help="samples of each function; all by default")
    options = parser.parse_args()
    functions = [f for f in SAMPLES if options.k in name_of(f)]
    found = 0
    for kind in options.kinds or [*KINDS, "plain"]:
        for text in search(kind, functions, options.calls):
            print(f"{kind}: {text}", flush=True)
            found += 1
        print(f"{kind}: {counts.get(kind, 0)} trials")
    print(f"{found} disagreements")
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
