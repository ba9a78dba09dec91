"""Checking gradients: against torch.autograd, row by row, and against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tapegrad.apply import node
from tapegrad.backward import grad, walk
from tapegrad.names import caller_scope, name_nodes
from tapegrad.tape import Tape, shape_text
from tapegrad.tensor import Tensor

# --- against torch.autograd ---


@dataclass(frozen=True)
class Row:
    """One gradient beside torch's.

    Attributes:
        name: whose gradient it is.
        shape: its shape.
        exact: every element is equal.
        approximate: ``torch.allclose`` with its default tolerances.
        maxdiff: the largest absolute difference.
    """

    name: str
    shape: tuple[int, ...]
    exact: bool
    approximate: bool
    maxdiff: float

    def __str__(self) -> str:
        exact, approximate = str(self.exact), str(self.approximate)
        return f"{self.name:15s} | exact: {exact:5s} | approximate: {approximate:5s} | maxdiff: {self.maxdiff}"

    @classmethod
    def of(cls, name: str, ours: torch.Tensor | None, theirs: torch.Tensor | None) -> Row:
        """Compare two gradients, None standing for zeros."""
        if ours is None or theirs is None:
            given = theirs if ours is None else ours
            ours = torch.zeros_like(given) if ours is None and given is not None else ours
            theirs = torch.zeros_like(given) if theirs is None and given is not None else theirs
        if ours is None or theirs is None:
            return cls(name, (), True, True, 0.0)
        same = (ours == theirs) | (ours.isnan() & theirs.isnan())
        diff = torch.where(same, 0.0, (ours - theirs).abs())  # inf - inf is no difference
        return cls(
            name,
            tuple(ours.shape),
            bool(same.all()),
            torch.allclose(ours, theirs, equal_nan=True),
            float(diff.max()) if diff.numel() else 0.0,
        )


class Comparison(tuple[Row, ...]):
    """Rows of gradients beside torch's; prints as the lecture's table."""

    @property
    def exact(self) -> bool:
        """Whether every row is exact."""
        return all(row.exact for row in self)

    @property
    def approximate(self) -> bool:
        """Whether every row is approximate."""
        return all(row.approximate for row in self)

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    __repr__ = __str__


def compare(loss: Tensor, names: Mapping[str, Tensor] | None = None) -> Comparison:
    """Compare the gradient of every node with torch.autograd's, by replaying the tape on torch tensors.

    Call it before ``loss.backward()`` frees the tape, or after ``loss.backward(retain_graph=True)``. Gradients in
    ``grad`` are left alone.

    Args:
        loss: a tensor of one element, or of any shape, whose sum then counts as the loss.
        names: name -> Tensor: the rows wanted, in that order. By default every node of the tape has a row, called by
            the name that the calling code has for it, or else by its op.

    Returns:
        A row for each node: name, exact, approximate, maxdiff.

    Raises:
        RuntimeError: the replay gives another loss, because a leaf or a constant was changed since.
        FreedTape: the tape was walked before without ``retain_graph=True``.
    """
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        raise TypeError("compare: expected a Tensor of tapegrad's that requires grad")
    scope = caller_scope(1) if names is None else {}
    tape = Tape([node(loss)], name_nodes(scope if names is None else names))
    if names is None:
        places = {tape.name(p): p for p in [*tape.leaves, *tape]}
    else:
        places = {name: node(t) for name, t in names.items()}
    ones = torch.ones_like(loss._data)
    with torch.no_grad():
        targets = list(dict.fromkeys(places.values()))
        ours = walk([(node(loss), ones)], targets, retain_graph=True, hooks=False)
    theirs = replay(tape)
    result = theirs[node(loss)]
    if not ((result == loss._data) | (result.isnan() & loss._data.isnan())).all():
        raise RuntimeError(
            "compare: replaying the tape gives another loss; a leaf or a constant was changed since the forward pass"
        )
    torch.autograd.backward(result, ones)
    return Comparison(
        [Row.of(name, ours.get(p), theirs[p].grad if p in theirs else None) for name, p in places.items()]
    )


def replay(tape: Tape) -> dict[Any, torch.Tensor]:
    """Run a tape again on torch tensors that torch.autograd tracks.

    Returns:
        For each record and leaf, the torch tensor that stands for it, with its gradient to be retained.
    """
    values: dict[Any, torch.Tensor] = {leaf: leaf._data.detach().clone().requires_grad_() for leaf in tape.leaves}
    with torch.enable_grad():
        for record in tape:
            args = [_value(a, p, values) for a, p in zip(record.args, record.parents or (), strict=True)]
            out = record.op.run(*args)
            values[record] = out[0] if record.op.aux else out
            values[record].retain_grad()
    return values


def _value(arg: Any, parent: Any, values: Mapping[Any, torch.Tensor]) -> Any:
    if type(parent) is tuple:
        return tuple([_value(a, p, values) for a, p in zip(arg or parent, parent, strict=True)])
    if parent is not None:
        return values[parent]
    return arg.clone() if isinstance(arg, torch.Tensor) else arg  # a copy: batch norm updates its running statistics


# --- against finite differences ---


class GradcheckError(AssertionError):
    """A gradient differs from its finite difference."""


def gradcheck(
    func: Callable[..., Tensor],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    order: int = 1,
) -> bool:
    """Compare gradients with central differences, element by element.

    With a fixed random cotangent v, the scalar v . func(x) is differentiated by the tape and by
    (f(x + eps) - f(x - eps)) / 2 eps for each element of each input.

    Args:
        func: takes ``inputs``, returns a Tensor of any shape.
        inputs: Tensors, of float64 where they require grad, and whatever else ``func`` takes.
        eps: half the step.
        atol: the absolute part of the allowed difference, ``atol + rtol * |numeric|``.
        rtol: its relative part.
        order: 1 checks the gradient; 2 also the gradient of the gradient, and so on.

    Returns:
        True.

    Raises:
        GradcheckError: a gradient differs; the message gives input, element, analytic and numeric value.
        ValueError: an input that requires grad is not float64, or none requires grad, or ``order`` is not 1, 2, ...
    """
    if order < 1 or order % 1:
        raise ValueError(f"gradcheck: order is {order}; 1 checks the gradient, 2 also the gradient of the gradient")
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires grad")
    for i in checked:
        if inputs[i].dtype != torch.float64:
            raise ValueError(f"gradcheck: inputs[{i}] is {inputs[i].dtype}; finite differences need float64")
    name = ""
    for level in range(1, order + 1):
        out = func(*inputs)
        if not isinstance(out, Tensor) or not out.requires_grad:
            raise GradcheckError("gradcheck: the output does not require grad; nothing was recorded")
        name = name or (out.record.op.name if out.record is not None else "func")
        v = _cotangent(out)
        analytic = grad(out, [inputs[i] for i in checked], v, allow_unused=True)
        for i, g in zip(checked, analytic, strict=True):
            g = torch.zeros_like(inputs[i]._data) if g is None else g
            numeric = _central_difference(func, inputs, i, v, eps)
            wrong = ~torch.isclose(g, numeric, rtol=rtol, atol=atol, equal_nan=True)
            if wrong.any():
                element = tuple(wrong.nonzero()[0].tolist())
                raise GradcheckError(
                    f"gradcheck: {name}, order {level}: the gradient of inputs[{i}], shape "
                    f"{shape_text(inputs[i].shape)}, is wrong in {int(wrong.sum())} of {wrong.numel()} elements; at "
                    f"{list(element)} analytic {g[element].item():.9g}, numeric {numeric[element].item():.9g}"
                )
        func = _derivative(func, checked)
    return True


def _cotangent(out: Tensor) -> torch.Tensor:
    """The same random numbers each time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(out.shape, generator=generator, dtype=out.dtype).to(out.device)


