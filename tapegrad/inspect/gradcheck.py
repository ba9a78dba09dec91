"""Checking gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tapegrad.engine.backward import grad
from tapegrad.engine.tape import shape_text
from tapegrad.engine.tensor import Tensor


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
