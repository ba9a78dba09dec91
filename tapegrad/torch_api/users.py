"""Rules that users write. Their names become source, and their objects may be anything: so they are looked at first."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, overload
from unicodedata import normalize

import torch

from tapegrad.engine.op import Formula, Op
from tapegrad.engine.signature import binder, name_of
from tapegrad.engine.table import TABLE, enter, made, spellings, tell
from tapegrad.errors import blamed, checked
from tapegrad.tracebacks import trimmed

# What an argument list may consist of. Nothing in it calls anything, so that reading it runs no code.
_READABLE = (
    ast.Expression, ast.Lambda, ast.arguments, ast.arg, ast.Constant, ast.UnaryOp, ast.USub, ast.UAdd, ast.Tuple,
    ast.List, ast.Attribute, ast.Name, ast.Load,
)  # fmt: skip
_MODULES = {"torch": torch, "math": math}  # whose names it may have
_ENTRY = "__tapegrad_rule__"  # where a function of the user's holds its entry


@overload
def rule(
    function: Callable[..., Any], signature: str | None = None, /, *, aux: Sequence[str] = (), **gradients: Formula
) -> Op: ...
@overload
def rule(*, aux: Sequence[str] = (), **gradients: Formula) -> Callable[[Callable[..., Any]], Op]: ...
@trimmed
def rule(
    function: Any = None, signature: str | None = None, /, *, aux: Sequence[str] = (), **gradients: Formula
) -> Any:
    """Register the vector-Jacobian rule of a function, torch's or your own.

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
        **gradients: for each differentiable argument, the formula of its gradient: see ``engine/op.py``. A formula
            for an argument that is a sequence of tensors returns a sequence of gradients. It is given float32 in place
            of float16 and bfloat16, and what it returns is rounded.

    Returns:
        The op, which can be called like the function.

    Raises:
        TypeError: a formula is for an unknown argument or asks for an unknown value, or the argument list cannot be
            read.
    """
    if function is None:
        return trimmed(lambda body: _registered(body, body, aux, gradients))
    if not gradients and signature is None:
        raise TypeError(f"rule: no gradient is given for {name_of(function)}; write @rule(x=lambda g: ...), say")
    return _registered(function, "input" if signature is None else signature, aux, gradients)


def entry_of(function: Any) -> Any:
    """The entry of a function of the user's, which the function itself holds: so both can go when it goes."""
    entry = function.__dict__.get(_ENTRY) if type(function) is FunctionType else None
    return entry if entry is not None and entry.function is function else None  # functools.wraps copies it


def _registered(function: Any, arguments: Any, aux: Sequence[str], gradients: dict[str, Formula]) -> Op:
    name = name_of(function)
    if isinstance(aux, str) or not all(type(output) is str and output.isidentifier() for output in aux):
        raise TypeError(f"rule for {name}: aux is a list of names for outputs, as in ['indices'], not {aux!r}")
    for argument, formula in gradients.items():
        _parameters(formula, f"rule for {name}, gradient of {argument}")
    op = made(function, _plain(arguments), aux, blamed(name, gradients), trusted=False)
    torchs = function in TABLE or spellings(function)
    if op.starred is not None and not torchs:  # view(2, 3) and view((2, 3)) are the same to torch alone
        op.bind, op.run = binder(op.name, op.signature, tuple), _spread(op)
    op.run = checked(op)
    if type(function) is FunctionType and not torchs:
        function.__dict__[_ENTRY] = op
        tell(op)
    else:
        enter(function, op)
        TABLE.update(dict.fromkeys(_one_operator(function), op))
    return op


def _spread(op: Op) -> Callable[..., Any]:
    """The op's function, taking its starred argument as one tuple."""
    function, keywords = op.function, op.keywords
    at = op.parameters.index(op.starred)
    return lambda *args: function(*args[:at], *args[at], **dict(zip(keywords, args[at + 1 :], strict=True)))


def _parameters(formula: Formula, what: str) -> None:
    """Refuse a formula that does not say what it needs."""
    try:
        inspect.signature(formula)
    except (TypeError, ValueError):
        raise TypeError(f"{what}: {name_of(formula)} does not say what it needs; write a lambda around it") from None


def _plain(arguments: str | Callable[..., Any]) -> Callable[..., Any]:
    """A function with an argument list that is given as text, or as another function's.

    Its names are Python's identifiers, as the parser would read them, for they become source.

    Raises:
        TypeError: it is no argument list, or has ``**keywords``, or the function has none that can be read.
    """
    try:
        found = inspect.signature(_read(arguments) if isinstance(arguments, str) else arguments)
        named = [(normalize("NFKC", str.__str__(n)), p.kind, p.default) for n, p in found.parameters.items()]
        plain = inspect.Signature([inspect.Parameter(name, kind, default=value) for name, kind, value in named])
    except Exception as error:  # whatever the parser, or a callable of the user's, raises
        given = repr(arguments[:200]) if isinstance(arguments, str) else f"of {name_of(arguments)}"
        raise TypeError(
            f"rule: cannot read the arguments {given}: {error}; write them as in 'input, dim=None', with literals or "
            f"names such as math.inf and torch.float32 for defaults, or decorate a Python function"
        ) from None
    if starred := [n for n, p in plain.parameters.items() if p.kind is p.VAR_KEYWORD]:
        raise TypeError(f"rule: **{starred[0]} cannot be saved; name each argument, as in 'input, *, dim=None'")
    return _Signed(plain)


class _Signed:
    """Something that says it takes what it was told to take."""

    def __init__(self, signature: inspect.Signature) -> None:
        self.__signature__ = signature

    def __call__(self) -> None:
        """Make ``inspect.signature`` look."""


def _read(text: str) -> Callable[..., Any]:
    """A function with an argument list that is given as text."""
    tree = ast.parse(f"(lambda {text}: None)", mode="eval")
    for part in ast.walk(tree):
        if not isinstance(part, _READABLE) or (isinstance(part, ast.Name) and part.id not in _MODULES):
            raise TypeError("a default calls something, or is no literal")
    function: Callable[..., Any] = eval(compile(tree, "<rule>", "eval"), {"__builtins__": {}, **_MODULES})
    return function


def _one_operator(function: Any) -> list[Any]:
    """The three objects that one operator of torch.library goes by; of any other function, none."""
    if type(function).__module__ not in ("torch._ops", "torch._library.custom_ops"):
        return []
    overload = getattr(function, "_opoverload", None) or getattr(function, "default", None) or function
    packet = getattr(overload, "overloadpacket", None)
    return [overload] if packet is None else [overload, packet]
