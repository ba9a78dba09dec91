"""``apply``, written out as source for one op.

``apply`` takes any op, and finds out at every call what there is to do. For the calls that a program makes most, of one
or two Tensors with numbers beside them, that is known beforehand: so it is written out as Python source, once for each
op, and compiled. ``print(tapegrad.fast.apply_source.text(op))`` shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import torch

from tapegrad.engine.apply import CONTINUOUS, apply
from tapegrad.engine.op import Op
from tapegrad.engine.tensor import Tensor, recorded
from tapegrad.engine.versions import PLAIN_TYPES
from tapegrad.errors import Anomaly
from tapegrad.kernels.scalar import as_tensor
from tapegrad.tracebacks import trim
from tapegrad.written import compiled, identifier


def versions(*options: Any) -> tuple[tuple[torch.Tensor, int], ...] | None:
    """The tensors in options, each with its version; None if a record cannot keep the options as they are.

    It can keep plain values, tensors and tuples of these: of NumPy's numbers, say, ``apply`` makes Python's.
    """
    found: tuple[tuple[torch.Tensor, int], ...] = ()
    try:
        for option in options:
            for value in option if type(option) is tuple else (option,):
                if type(value) is torch.Tensor:
                    found = (*found, (value, value._version))
                elif type(value) not in PLAIN_TYPES:
                    return None
    except RuntimeError:  # of torch.inference_mode(), without a version
        return None
    return found


# What the text speaks of, besides its op.
_GLOBALS = {
    "Anomaly": Anomaly,
    "CONTINUOUS": CONTINUOUS,
    "PLAIN": PLAIN_TYPES,
    "Tensor": Tensor,
    "apply": apply,
    "as_tensor": as_tensor,
    "is_grad_enabled": torch.is_grad_enabled,
    "recorded": recorded,
    "trim": trim,
    "torch": torch,
    "versions": versions,
}
# Names that no argument of an op may have, for the text has them.
_TAKEN = {
    *_GLOBALS,
    *"error int float kept map node_1 node_2 op out raw_1 raw_2 parents run saved torch type watched".split(),
}
_number = count()  # ops may have the same name, but not the same file

# To these a number and a tensor of one element are the same, to the bit.
_ARITHMETIC = {"add", "sub", "rsub", "mul", "div"}


def road(op: Op) -> Callable[..., Any]:
    """A function that does what ``apply`` does, for one op, given its arguments in order."""
    source = text(op)
    if not source:
        return lambda *args: apply(op, args)
    scope = {**_GLOBALS, "op": op, "run": op.run}
    return compiled(source, _name(op), scope, file=f"{__file__[:-3]}/{identifier(op.name)}_{next(_number)}.py")


def text(op: Op) -> str:
    """The source of an op's road; "" if there is none: of ops of more tensors, and of yours, apply asks more."""
    first, *others = op.parameters
    if not op.trusted or not _TAKEN.isdisjoint((*op.parameters, *op.aux)):
        return ""
    if op.formulas.keys() == {first}:
        return _one_tensor(op, first, others)
    if op.formulas.keys() == {first, *others} and len(others) == 1 and not op.aux:
        return _two_operands(op, first, others[0])
    return ""


def _name(op: Op) -> str:
    return f"{identifier(op.name)}_road"


def _one_tensor(op: Op, x: str, options: list[str]) -> str:
    keep_out, keep, *_ = op.plan(1)
    arguments = ", ".join([x, *options])
    watched = _versions(["out"] * keep_out + ["raw_1"] * keep + list(op.aux))
    changeable = [name for name in options if name != op.starred]  # sizes are numbers
    usual = ""
    if changeable:
        plain = " and ".join([f"type({name}) in PLAIN" for name in changeable])
        usual = f" and (kept := () if {plain} else versions({', '.join(changeable)})) is not None"
        watched = f"{watched} + kept" if watched != "()" else "kept"
    variant = "op.in_complex if raw_1.is_complex() else op" if op.complex_formulas is not None else "op"
    return f"""\
def {_name(op)}({arguments}):
    node_1 = {x}.record or ({x} if {x}._requires_grad else None) if type({x}) is Tensor else None
    if node_1 is not None and is_grad_enabled(){usual}:
        raw_1 = {x}._data
        try:
            {", ".join(["out", *op.aux])} = run({", ".join(["raw_1", *options])})
            if out is not raw_1{" and out.dtype in CONTINUOUS" if "dtype" in options else ""}:
                saved = {_tuple(["out" if keep_out else "None", "raw_1" if keep else "None", *options, *op.aux])}
                watched = {watched}
                parents = {_tuple(["node_1", *["None"] * len(options)])}
                return {", ".join([f"recorded({variant}, saved, parents, watched, out)", *op.aux])}
        except Anomaly as error:
            trim(error)
            raise
        except Exception:
            pass  # apply meets it again, and says what is wrong
    try:
        return apply(op, {_tuple([x, *options])})
    except Exception as error:
        trim(error)
        raise
"""


def _two_operands(op: Op, x: str, y: str) -> str:
    both, one = op.plan(3), op.plan(1)
    operand = f"as_tensor({y}, raw_1)" if op.name in _ARITHMETIC else y
    return f"""\
def {_name(op)}({x}, {y}):
    node_1 = {x}.record or ({x} if {x}._requires_grad else None) if type({x}) is Tensor else None
    if node_1 is not None and is_grad_enabled():
        raw_1 = {x}._data
        try:
            if type({y}) is Tensor:
                node_2 = {y}.record or ({y} if {y}._requires_grad else None)
                if node_2 is not None:
                    raw_2 = {y}._data
                    out = run(raw_1, raw_2)
                    saved = {_saved(both, "raw_2")}
                    watched = {_versions(_held(both))}
                    return recorded(op, saved, (node_1, node_2), watched, out)
            elif type({y}) is float or type({y}) is int:
                out = run(raw_1, {operand})
                saved = {_saved(one, y)}
                watched = {_versions(_held(one[:2]))}
                return recorded(op, saved, (node_1, None), watched, out)
        except Anomaly as error:
            trim(error)
            raise
        except Exception:
            pass  # apply meets it again, and says what is wrong
    try:
        return apply(op, ({x}, {y}))
    except Exception as error:
        trim(error)
        raise
"""


def _saved(plan: Sequence[bool], y: str) -> str:
    return _tuple([name if keep else "None" for name, keep in zip(("out", "raw_1", y), plan, strict=True)])


def _held(plan: Sequence[bool]) -> list[str]:
    return [name for name, keep in zip(("out", "raw_1", "raw_2"), plan, strict=False) if keep]


def _versions(names: Sequence[str]) -> str:
    return _tuple([f"({name}, {name}._version)" for name in names])


def _tuple(items: Sequence[str]) -> str:
    return f"({', '.join(items)}{',' * (len(items) == 1)})"
