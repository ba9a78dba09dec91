"""Ops and the table that holds their vector-Jacobian rules.

A rule is written with torch's own argument names::

    rule(torch.mul, "input, other",
         input=lambda g, other: g * other,
         other=lambda g, input: g * input)

The parameters of a formula say what it needs, and the tape saves that and no more:

* ``g``: the cotangent, the gradient of the loss with respect to the op's output;
* ``out``: the op's output;
* the name of any argument: its value;
* ``<argument>_shape``: the shape of the argument that the gradient is for;
* the name of an auxiliary output (``aux=``), such as the ``indices`` of a maximum.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, overload

import torch
import torch.nn.functional as F

from tapegrad import unrolled
from tapegrad.apply import apply
from tapegrad.errors import MissingRule
from tapegrad.shortcut import shortcut
from tapegrad.tensor import Tensor

Formula = Callable[..., Any]
Pullback = Callable[[Any, Any, Any], Any]  # (g, saved, parent) -> gradient of one argument, or a sequence of them

RENAMED = {"axis": "dim", "keepdims": "keepdim", "x": "input", "self": "input"}  # torch takes numpy's names as well


class Op:
    """One differentiable function: how to run it, and the gradient of each of its arguments.

    Attributes:
        name: torch's name for the function.
        function: what runs forward, on raw torch tensors.
        parameters: its argument names, in order.
        aux: names of further, non-differentiable outputs of ``function`` that formulas may ask for.
        formulas: argument name -> formula; the mathematics.
        kernels: argument name -> formula; the same mathematics for raw tensors, exact or quicker.
        elementwise: whether each gradient is known to have the shape and dtype of the cotangent.
    """

    def __init__(self, function: Callable[..., Any], signature: str, aux: Sequence[str], formulas: dict[str, Formula]):
        self.function = function
        self.name: str = function.__name__
        self.__name__ = self.name
        self.__doc__ = function.__doc__
        self.signature = signature
        self.bind, self.parameters, self.keywords = _binder(self.name, signature)
        self.starred = next((n.strip(" *") for n in signature.split(",") if re.match(r" *\*\w", n)), None)
        self.run = _positional(function, self.parameters, self.keywords)
        # With so many positional arguments there is nothing to bind.
        self.arity = len(self.parameters) if self.starred is None and not self.keywords else -1
        # Whether the function is torch's or this package's; one of yours may do what torch's never do.
        self.own = _is_torch(function) or str(getattr(function, "__module__", "")).startswith("tapegrad.")
        self.aux = tuple(aux)
        self.formulas = formulas
        self.kernels = dict(formulas)
        self.elementwise = False
        for name in formulas:
            if name not in self.parameters:
                raise TypeError(f"rule for {self.name}: it has no argument {name!r}, only {', '.join(self.parameters)}")
        self._compile()

    def _compile(self) -> None:
        """Turn formulas, which name what they need, into pullbacks, which read it from a record."""
        self.saved = ("out", *self.parameters, *self.aux)  # the order of ``Record.saved``
        self.pullbacks = tuple([self._pullback(name, self.kernels) for name in self.parameters])
        self.differentiable = tuple([self._pullback(name, self.formulas) for name in self.parameters])
        self._plans: dict[int, tuple[bool, ...]] = {}
        self.short = shortcut(self)  # for calls whose first argument is a Tensor

    def _pullback(self, argument: str, formulas: dict[str, Formula]) -> Pullback | None:
        formula = formulas.get(argument)
        if formula is None:
            return None
        own_shape = f"{argument}_shape"
        if unknown := set(self.needs(formula)) - {*self.saved, own_shape}:
            raise TypeError(
                f"rule for {self.name}, gradient of {argument}: no value {min(unknown)!r}; "
                f"a formula may ask for g, {', '.join(self.saved)}, {own_shape}"
            )
        # Written out, so that a gradient costs one call and no more: formula(g, saved[1], saved[2]).
        shape = f"parent.shape if type(parent) is not tuple else shapes(parent, saved[{self.saved.index(argument)}])"
        pullback = f"lambda g, saved, parent: formula({', '.join(['g', *self.values(argument, formula, shape)])})"
        written: Pullback = eval(pullback, {"formula": formula, "shapes": _shapes})
        return written

    def values(self, argument: str, formula: Formula, shape: str) -> list[str]:
        """What an argument's formula is called with after ``g``: source that reads a record's ``saved``.

        Args:
            argument: whose gradient it is.
            formula: one of ``formulas`` or ``kernels``.
            shape: source of the argument's own shape.
        """
        needs = self.needs(formula)
        return [shape if need == f"{argument}_shape" else f"saved[{self.saved.index(need)}]" for need in needs]

    def needs(self, formula: Formula) -> list[str]:
        """The values that a formula asks for, besides ``g``."""
        first, *rest = inspect.signature(formula).parameters
        if first != "g":
            raise TypeError(f"rule for {self.name}: a formula's first parameter is g, not {first!r}")
        return rest

    def needed(self, parents: Sequence[Any]) -> set[str]:
        """The values that the rules of the arguments with a gradient ask for."""
        names = [n for n, p in zip(self.parameters, parents, strict=True) if p is not None and n in self.formulas]
        return {need for n in names for text in (self.formulas, self.kernels) for need in self.needs(text[n])}

    def plan(self, wanted: int) -> tuple[bool, ...]:
        """What to save when some arguments are to get a gradient.

        Args:
            wanted: a bit for each argument, the lowest for the first.

        Returns:
            A flag for the output, then one for each argument. An argument that takes no gradient is always saved: it
            is a constant, and without it the tape could not be replayed.

        Raises:
            MissingRule: a wanted argument has no rule.
        """
        plan = self._plans.get(wanted)
        if plan is None:
            needed: set[str] = set()
            flags = [bool(wanted >> i & 1) for i in range(len(self.parameters))]
            for name, want in zip(self.parameters, flags, strict=True):
                if want and name not in self.formulas:
                    raise MissingRule(
                        f"{self.name}(): no rule for the gradient of {name}; detach it if it is a constant, or give "
                        f"{self.name} a rule for it: see tapegrad.rule"
                    )
                if want:
                    needed.update(self.needs(self.formulas[name]), self.needs(self.kernels[name]))
            arguments = [name in needed or not want for name, want in zip(self.parameters, flags, strict=True)]
            plan = self._plans[wanted] = ("out" in needed, *arguments)
        return plan

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the op as its torch function would be called, recording it if a gradient may be asked for."""
        if len(args) != self.arity or kwargs:
            if self.starred in kwargs:  # reshape(x, shape=(2, 3))
                args = (*(args or (kwargs.pop(self.parameters[0]),)), kwargs.pop(self.starred))
            args = self.bind(*args, **kwargs)
        return self.short(*args) if type(args[0]) is Tensor else apply(self, args)

    def __repr__(self) -> str:
        return f"<op {self.name}({self.signature})>"


