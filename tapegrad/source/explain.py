"""Why a rule is as it is, in a sentence; and the rule's formula, as it stands in the table."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable, Container
from functools import lru_cache
from typing import Any

import torch

from tapegrad.engine.op import Op
from tapegrad.engine.tape import Record, shape_text
from tapegrad.inspect.parts import Parts, Sent
from tapegrad.inspect.tape import Tape

_INDEX = {"getitem", "select", "slice", "narrow", "gather", "index_select", "take", "take_along_dim", "embedding"}
_PICK = {
    "max_dim",
    "min_dim",
    "max_all",
    "min_all",
    "max",
    "min",
    "amax",
    "amin",
    "max_pool2d",
    "median",
    "topk",
    "sort",
}
_MOVED = {
    "view", "reshape", "transpose", "permute", "t", "flatten", "unflatten", "squeeze", "unsqueeze", "movedim", "flip",
    "roll", "contiguous", "clone", "adjoint", "view_as",
}  # fmt: skip
_SENTENCES = {
    "sum": "A sum becomes a broadcast: every element that was summed counts once, so each gets the gradient of the sum",
    "mean": "A mean is a sum divided by n: every element gets the gradient of the mean, divided by n",
    "neg": "The sign was turned, so the gradient's is turned back",
    "exp": "exp is its own derivative: the gradient is multiplied by the output",
    "log": "The derivative of log is 1/x: the gradient is divided by the input",
    "tanh": "The derivative of tanh is 1 - tanh², and tanh is the output itself",
    "sigmoid": "The derivative of the sigmoid s is s (1 - s), from the output itself",
    "relu": "relu lets the gradient pass where the input was positive, and stops it elsewhere",
    "sqrt": "The derivative of a square root is one over twice the root",
    "pow": "A power comes down as a factor, and the exponent goes down by one",
    "softmax": "Each row of a softmax sums to 1, so its gradient loses the mean that the row's probabilities give it",
    "cross_entropy": "Softmax and log cancel: what is left is the probabilities, less one where the answer is, over n",
    "cat": "What was put together is taken apart again: each piece gets its own stretch of the gradient",
    "stack": "What was stacked is taken apart again: each tensor gets its own layer of the gradient",
    "masked_fill": "Where the mask put a number, no gradient goes back",
    "dropout": "Only what was kept passes the gradient on, with the same scale",
    "expand": "A broadcast becomes a sum: every copy adds its gradient to the original's",
}


def formula(op: Op, argument: str) -> str:
    """The formula of the gradient of an argument, as Python: ``g * (1 - out * out)``."""
    function: Any = op.formulas.get(argument)
    if function is None:
        return ""
    code = getattr(function, "__code__", None)
    if code is None:
        return f"{getattr(function, '__name__', 'a function')}(...)"
    names = code.co_varnames[: code.co_argcount]
    if code.co_name == "<lambda>":
        for first, arguments, body in _lambdas(code.co_filename):
            if first == code.co_firstlineno and arguments == names:
                return body
    return f"{function.__name__}({', '.join(names)})"


@lru_cache(maxsize=128)
def _lambdas(file: str) -> tuple[tuple[int, tuple[str, ...], str], ...]:
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return ()
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Lambda)]
    return tuple((n.lineno, tuple(a.arg for a in n.args.args), ast.unparse(n.body)) for n in found)


def reason(record: Record, argument: str, name: str) -> str:
    """Why the gradient of an argument is what the rule says, in a sentence without its full stop.

    Args:
        record: what ran.
        argument: which argument of it.
        name: what the argument's tensor is called.
    """
    op = record.op.name.strip("_")
    operands = [p for p, parent in zip(record.op.parameters, record.parents or (), strict=True) if parent is not None]
    if op in _SENTENCES:
        return _SENTENCES[op]
    if op in _INDEX:
        return (
            f"An index scatters: each gradient goes back to the place in {name} that its element came from, and places "
            f"that were taken more than once add up"
        )
    if op in _PICK:
        return f"Only what was picked had a say: the gradient is routed to that place in {name}, and to no other"
    if op in _MOVED:
        return "The elements were only rearranged, so their gradients are put back where they came from"
    if op in ("matmul", "linear", "addmm", "bmm"):
        return "A matrix product: each factor gets the gradient times the other factor, transposed so that shapes fit"
    if op in ("add", "scaled_add"):
        return "A sum passes the gradient on to each of its terms as it is"
    if op in ("sub", "rsub"):
        minus = (argument == "other") == (op == "sub")
        return "What is subtracted gets the gradient with the sign turned" if minus else "The gradient passes as it is"
    if op == "mul":
        return (
            "In a product, each factor gets the gradient times the other"
            if len(operands) > 1
            else ("The tensor was multiplied by a constant, and so is its gradient")
        )
    if op == "div":
        return (
            "The gradient is divided by the denominator"
            if argument == "input"
            else ("The denominator's derivative is minus the quotient over the denominator")
        )
    return f"This is the rule of {op}"


def sum_of_copies(shape: Any, part: Any, name: str) -> str:
    """What to say where a broadcast is undone; "" where there was none.

    Args:
        shape: of the node.
        part: of what the rule gives it.
        name: of the node.
    """
    new = len(part) - len(shape)
    stretched = new >= 0 and all(n in (1, m) for n, m in zip(shape, part[new:], strict=True))
    dims = [i for i in range(len(part)) if i < new or (shape[i - new] == 1 and part[i] != 1)] if stretched else []
    if not dims:
        return ""
    where = f"dim {dims[0]}" if len(dims) == 1 else f"dims {', '.join(map(str, dims))}"
    return (
        f"A broadcast becomes a sum: {name}, of shape {shape_text(shape)}, was copied along {where}, and the gradients "
        f"of the copies add up"
    )


def sum_of_uses(name: str, uses: int) -> str:
    """What to say of a tensor that is used more than once."""
    return f"{name} is used {uses} times, and its gradients add up"


def reasons(sent: Sent, name: str) -> list[str]:
    """Why a node is sent what it is sent.

    Args:
        sent: what a rule gives it.
        name: of the node.
    """
    said = [reason(sent.record, sent.argument, name), sum_of_copies(sent.node.shape, sent.part.shape, name)]
    return [text for text in said if text]


class Explained:
    """The reasons for the gradients of some nodes, in the order of the walk, and each of them once.

    Args:
        tape: what to explain.
        name: gives what a node is called.
        stated: the nodes whose gradients have a line; the others are explained with the next that has one.
    """

    def __init__(self, tape: Tape, name: Callable[[Any], str], stated: Container[Any]) -> None:
        self._name, self._stated = name, stated
        self._sent: dict[Any, list[Sent]] = {}
        for sent in Parts(tape, [torch.ones_like(data) for _, data in tape.results]).sent:
            self._sent.setdefault(sent.node, []).append(sent)
        self._told: set[Any] = set()

    def of(self, node: Any) -> list[str]:
        """The sentences, without full stops, for a node's gradient, and for those without a line that lead to it."""
        found: list[str] = []
        stack = [node]
        while stack:
            top = stack[-1]
            waiting = [
                s.record for s in self._sent.get(top, ()) if s.record not in self._stated and s.record not in self._told
            ]
            if waiting:
                stack.append(waiting[0])
                continue
            self._told.add(stack.pop())
            sent, name = self._sent.get(top, ()), self._name(top)
            found += [text for s in sent for text in reasons(s, name)]
            if len(sent) > 1:
                found.append(sum_of_uses(name, len(sent)))
        return list(dict.fromkeys(found))
