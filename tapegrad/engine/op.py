"""An op: a differentiable function, and the formula of the gradient of each of its arguments.

A formula is written with torch's own argument names. Its parameters say what it needs, and the tape saves no more:

* ``g``: the cotangent, the gradient of the loss with respect to the op's output;
* ``out``: the op's output;
* the name of any argument: its value;
* ``<argument>_shape``: the shape of the argument that the gradient is for;
* the name of an auxiliary output (``aux=``), such as the ``indices`` of a maximum.

Where numbers are complex ``g`` is the conjugate of torch's gradient, so that dL = Re(sum(g * d(out))): then the formula
of a holomorphic function is that of real numbers, the plain transpose. See ``docs/complex.md``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from typing import Any

import torch

from tapegrad.engine.signature import binder, flat, name_of, signature_of, sizes
from tapegrad.errors import MissingRule
from tapegrad.tracebacks import trim

Formula = Callable[..., Any]
Pullback = Callable[[Any, Any, Any], Any]  # (g, saved, parent) -> gradient of one argument, or a sequence of them


class Op:
    """One differentiable function: how to run it, and the gradient of each of its arguments.

    Attributes:
        name: torch's name for the function.
        function: what runs forward, on raw torch tensors; ``run`` takes all its arguments by position.
        signature: its arguments, as an ``inspect.Signature``; ``parameters`` are their names, in order.
        aux: names of further, non-differentiable outputs of ``function`` that formulas may ask for.
        formulas: argument name -> formula; the mathematics.
        kernels: argument name -> formula; the same mathematics for raw tensors, exact or quicker.
        pullbacks: for each argument, its kernel as a function of (g, saved values, parent); None if it has none.
        recorded_pullbacks: the same of formulas, for walks that are recorded.
        saved_names: what the values in ``Record.saved`` are, in order.
        bind, arity: how a call's arguments are put in order, and with how many positional ones they already are.
        elementwise: whether each gradient is known to have the shape and dtype of the cotangent.
        complex_formulas: in place of ``formulas``, where numbers are complex and the function is not holomorphic; None
            if it is, so that complex arguments have complex outputs. They ask for no value that ``formulas`` do not.
        trusted: whether the rule is ours: then a new tensor comes out, or the first argument if nothing was to be done.
        road: runs it, given all arguments in order: ``apply``, or what does the same for this op alone. The table sets
            it, for this file knows nothing of Tensors.
    """

    road: Callable[..., Any]

    def __init__(
        self, function: Callable[..., Any], signature: str | Callable[..., Any], aux: Sequence[str],
        formulas: dict[str, Formula], trusted: bool,
    ) -> None:  # fmt: skip
        self.function, self.formulas, self.kernels = function, formulas, dict(formulas)
        self.name = self.__name__ = name_of(function)
        self.__doc__ = function.__doc__
        self.signature = signature_of(signature)
        arguments = self.signature.parameters.values()
        self.parameters = tuple(self.signature.parameters)
        self.starred = next((p.name for p in arguments if p.kind is p.VAR_POSITIONAL), None)
        self.keywords = tuple(p.name for p in arguments if p.kind is p.KEYWORD_ONLY)
        for name in formulas:
            if name not in self.parameters:
                raise TypeError(f"rule for {self.name}: no argument {name!r} among ({', '.join(self.parameters)})")
        self.bind = binder(self.name, self.signature, flat if self.starred in formulas else sizes)
        self.run = _positional(function, self.parameters, self.keywords)
        # With so many positional arguments there is nothing to bind.
        self.arity = len(self.parameters) if self.starred is None and not self.keywords else -1
        self.aux, self.elementwise, self.trusted = tuple(aux), False, trusted
        self.complex_formulas: dict[str, Formula] | None = None if trusted else {}
        self.prepare()

    def prepare(self) -> None:
        """Turn formulas, which name what they need, into pullbacks, which read it from a record."""
        self.saved_names = ("out", *self.parameters, *self.aux)  # the order of ``Record.saved``
        self.pullbacks = tuple([self._pullback(name, self.kernels) for name in self.parameters])
        self.recorded_pullbacks = tuple([self._pullback(name, self.formulas) for name in self.parameters])
        self._plans: dict[int, tuple[bool, ...]] = {}
        self.__dict__.pop("in_half", self.__dict__.pop("in_complex", None))

    @cached_property
    def in_half(self) -> Op:
        """What is recorded in its place where the output is float16 or bfloat16: see ``kernels/half_precision.py``."""
        return self

    @cached_property
    def in_complex(self) -> Op:
        """What is recorded in its place where the output, or an argument, is complex: formulas alone, no kernels."""
        op = copy(self)
        op.formulas = op.kernels = self.formulas | (self.complex_formulas or {})
        op.prepare()
        return op

    def _pullback(self, argument: str, formulas: dict[str, Formula]) -> Pullback | None:
        formula = formulas.get(argument)
        if formula is None:
            return None
        own_shape = f"{argument}_shape"
        if unknown := set(self.needs(formula)) - {*self.saved_names, own_shape}:
            raise TypeError(
                f"rule for {self.name}, gradient of {argument}: no value {min(unknown)!r}; "
                f"a formula may ask for g, {', '.join(self.saved_names)}, {own_shape}"
            )
        # Written out, so that a gradient costs one call and no more: formula(g, saved[1], saved[2]).
        own = f"saved[{self.saved_names.index(argument)}]"
        shape = f"parent.shape if type(parent) is not tuple else shapes(parent, {own})"
        source = f"lambda g, saved, parent: formula({', '.join(['g', *self.values(argument, formula, shape)])})"
        pullback: Pullback = eval(source, {"formula": formula, "shapes": _shapes, "__tapegrad__": True})
        return pullback

    def values(self, argument: str, formula: Formula, shape: str) -> list[str]:
        """What an argument's formula is called with after ``g``: source that reads a record's ``saved``.

        Args:
            argument: whose gradient it is.
            formula: one of ``formulas`` or ``kernels``.
            shape: source of the argument's own shape.
        """
        needs = self.needs(formula)
        return [shape if need == f"{argument}_shape" else f"saved[{self.saved_names.index(need)}]" for need in needs]

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
            flags = [bool(wanted >> i & 1) for i in range(len(self.parameters))]
            for name, want in zip(self.parameters, flags, strict=True):
                if want and name not in self.formulas:
                    raise MissingRule(
                        f"{self.name}(): no rule for the gradient of {name}; detach it if it is a constant, or give "
                        f"{self.name} a rule for it: see tapegrad.rule"
                    )
            needed = self.needed([want or None for want in flags])
            arguments = [name in needed or not want for name, want in zip(self.parameters, flags, strict=True)]
            plan = self._plans[wanted] = ("out" in needed, *arguments)
        return plan

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the op as its torch function would be called, recording it if a gradient may be asked for."""
        if len(args) != self.arity or kwargs:
            if self.starred in kwargs:  # reshape(x, shape=(2, 3))
                args = (*(args or (kwargs.pop(self.parameters[0]),)), kwargs.pop(self.starred))
            try:
                args = self.bind(*args, **kwargs)
            except Exception as error:
                trim(error)
                raise
        return self.road(*args)

    def __repr__(self) -> str:
        return f"<op {self.name}({', '.join(self.parameters)})>"


def _positional(function: Callable[..., Any], parameters: tuple[str, ...], keywords: tuple[str, ...]) -> Any:
    """The function, taking also its keyword-only arguments by position."""
    if not keywords:
        return function
    n = len(parameters) - len(keywords)
    return lambda *args: function(*args[:n], **dict(zip(keywords, args[n:], strict=True)))


def _shapes(parents: tuple[Any, ...], values: Sequence[Any]) -> list[torch.Size]:
    """The shapes of a sequence of tensors; those that take no gradient are in ``values``."""
    return [v.shape if p is None else p.shape for p, v in zip(parents, values, strict=True)]