def _shapes(parents: tuple[Any, ...], values: Sequence[Any]) -> list[torch.Size]:
    """The shapes of a sequence of tensors; those that take no gradient are in ``values``."""
    return [v.shape if p is None else p.shape for p, v in zip(parents, values, strict=True)]


def torch_names(kwargs: dict[str, Any], entry: Callable[..., Any] | None = None) -> dict[str, Any]:
    """Keyword arguments under the names that rules know, but for ``entry``'s own: vecdot has an x."""
    if RENAMED.keys().isdisjoint(kwargs):
        return kwargs
    own = _argument_names(entry) if entry is not None else ()
    return {name if name in own else RENAMED.get(name, name): value for name, value in kwargs.items()}


@cache
def _argument_names(entry: Callable[..., Any]) -> frozenset[str]:
    return frozenset(entry.parameters if isinstance(entry, Op) else inspect.signature(entry).parameters)


def _signature(function: Callable[..., Any]) -> str:
    """A Python function's arguments as ``rule`` takes them, without annotations."""
    signature = inspect.signature(function)
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))[1:-1]


def _positional(function: Callable[..., Any], parameters: tuple[str, ...], keywords: tuple[str, ...]) -> Any:
    """The function, taking also its keyword-only arguments by position."""
    if not keywords:
        return function
    n = len(parameters) - len(keywords)
    return lambda *args: function(*args[:n], **dict(zip(keywords, args[n:], strict=True)))


