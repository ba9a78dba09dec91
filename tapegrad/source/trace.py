"""Watching torch compute: a trace knows the expression behind every tensor made while it is active.

Rules run under a trace as they always run, on raw tensors; what they did is then there to be written down. Constants
are folded on the way: ``1 * x`` and ``x + 0`` are ``x``, numbers are worked out.
"""

from __future__ import annotations

from operator import index
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode

from tapegrad.source.expression import INFIX, PREFIX, Expression, exact, found, key_of
from tapegrad.source.fold import MOVES, apart, filled, folded, recognized, spread, writable

# What Python's operators and torch's functions are called, apart from their own names.
_ALIASES = {
    "true_divide": "div", "divide": "div", "truediv": "div", "multiply": "mul", "subtract": "sub", "negative": "neg",
    "and": "bitwise_and", "or": "bitwise_or", "invert": "bitwise_not", "mod": "remainder", "floordiv": "floor_divide",
    "broadcast_to": "expand", "mm": "matmul",
}  # fmt: skip


# In place, these change what a tensor is a view of.
_RESHAPING = {"squeeze", "unsqueeze", "t", "transpose", "swapaxes", "swapdims", "detach", "resize", "set", "as_strided"}
# Equal calls of these are not equal.
_RANDOM = set(
    """
    alpha_dropout bernoulli dropout feature_alpha_dropout feature_dropout multinomial normal poisson rand rand_like
    randint randint_like randn randn_like randperm rrelu
    """.split()
)


# Operands for which torch computes otherwise if a number stands there: it divides a number by multiplying it with the
# reciprocal, and has powers of its own.
_ROUNDED = {"div": (0,), "pow": (0, 1)}


class _Known(NamedTuple):
    """What a trace knows of a tensor.

    Attributes:
        value: the tensor, held so that its id stays its own.
        expression: what computed it.
        whole: what computed the tensor that it is a view of, which is itself if it is none: the first operand of the
            first operand ... of its expression. None if the way there is another.
    """

    value: torch.Tensor
    expression: Expression
    whole: Expression | None


