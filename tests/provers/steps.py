"""What the random programs of fuzz.py are made of: ops, views, changes in place, hooks, and data to begin with."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st

FAILED = -1  # in place of a tensor's number: the step failed in both worlds
LARGEST = 1000  # elements of a tensor that is kept: a program may double sizes at each step
SHAPES = [(), (1,), (3,), (2, 3), (2, 1), (1, 3), (3, 2), (2, 2, 3), (0, 3)]
DTYPES = [torch.float64, torch.float32]

UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": lambda x: -x,
    "abs": torch.abs,
    "exp": torch.exp,
    "log": lambda x: (x.abs() + 1).log(),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "sin": lambda x: x.sin(),
    "square": lambda x: x**2,
    "cube": lambda x: x**3,
    "sqrt": lambda x: x.abs().sqrt(),
    "doubled": lambda x: x + x,
    "times itself": lambda x: x * x,
    "one minus": lambda x: 1 - x,
    "thrice": lambda x: 3 * x,
    "two over": lambda x: 2 / x,
    "shifted": lambda x: x + 1,
    "no more than": lambda x: torch.minimum(x, torch.tensor(0.5)),
    "masked": lambda x: x.masked_fill(x > 0, 1.5),
    "sum": lambda x: x.sum(),
    "sum 0": lambda x: x.sum(0),
    "sum -1": lambda x: x.sum(-1, keepdim=True),
    "mean": lambda x: x.mean(),
    "mean 0": lambda x: x.mean(0),
    "max": lambda x: x.max(),
    "max -1": lambda x: x.max(-1).values,
    "logsumexp": lambda x: x.logsumexp(-1),
    "var": lambda x: x.var(0, keepdim=True),
    "clone": torch.clone,
    "double": lambda x: x.double(),
    "float": lambda x: x.float(),
    "rows": lambda x: x[torch.tensor([0, 1, 0])],
    "positive": lambda x: x[x > 0],
    "stacked twice": lambda x: torch.stack([x, x]),
    "repeat": lambda x: torch.cat([x, x, x]),
}
VIEWS: dict[str, Callable[[Any], Any]] = {
    "view": lambda x: x.view(-1),
    "reshape": lambda x: x.reshape(-1),
    "transpose": lambda x: x.transpose(0, -1),
    "T": lambda x: x.t(),
    "first": lambda x: x[0],
    "last": lambda x: x[..., -1],
    "tail": lambda x: x[1:],
    "every other": lambda x: x[::2],
    "new axis": lambda x: x[None],
    "unsqueeze": lambda x: x.unsqueeze(-1),
    "squeeze": lambda x: x.squeeze(),
    "expand": lambda x: x.expand(2, *x.shape),
    "narrow": lambda x: x.narrow(0, 0, 1),
    "half": lambda x: x.chunk(2)[0],
    "unbind": lambda x: x.unbind(0)[-1],
    "all": lambda x: x[...],
    "detach": lambda x: x.detach(),
    "itself": lambda x: x.contiguous(),
    "same type": lambda x: x.to(x.dtype),
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "matmul": operator.matmul,
    "maximum": torch.maximum,
    "minimum": lambda x, y: torch.minimum(x, y),
    "where": lambda x, y: torch.where(x > y, x, y),
    "cat": lambda x, y: torch.cat([x, y]),
    "stack": lambda x, y: torch.stack((x, y)),
    "gate": lambda x, y: x * y + y,
    "distance": lambda x, y: (x - y) ** 2,
}
# What a tangle is made of: all of one shape.
KNOTS: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "gate": lambda x, y: x * y.sigmoid(),
    "tanh": lambda x, y: (x + y).tanh(),
    "share": lambda x, y: x * y.mean(),
    "third": lambda x, y: x / 3 + y,
}
PLAIN: dict[str, Callable[[Any], Any]] = {
    "argmax": lambda x: x.argmax(),
    "positive": lambda x: x > 0,
    "long": lambda x: x.long(),
    "shape": lambda x: tuple(x.shape),
    "equal": lambda x: x == x,
    "ones": torch.ones_like,
    "numbers": lambda x: x.tolist(),
}


def setitem(index: Any) -> Callable[[Any, Any], Any]:
    """A change in place that writes at an index: a function of the tensor if it is a mask."""

    def write(x: Any, value: Any) -> Any:
        x[index(x) if callable(index) else index] = value
        return x

    return write


def method(name: str) -> Callable[..., Any]:
    """A call of a method."""
    return lambda x, *args: getattr(x, name)(*args)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "add_ 1": lambda x: x.add_(1),
    "mul_ 2": lambda x: x.mul_(2),
    "div_ 3": lambda x: x.div_(3),
    "neg_": method("neg_"),
    "exp_": method("exp_"),
    "tanh_": method("tanh_"),
    "relu_": method("relu_"),
    "sigmoid_": method("sigmoid_"),
    "zero_": method("zero_"),
    "fill_": lambda x: x.fill_(0.5),
    "masked_fill_": lambda x: x.masked_fill_(x > 0, 0.25),
    "[0] = 2": lambda x: setitem(0)(x, 2.0),
    "[mask] = 0": lambda x: setitem(lambda x: x < 0)(x, 0.0),
}
CHANGES_WITH: dict[str, Callable[[Any, Any], Any]] = {
    "add_": method("add_"),
    "sub_": method("sub_"),
    "mul_": method("mul_"),
    "div_": method("div_"),
    "copy_": method("copy_"),
    "+=": operator.iadd,
    "*=": operator.imul,
    "fill_": method("fill_"),
    "[0] =": setitem(0),
    "[1:] =": setitem(slice(1, None)),
    "[...] =": setitem(...),
    "[..., -1] =": setitem((..., -1)),
    "[[0, -1]] =": setitem(torch.tensor([0, -1])),
    "[mask] =": setitem(lambda x: x > 0),
}
HOOKS: dict[str, Callable[[Any], Any]] = {
    "watch": lambda g: None,
    "double": lambda g: g * 2,
    "clip": lambda g: g.clamp(-0.1, 0.1),
    "same": lambda g: g,
    "zeros": torch.zeros_like,
}


KNOTTED = st.lists(
    st.tuples(st.sampled_from(list(KNOTS)), st.integers(0, 11), st.integers(0, 11)), min_size=3, max_size=12
)
