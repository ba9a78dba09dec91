"""Watching torch compute: a trace knows the expression behind every tensor made while it is active.

Rules run under a trace as they always run, on raw tensors; what they did is then there to be written down. Constants
are folded on the way: ``1 * x`` and ``x + 0`` are ``x``, numbers are worked out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from tapegrad.source.expression import INFIX, PREFIX, Expression, found, key_of, root_of, shares
from tapegrad.source.fold import MOVES, apart, filled, folded, recognized

# What Python's operators and torch's functions are called, apart from their own names.
_ALIASES = {
    "true_divide": "div", "divide": "div", "truediv": "div", "multiply": "mul", "subtract": "sub", "negative": "neg",
    "and": "bitwise_and", "or": "bitwise_or", "invert": "bitwise_not", "mod": "remainder", "floordiv": "floor_divide",
    "broadcast_to": "expand", "mm": "matmul",
}  # fmt: skip


class Trace(TorchFunctionMode):
    """Records the expressions of all tensors computed while it is active.

    Args:
        exact: write nothing shorter where that would round otherwise.
    """

    def __init__(self, exact: bool = False) -> None:
        super().__init__()
        self._exact = exact
        # By id; holding the tensor keeps its id its own.
        self._expressions: dict[int, tuple[torch.Tensor, Expression]] = {}
        self._made: dict[Any, Expression] = {}  # so that equal expressions are one
        self._now: dict[Expression, Expression] = {}  # what was written into -> what it has become

    def name(self, value: torch.Tensor, name: str) -> Expression:
        """Call a tensor by a name from here on."""
        return self._set(value, Expression("input", name, (), {}, value))

    def known(self, value: torch.Tensor) -> bool:
        """Whether the trace has an expression for a tensor."""
        return id(value) in self._expressions

    def number(self, value: torch.Tensor, number: Any) -> Expression:
        """Take it from the caller that a tensor is a number throughout."""
        return self._set(value, filled(value, number))

    def alias(self, value: torch.Tensor, expression: Expression) -> None:
        """Take it from the caller that a tensor is what an expression computes."""
        self._set(value, expression)

    def expression(self, value: torch.Tensor) -> Expression:
        """The expression of a tensor as it is now."""
        if id(value) not in self._expressions:
            constant = Expression("input", f"constant_{len(self._expressions)}", (), {}, value)
            return self._set(value, recognized(value) or constant)
        expression = self._expressions[id(value)][1]
        root = root_of(expression)
        while root in self._now and shares(root.value, value):
            expression = self._set(value, self._rebased(expression, self._now[root]))
            root = root_of(expression)
        return expression

    def _set(self, value: torch.Tensor, expression: Expression) -> Expression:
        self._expressions[id(value)] = value, expression
        return expression

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a torch function, and note what it did."""
        kwargs = dict(kwargs or {})
        kind, name = _spelled(func)
        if kind == "attribute" and not isinstance(func(*args), torch.Tensor):  # shape, dtype, ...
            return func(*args)
        before = [(t, self.expression(t)) for t in found(torch.Tensor, (args, kwargs))]
        value = func(*args, **kwargs)
        changed = args[0] if kind == "inplace" or name == "setitem" else kwargs.pop("out", None)
        if changed is not None:
            self._write(changed, name, self._expressed(args), self._expressed(kwargs))
        elif isinstance(value, (tuple, list)) and any(isinstance(v, torch.Tensor) for v in value):
            whole = self._expression(kind, name, self._expressed(args), self._expressed(kwargs), value)
            for i, v in enumerate(value):
                if isinstance(v, torch.Tensor):
                    self._set(v, self._expression("item", "", (whole, i), {}, v))
        elif isinstance(value, torch.Tensor) and not any(value is t for t, _ in before):
            self._set(value, self._expression(kind, name, self._expressed(args), self._expressed(kwargs), value))
        return value

    def _expressed(self, value: Any) -> Any:
        """A value with expressions for its tensors."""
        if isinstance(value, torch.Tensor):
            return self.expression(value)
        if isinstance(value, (tuple, list)) and not isinstance(value, torch.Size):
            return (list if isinstance(value, list) else tuple)([self._expressed(v) for v in value])
        return {k: self._expressed(v) for k, v in value.items()} if isinstance(value, dict) else value

    def _expression(
        self, kind: str, name: Any, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any, view: Any = None
    ) -> Expression:
        """The expression of a result: folded, found again, or new."""
        if isinstance(value, torch.Tensor) and (known := folded(kind, name, args, kwargs, value)) is not None:
            return known
        if kind == "reversed":
            kind, args = "infix", args[::-1]
        elif name in INFIX and len(args) == 2 and not kwargs:
            kind = "infix"
            if self._exact and name == "div" and isinstance(args[0], Expression) and args[0].number is not None:
                # With a number on the left, torch multiplies by the reciprocal.
                args = (Expression("filled", "", (args[0].number,), {}, args[0].value), args[1])
        elif name in PREFIX and len(args) == 1:
            kind = "prefix"
        key = (kind, name, *map(key_of, (args, kwargs)))
        if key not in self._made:
            first = args[0] if args else None
            view = isinstance(first, Expression) and shares(first.value, value) if view is None else view
            self._made[key] = Expression(kind, name, args, kwargs, value, view)
            if name in (*MOVES, "to") and isinstance(first, Expression) and isinstance(first.number, float):
                self._made[key].number = first.number
        return self._made[key]

    def _write(self, changed: torch.Tensor, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note a change in place: as the new value of the tensor, or as a statement if it went through a view."""
        old = self.expression(changed)
        root = root_of(old)
        others = [n.value for n in found(Expression, (args[1:], kwargs)) if isinstance(n.value, torch.Tensor)]
        plain = all(o.dtype == changed.dtype or not o.is_floating_point() for o in others)
        if name == "index_put" and root.number == 0 and apart(args[1]):
            name, args, kwargs = "setitem", args[:3], {}
        if name != "setitem" and not old.view and plain and hasattr(torch.Tensor, name):
            new = self._expression("method", name, args, kwargs, changed, view=False)
            if new is root:  # times 1
                return
        elif not old.view or shares(root.value, changed):
            buffer = Expression("buffer", "", (root,), {}, root.value)
            into = self._rebased(old, buffer)
            write = Expression("write", name if name == "setitem" else f"{name}_", (into, *args[1:]), kwargs, None)
            new = Expression("after", "", (buffer, write), {}, root.value)
        else:
            raise NotImplementedError(f"source: {name}_ on a view of {root.name or root.kind} cannot be written")
        if shares(root.value, changed):
            self._now[root] = new
        else:  # a tensor of its own that has the expression of another
            self._set(changed, new)

    def _rebased(self, expression: Expression, root: Expression) -> Expression:
        """A view's expression, on another root."""
        if not expression.view:
            return root
        inner = self._rebased(expression.args[0], root)
        return self._expression(
            expression.kind, expression.name, (inner, *expression.args[1:]), expression.kwargs, expression.value
        )


# --- names of functions ---


def _spelled(func: Any) -> tuple[str, Any]:
    """The kind of a function's expression, and its name."""
    name: str = func.__name__
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