class Trace(TorchFunctionMode):
    """Records the expressions of all tensors computed while it is active.

    An expression says what a tensor holds; which tensors share a storage is remembered apart from that. Two tensors
    may have one expression, and only one of them be written into later.

    Args:
        exact: write nothing shorter where that would round, or lie in memory, otherwise.

    Attributes:
        constants: the tensors that nobody named or computed, as they turned up.
    """

    def __init__(self, exact: bool = False) -> None:
        super().__init__()
        self._exact = exact
        self.constants: list[Expression] = []
        self._known: dict[int, _Known] = {}  # by the tensor's id
        self._made: dict[Any, Expression] = {}  # so that equal expressions are one
        self._written: dict[Any, Expression] = {}  # storage that was written into -> the whole of it since

    def name(self, value: torch.Tensor, name: str) -> Expression:
        """Call a tensor by a name from here on."""
        return self.alias(value, Expression("input", name, (), {}, value))

    def known(self, value: torch.Tensor) -> bool:
        """Whether the trace has an expression for a tensor."""
        return id(value) in self._known

    def number(self, value: torch.Tensor, number: Any) -> Expression:
        """Take it from the caller that a tensor is a number throughout."""
        return self.alias(value, filled(value, number, self._exact))

    def alias(self, value: torch.Tensor, expression: Expression) -> Expression:
        """Take it from the caller that a tensor is what an expression computes."""
        return self._set(value, expression, expression)

    def expression(self, value: torch.Tensor) -> Expression:
        """The expression of a tensor as it is now."""
        known = self._known.get(id(value))
        if known is None:
            return self.alias(value, recognized(value) or self._constant(value))
        whole = self._written.get(_storage(value), known.whole)
        if whole is known.whole:
            return known.expression
        if known.whole is None or whole is None:
            raise NotImplementedError(
                f"source: a view that {_called(known.expression)} made is used after its tensor was written into, and "
                f"cannot be followed; write into a tensor of its own"
            )
        return self._set(value, self._moved(known.expression, known.whole, whole), whole)

    def _set(self, value: torch.Tensor, expression: Expression, whole: Expression | None) -> Expression:
        self._known[id(value)] = _Known(value, expression, whole)
        return expression

    def _constant(self, value: torch.Tensor) -> Expression:
        self.constants.append(Expression("input", f"constant_{len(self.constants)}", (), {}, value))
        return self.constants[-1]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a torch function, and note what it did."""
        kwargs = dict(kwargs or {})
        kind, name = _spelled(func)
        if kind == "attribute" and not isinstance(func(*args), torch.Tensor):  # shape, dtype, ...
            return func(*args)
        given = list(found(torch.Tensor, (args, kwargs)))
        operands, options = self._expressed(args), self._expressed(kwargs)
        if name == "view" and operands[0].value.stride() != args[0].stride():
            name = "reshape"  # what is written in place of the tensor lies otherwise in memory
        if name == "as_strided" and not self._exact and not _plainly(operands[0].value, args[0]):
            raise NotImplementedError("source: as_strided() of this tensor needs its strides: use style='exact'")
        if kind == "inplace" and name in _RESHAPING:
            raise NotImplementedError(f"source: {name}_() cannot be written; use {name}(), which gives another tensor")
        value = func(*args, **kwargs)
        changed = args[0] if kind == "inplace" or name == "setitem" else kwargs.get("out")
        storages, ids = set(map(_storage, given)), set(map(id, given))
        if changed is not None:
            options.pop("out", None)
            self._write(changed, name, operands, options)
        elif isinstance(value, (tuple, list)) and any(isinstance(v, torch.Tensor) for v in value):
            several = self._new(kind, name, operands, options, value)
            first = args if len(given) == 1 else ()  # of several tensors, each may have its views
            for i, v in enumerate(value):
                if isinstance(v, torch.Tensor) and id(v) not in ids:
                    item = self._new("item", "", (several, i), {}, v, view=True)
                    self._set(v, item, self._whole(v, first) if _storage(v) in storages else item)
        elif isinstance(value, torch.Tensor) and id(value) not in ids:
            view = _storage(value) in storages
            whole = self._whole(value, args) if view else None
            new = self._result(kind, name, operands, options, value, view, whole)
            self._set(value, new, whole if view else new)
        return value

    def _whole(self, view: torch.Tensor, args: Any) -> Expression | None:
        """What a view is a view of, if it is of its first argument."""
        first = args[0] if args else None
        ours = isinstance(first, torch.Tensor) and _storage(first) == _storage(view)
        return self._known[id(first)].whole if ours else None

    def _expressed(self, value: Any) -> Any:
        """A value with expressions for its tensors, and numbers for those that bound slices."""
        if isinstance(value, torch.Tensor):
            return self.expression(value)
        if isinstance(value, (tuple, list)) and not isinstance(value, torch.Size):
            return (list if isinstance(value, list) else tuple)([self._expressed(v) for v in value])
        if isinstance(value, slice):
            return slice(*[v if v is None else index(v) for v in (value.start, value.stop, value.step)])
        return {k: self._expressed(v) for k, v in value.items()} if isinstance(value, dict) else exact(value)

    def _result(
        self,
        kind: str,
        name: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        value: torch.Tensor,
        view: bool = False,
        whole: Expression | None = None,
    ) -> Expression:
        """The expression of a result: folded, found again, or new."""
        shorter = folded(kind, name, args, kwargs, value, self._exact)
        # A view of all that was written into keeps its way there.
        if shorter is not None and (whole is None or shorter is whole or args[0] is not whole):
            return shorter
        if kind == "reversed":
            kind, args = "infix", args[::-1]
        elif name in INFIX and len(args) == 2 and not kwargs:
            kind = "infix"
            if self._exact:
                args = tuple([_as_operand(args, i, name, value) for i in (0, 1)])
        elif name in PREFIX and len(args) == 1:
            kind = "prefix"
        new = self._new(kind, name, args, kwargs, value, view)
        first = args[0] if args and name in (*MOVES, "to") else None
        if isinstance(first, Expression) and isinstance(first.number, float) and writable(value, self._exact):
            new.number, new.spread = first.number, self._exact and spread(value)
        return new

    def _new(
        self, kind: str, name: Any, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any, view: bool = False
    ) -> Expression:
        """An expression, or the one that there is already."""
        new = Expression(kind, name, args, kwargs, value, view)
        if (name if isinstance(name, str) else name.__name__) in _RANDOM:
            return new
        return self._made.setdefault((kind, name, key_of(args), key_of(kwargs)), new)

    def _write(self, changed: torch.Tensor, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note a change in place: as the new value of the tensor, or as a statement if it went through a view."""
        old = self.expression(changed)
        whole = self._known[id(changed)].whole
        if whole is None:
            what = "[...] =" if name == "setitem" else f"{name}_()"
            raise NotImplementedError(
                f"source: {what} on a view that {_called(old)} made cannot be followed; write into a tensor of its own"
            )
        others = [n.value for n in found(Expression, (args[1:], kwargs)) if isinstance(n.value, torch.Tensor)]
        plain = all(o.dtype == changed.dtype or not o.is_floating_point() for o in others)
        if name == "index_put" and whole.number == 0 and apart(args[1]):
            name, args, kwargs = "setitem", args[:3], {}
        lies = changed.is_contiguous() or not self._exact  # else the result might lie otherwise in memory
        if name != "setitem" and old is whole and plain and lies and hasattr(torch.Tensor, name):
            new = self._result("method", name, args, kwargs, changed)
        else:
            buffer = Expression("buffer", "", (whole,), {}, whole.value)
            into = self._moved(old, whole, buffer)
            write = Expression("write", name if name == "setitem" else f"{name}_", (into, *args[1:]), kwargs, None)
            new = Expression("after", "", (buffer, write), {}, whole.value)
        self._written[_storage(changed)] = new

    def _moved(self, expression: Expression, whole: Expression, now: Expression) -> Expression:
        """A view's expression, once the whole has become another."""
        if expression is whole:
            return now
        first = self._moved(expression.args[0], whole, now)
        args = (first, *expression.args[1:])
        return self._new(expression.kind, expression.name, args, expression.kwargs, expression.value, view=True)


