"""Watching torch compute: a trace knows the expression behind every tensor made while it is active.

Rules run under a trace as they always run, on raw tensors; what they did is then there to be written down. Constants
are folded on the way: ``1 * x`` and ``x + 0`` are ``x``, numbers are worked out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# What Python's operators and torch's functions are called, apart from their own names.
_ALIASES = {
    "true_divide": "div", "divide": "div", "truediv": "div", "multiply": "mul", "subtract": "sub", "negative": "neg",
    "and": "bitwise_and", "or": "bitwise_or", "invert": "bitwise_not", "mod": "remainder", "floordiv": "floor_divide",
    "broadcast_to": "expand", "mm": "matmul",
}  # fmt: skip
INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "floor_divide": "//", "matmul": "@", "remainder": "%", "pow": "**",
    "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=", "bitwise_and": "&", "bitwise_or": "|",
}  # fmt: skip
PREFIX = {"neg": "-", "bitwise_not": "~"}
_NEUTRAL = {"add": 0, "sub": 0, "mul": 1, "div": 1, "pow": 1}  # what changes nothing
_FILLED = {"zeros": 0.0, "new_zeros": 0.0, "zeros_like": 0.0, "ones": 1.0, "new_ones": 1.0, "ones_like": 1.0}
_MOVES = {"expand", "view", "reshape", "unsqueeze", "squeeze", "clone", "contiguous", "expand_as", "view_as"}
_order = count().__next__


class Node:
    """An expression: what made a tensor.

    Attributes:
        kind: ``input``, ``filled`` (with a number), ``infix``, ``prefix``, ``method``, ``call`` (of the function
            ``name``), ``attribute``, ``index``, ``item`` (of a tuple), or, for what was written into: ``buffer``,
            ``write`` (the statement), ``after`` (the buffer then).
        name: the sign, function, method, attribute or input.
        args, kwargs: Nodes, plain values, and sequences of them.
        value: the tensor, or a tuple of tensors.
        view: whether it shares the storage of its first argument.
        number: the number that every element is, if it is known.
    """

    __slots__ = ("args", "kind", "kwargs", "name", "number", "order", "value", "view")

    def __init__(
        self, kind: str, name: Any, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any, view: bool = False
    ) -> None:
        self.kind = kind
        self.name = name
        self.args = args
        self.kwargs = kwargs
        self.value = value
        self.view = view
        self.number: Any = None
        self.order = _order()

    def operands(self) -> Iterator[Node]:
        """The Nodes among the arguments, if they need to be known."""
        return _found(Node, (self.args, self.kwargs) if self.number is None else ())


class Trace(TorchFunctionMode):
    """Records the expressions of all tensors computed while it is active.

    Args:
        exact: write nothing shorter where that would round otherwise.
    """

    def __init__(self, exact: bool = False) -> None:
        super().__init__()
        self._exact = exact
        self._nodes: dict[int, tuple[torch.Tensor, Node]] = {}  # by id; holding the tensor keeps its id its own
        self._made: dict[Any, Node] = {}  # so that equal expressions are one
        self._now: dict[Node, Node] = {}  # what was written into -> what it has become

    def name(self, value: torch.Tensor, name: str) -> Node:
        """Call a tensor by a name from here on."""
        return self._set(value, Node("input", name, (), {}, value))

    def known(self, value: torch.Tensor) -> bool:
        """Whether the trace has an expression for a tensor."""
        return id(value) in self._nodes

    def number(self, value: torch.Tensor, number: Any) -> Node:
        """Take it from the caller that a tensor is a number throughout."""
        return self._set(value, _filled(value, number))

    def alias(self, value: torch.Tensor, node: Node) -> None:
        """Take it from the caller that a tensor is what an expression computes."""
        self._set(value, node)

    def node(self, value: torch.Tensor) -> Node:
        """The expression of a tensor as it is now."""
        if id(value) not in self._nodes:
            return self._set(value, _recognized(value) or Node("input", f"constant_{len(self._nodes)}", (), {}, value))
        node = self._nodes[id(value)][1]
        root = _root(node)
        while root in self._now and _shares(root.value, value):
            node = self._set(value, self._rebased(node, self._now[root]))
            root = _root(node)
        return node

    def _set(self, value: torch.Tensor, node: Node) -> Node:
        self._nodes[id(value)] = value, node
        return node

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a torch function, and note what it did."""
        kwargs = dict(kwargs or {})
        kind, name = _spelled(func)
        if kind == "attribute" and not isinstance(func(*args), torch.Tensor):  # shape, dtype, ...
            return func(*args)
        before = [(t, self.node(t)) for t in _found(torch.Tensor, (args, kwargs))]
        value = func(*args, **kwargs)
        changed = args[0] if kind == "inplace" or name == "setitem" else kwargs.pop("out", None)
        if changed is not None:
            self._write(changed, name, self._noded(args), self._noded(kwargs))
        elif isinstance(value, (tuple, list)) and any(isinstance(v, torch.Tensor) for v in value):
            whole = self._node(kind, name, self._noded(args), self._noded(kwargs), value)
            for i, v in enumerate(value):
                if isinstance(v, torch.Tensor):
                    self._set(v, self._node("item", "", (whole, i), {}, v))
        elif isinstance(value, torch.Tensor) and not any(value is t for t, _ in before):
            self._set(value, self._node(kind, name, self._noded(args), self._noded(kwargs), value))
        return value

    def _noded(self, value: Any) -> Any:
        """A value with Nodes for its tensors."""
        if isinstance(value, torch.Tensor):
            return self.node(value)
        if isinstance(value, (tuple, list)) and not isinstance(value, torch.Size):
            return (list if isinstance(value, list) else tuple)([self._noded(v) for v in value])
        return {k: self._noded(v) for k, v in value.items()} if isinstance(value, dict) else value

    def _node(
        self, kind: str, name: Any, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any, view: Any = None
    ) -> Node:
        """The Node of a result: folded, found again, or new."""
        if isinstance(value, torch.Tensor) and (folded := _folded(kind, name, args, kwargs, value)) is not None:
            return folded
        if kind == "reversed":
            kind, args = "infix", args[::-1]
        elif name in INFIX and len(args) == 2 and not kwargs:
            kind = "infix"
            if self._exact and name == "div" and isinstance(args[0], Node) and args[0].number is not None:
                # With a number on the left, torch multiplies by the reciprocal.
                args = (Node("filled", "", (args[0].number,), {}, args[0].value), args[1])
        elif name in PREFIX and len(args) == 1:
            kind = "prefix"
        key = (kind, name, *map(_key, (args, kwargs)))
        if key not in self._made:
            first = args[0] if args else None
            view = isinstance(first, Node) and _shares(first.value, value) if view is None else view
            self._made[key] = Node(kind, name, args, kwargs, value, view)
            if name in (*_MOVES, "to") and isinstance(first, Node) and isinstance(first.number, float):
                self._made[key].number = first.number
        return self._made[key]

    def _write(self, changed: torch.Tensor, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note a change in place: as the new value of the tensor, or as a statement if it went through a view."""
        old = self.node(changed)
        root = _root(old)
        others = [n.value for n in _found(Node, (args[1:], kwargs)) if isinstance(n.value, torch.Tensor)]
        plain = all(o.dtype == changed.dtype or not o.is_floating_point() for o in others)
        if name == "index_put" and root.number == 0 and _apart(args[1]):
            name, args, kwargs = "setitem", args[:3], {}
        if name != "setitem" and not old.view and plain and hasattr(torch.Tensor, name):
            new = self._node("method", name, args, kwargs, changed, view=False)
            if new is root:  # times 1
                return
        elif not old.view or _shares(root.value, changed):
            buffer = Node("buffer", "", (root,), {}, root.value)
            into = self._rebased(old, buffer)
            write = Node("write", name if name == "setitem" else f"{name}_", (into, *args[1:]), kwargs, None)
            new = Node("after", "", (buffer, write), {}, root.value)
        else:
            raise NotImplementedError(f"source: {name}_ on a view of {root.name or root.kind} cannot be written")
        if _shares(root.value, changed):
            self._now[root] = new
        else:  # a tensor of its own that has the expression of another
            self._set(changed, new)

    def _rebased(self, node: Node, root: Node) -> Node:
        """A view's expression, on another root."""
        if not node.view:
            return root
        inner = self._rebased(node.args[0], root)
        return self._node(node.kind, node.name, (inner, *node.args[1:]), node.kwargs, node.value)


# --- names of functions ---


def _spelled(func: Any) -> tuple[str, Any]:
    """The kind of a function's Node, and its name."""
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


# --- folding ---


def _folded(kind: str, name: Any, args: tuple[Any, ...], kwargs: dict[str, Any], value: torch.Tensor) -> Node | None:
    """The Node of a result that needs no computing, or that is a number."""
    name = name if isinstance(name, str) else name.__name__
    floating = value.is_floating_point() or value.is_complex()
    if floating and name in _FILLED:
        return _filled(value, _FILLED[name])
    if floating and name in ("full", "new_full", "full_like") and isinstance(args[-1], (int, float)):
        return _filled(value, float(args[-1]))
    first = args[0] if args and isinstance(args[0], Node) else None
    if name in INFIX and len(args) == 2 and not kwargs:
        return _folded_infix(name, *(args[::-1] if kind == "reversed" else args), value)
    if first is None:
        return None
    if first.number is not None and name == "neg":
        return _filled(value, -first.number)
    if name in _MOVES:
        same = value.shape == first.value.shape and value.dtype == first.value.dtype
        if name in ("view", "reshape", "expand", "squeeze") and same:
            return first
        if name in ("view", "reshape") and first.name in ("view", "reshape"):  # there and back
            inner: Node = first.args[0]
            return inner if inner.value.shape == value.shape and inner.value.dtype == value.dtype else None
    return None


def _folded_infix(name: str, a: Any, b: Any, value: torch.Tensor) -> Node | None:
    x, y = [v.number if isinstance(v, Node) else v if isinstance(v, (int, float, complex)) else None for v in (a, b)]
    if x is not None and y is not None and name in ("add", "sub", "mul", "div") and value.is_floating_point():
        known = value.numel() and not value.is_meta
        computed = value.reshape(-1)[0] if known else getattr(torch, name)(_scalar(a), _scalar(b))
        return _filled(value, computed.item())
    for one, number, commutes in ((a, y, True), (b, x, name in ("mul", "add"))):
        if not isinstance(one, Node) or one.value.dtype != value.dtype or number is None or not commutes:
            continue
        if number == _NEUTRAL.get(name):
            if one.value.shape == value.shape:
                return one
            return Node("method", "expand", (one, *value.shape), {}, value)
        if name == "mul" and number == -1 and one.value.shape == value.shape:
            return Node("prefix", "neg", (one,), {}, value)
    return None


def _scalar(value: Any) -> Any:
    """A number to compute with: as exactly as its tensor would."""
    return torch.tensor(value.number, dtype=value.value.dtype) if isinstance(value, Node) else value


def _apart(index: Any) -> bool:
    """Whether an index names no element twice: one of its lists is a range."""
    ranges = [n for n in index if n.name is torch.arange]
    return any(all(n.value.ndim == 1 and len(n.value) in (1, len(r.value)) for n in index) for r in ranges)


def _filled(value: torch.Tensor, number: Any) -> Node:
    node = Node("filled", "", (number,), {}, value)
    node.number = number
    return node


def _recognized(value: torch.Tensor) -> Node | None:
    """A tensor that nobody has a name for, as what it plainly is."""
    if value.is_meta or value.layout is not torch.strided:
        return None
    if value.ndim == 0:
        return _filled(value, value.item())
    if value.ndim == 1 and value.dtype == torch.long and value.equal(torch.arange(len(value), device=value.device)):
        options = {} if value.device == torch.get_default_device() else {"device": value.device}
        return Node("call", torch.arange, (len(value),), options, value)
    return None


# --- looking into values ---


def _found(kind: Any, value: Any) -> Iterator[Any]:
    """Everything of a kind in nested sequences and slices."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, dict):
        yield from _found(kind, tuple(value.values()))
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from _found(kind, v)


def _key(value: Any) -> Any:
    """Something hashable that tells values apart."""
    if isinstance(value, Node):
        return id(value)
    if isinstance(value, (tuple, list)):
        return type(value).__name__, *map(_key, value)
    if isinstance(value, dict):
        return tuple([(k, _key(v)) for k, v in value.items()])
    return type(value).__name__, repr(value)


def _root(node: Node) -> Node:
    """What a view is a view of."""
    while node.view:
        node = node.args[0]
    return node


def _shares(a: Any, b: Any) -> bool:
    """Whether tensors, or some of two tuples of them, are in the same storage."""
    storages = [
        {t.untyped_storage()._cdata for t in _found(torch.Tensor, v) if t.layout is torch.strided} for v in (a, b)
    ]
    return not storages[0].isdisjoint(storages[1])