def _binder(name: str, signature: str) -> tuple[Callable[..., tuple[Any, ...]], tuple[str, ...], tuple[str, ...]]:
    """A function that takes arguments as ``signature`` says and returns them all, in order, as a tuple."""
    parameters = inspect.signature(eval(f"lambda {signature}: None")).parameters
    names = tuple(parameters)
    keywords = tuple(n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY)
    # A starred parameter takes torch's two spellings: view(2, 3) and view((2, 3)).
    values = [f"_flat({n})" if p.kind is p.VAR_POSITIONAL else n for n, p in parameters.items()]
    bind = eval(f"lambda {signature}: ({', '.join(values)},)", {"_flat": _flat, "torch": torch})
    bind.__name__ = bind.__qualname__ = name  # so that Python's own complaint about a bad call names the op
    return bind, names, keywords


def _flat(sizes: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


# --- the table ---------------------------------------------------------------------------------------------------

TABLE: dict[Callable[..., Any], Callable[..., Any]] = {}  # torch function -> an Op, or a composition of other ops

# Names by which torch means one thing here and another there, such as F.unfold and Tensor.unfold: each place has an
# entry of its own.
_HOMONYMS = {"unfold", "embedding", "split"}

# TensorBase: the functions that Python's operators call when a plain torch tensor stands on the left.
_NAMESPACES = (torch, torch.Tensor, torch._C.TensorBase, F, torch.special)


def _enter(function: Callable[..., Any], entry: Callable[..., Any]) -> None:
    """Enter a function in the table, under each of the names that torch gives it."""
    TABLE[function] = entry
    if getattr(function, "__module__", None) == __name__ or not _is_torch(function) or function.__name__ in _HOMONYMS:
        return
    for namespace in _NAMESPACES:
        spelling = getattr(namespace, function.__name__, None)
        if callable(spelling):
            TABLE[spelling] = entry


def _is_torch(function: Callable[..., Any]) -> bool:
    return any(getattr(namespace, getattr(function, "__name__", ""), None) is function for namespace in _NAMESPACES)


@overload
def rule(
    function: Callable[..., Any], signature: str | None = None, /, *, aux: Sequence[str] = (), **gradients: Formula
) -> Op: ...
@overload
def rule(*, aux: Sequence[str] = (), **gradients: Formula) -> Callable[[Callable[..., Any]], Op]: ...
def rule(
    function: Callable[..., Any] | None = None,
    signature: str | None = None,
    /,
    *,
    aux: Sequence[str] = (),
    **gradients: Formula,
) -> Any:
    """Register the vector-Jacobian rule of a function: ours, or yours.

    For a torch function, give it and its signature::

        rule(torch.tanh, "input", input=lambda g, out: g * (1 - out * out))

    For a function of your own, decorate it; its body runs forward on raw torch tensors::

        @rule(x=lambda g: g)
        def straight_through(x):
            return x.round()

    Args:
        function: a torch function; leave it out to use ``rule`` as a decorator.
        signature: the function's arguments as Python writes them, for example ``"input, dim=None"``.
        aux: names for the outputs after the first, when ``function`` returns a tuple; formulas may ask for them,
            they take no gradient.
        **gradients: for each differentiable argument, the formula of its gradient: see ``tapegrad.op``. A formula for
            an argument that is a sequence of tensors returns a sequence of gradients.

    Returns:
        The op, which can be called like the function.

    Raises:
        TypeError: a formula is for an unknown argument or asks for an unknown value.
    """
    if function is None:
        return lambda body: rule(body, _signature(body), aux=aux, **gradients)
    if not gradients and signature is None:
        raise TypeError(f"rule: no gradient is given for {function.__name__}; write @rule(x=lambda g: ...), say")
    op = Op(function, signature if signature is not None else "input", aux, gradients)
    _enter(function, op)
    return op


def kernel(op: Op, **gradients: Formula) -> None:
    """Give an op a second text of its rule, for raw tensors only: the same mathematics, bit-exact or quicker."""
    op.kernels.update(gradients)
    op.elementwise = False
    op._compile()
    unrolled.forget()


def elementwise(*ops: Op) -> None:
    """Say that all gradients of some ops have the cotangent's shape and dtype. To look takes 2 % of a small step."""
    for op in ops:
        op.elementwise = True


def composition(*functions: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Say a torch function in terms of other recorded ones: it needs no rule, its parts have theirs."""

    def enter(body: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            _enter(function, body)
        return body

    return enter


def alias(function: Callable[..., Any], *others: Callable[..., Any]) -> None:
    """Enter torch's other names of a function: the same entry answers to all."""
    for other in others:
        _enter(other, TABLE[function])