def _storage(tensor: torch.Tensor) -> Any:
    """What tells storages apart."""
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else id(tensor)


def _as_operand(args: tuple[Any, ...], i: int, name: str, value: torch.Tensor) -> Any:
    """An operand of a sign: a tensor that is a number throughout stays one where a number would give other bits.

    A number, or a tensor of no dimensions, leaves it to the other operand how the result lies in memory.
    """
    one, other = args[i], args[1 - i]
    if not isinstance(one, Expression) or one.number is None or not isinstance(other, Expression):
        return one
    lies_as_other = other.value.shape == value.shape and other.value.stride() == value.stride()
    if i not in _ROUNDED.get(name, ()) and (lies_as_other or one.spread or one.value.numel() == 1):
        return one
    return filled(one.value, one.number, True, known=False)


def _plainly(written: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether a tensor lies in memory as it does by default, and what is written in its place as well."""
    return written.is_contiguous() and value.is_contiguous()


def _called(expression: Expression) -> str:
    """The function that made a tensor, for messages."""
    if expression.kind == "item":
        expression = expression.args[0]
    return str(getattr(expression.name, "__name__", expression.name) or expression.kind)


# --- names of functions ---


def _spelled(func: Any) -> tuple[str, Any]:
    """The kind of a function's expression, and its name."""
    name: str = func.__name__
    if name in ("real", "imag"):
        return "attribute", name
    if name == "rsub":
        return "reversed", "sub"
    if name == "__get__":
        return "attribute", func.__self__.__name__
    if name in ("__getitem__", "__setitem__"):
        return ("index", "getitem") if name == "__getitem__" else ("write", "setitem")
    if name.startswith("__") and name.endswith("__"):
        bare = name.strip("_")
        bare = _ALIASES.get(bare, bare)
        if bare not in INFIX and bare not in PREFIX:
            for mark, kind in (("r", "reversed"), ("i", "inplace")):
                if (rest := _ALIASES.get(bare[1:], bare[1:])) in INFIX and bare[0] == mark:
                    return kind, rest
        return "method", bare
    if name.endswith("_"):
        return "inplace", _ALIASES.get(name[:-1], name[:-1])
    bare = _ALIASES.get(name, name)
    if bare in INFIX or bare in PREFIX or bare == "expand" or getattr(torch.Tensor, name, None) is func:
        return "method", bare
    return "call", func