def _derivative(func: Callable[..., Tensor], checked: Sequence[int]) -> Callable[..., Tensor]:
    """The gradients of a function with respect to some of its inputs, in one vector."""

    def derivative(*xs: Any) -> Tensor:
        out, wanted = func(*xs), [xs[i] for i in checked]
        grads = grad(out, wanted, _cotangent(out), create_graph=True, allow_unused=True)
        # Zeros tie a constant gradient, as of a linear function, to the inputs: if it should depend, that is found.
        zeros = [x.reshape(-1) * 0.0 for x in wanted]
        flat = [g.reshape(-1) for g in grads if g is not None]
        return torch.cat([*flat, *zeros])  # type: ignore[return-value]  # torch says: its own tensor

    return derivative


def _central_difference(
    func: Callable[..., Tensor], inputs: list[Any], i: int, v: torch.Tensor, eps: float
) -> torch.Tensor:
    x = inputs[i]._data
    numeric = torch.zeros_like(x, memory_format=torch.contiguous_format)
    for k in range(x.numel()):
        ends = []
        for step in (eps, -eps):
            moved = x.clone(memory_format=torch.contiguous_format)
            moved.view(-1)[k] += step
            ends.append((func(*inputs[:i], Tensor(moved, True), *inputs[i + 1 :]).data * v).sum())
        numeric.view(-1)[k] = (ends[0] - ends[1]) / (2 * eps)
    return numeric
