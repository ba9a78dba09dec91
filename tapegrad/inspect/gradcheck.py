"""Checking gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import torch

from tapegrad.engine.backward import grad
from tapegrad.engine.tape import shape_text
from tapegrad.engine.tensor import Tensor, raw
from tapegrad.tracebacks import trimmed


class GradcheckError(AssertionError):
    """A gradient differs from its finite difference."""


@trimmed
def gradcheck(
    func: Callable[..., Any],
    inputs: torch.Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-4,
    order: int = 1,
) -> bool:
    """Compare gradients with central differences, element by element.

    With a fixed random cotangent v of each output, the scalar v . func(x) is differentiated by the tape and by
    (f(x + eps) - f(x - eps)) / 2 eps for each element of each input. Of complex numbers it is Re(conj(v) . func(x)),
    and x takes a step along the real axis, and one along the imaginary one, as torch has it: see ``docs/complex.md``.

    Args:
        func: takes ``inputs``, returns a Tensor of any shape, or several; those that do not require grad, and what is
            no Tensor, are passed over.
        inputs: Tensors, of float64 or complex128 where they require grad, and whatever else ``func`` takes.
        eps: half the step.
        atol: the absolute part of the allowed difference, ``atol + rtol * |numeric|``.
        rtol: its relative part.
        order: 1 checks the gradient; 2 also the gradient of the gradient, with respect to inputs and cotangents, and so
            on.

    Returns:
        True.

    Raises:
        GradcheckError: a gradient differs, or is NaN, or the finite difference is not finite; the message gives output,
            input, element, analytic and numeric value.
        ValueError: an input that requires grad is not float64, or none requires grad, or ``order`` is not 1, 2, ...
        TypeError: ``func`` returns a dict.

    Example:
        >>> x = tapegrad.tensor(torch.randn(3, dtype=torch.float64), requires_grad=True)
        >>> tapegrad.gradcheck(torch.tanh, x, order=2)
        True
    """
    if order < 1 or order % 1:
        raise ValueError(f"gradcheck: order is {order}; 1 checks the gradient, 2 also the gradient of the gradient")
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    called = {i: f"inputs[{i}]" for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad}
    if not called:
        raise ValueError("gradcheck: no input requires grad")
    for i in called:
        if inputs[i].dtype not in (torch.float64, torch.complex128):
            raise ValueError(
                f"gradcheck: inputs[{i}] is {inputs[i].dtype}; finite differences need float64, or complex128"
            )
    name = ""
    for level in range(1, order + 1):
        outputs, several = _outputs(func(*inputs))
        if not outputs:
            raise GradcheckError("gradcheck: no output requires grad; nothing was recorded")
        first = next(iter(outputs.values()))
        name = name or (first.record.op.name if first.record is not None else "func")
        cotangents = {k: _cotangent(out, k) for k, out in outputs.items()}
        numeric = {i: _central_differences(func, inputs, i, cotangents, eps) for i in called}
        # What the next order differentiates is the formulas, recorded; the kernels may be another text.
        for recorded in (False, True) if level < order else (False,):
            for k, out in outputs.items():
                wanted = [inputs[i] for i in called]
                grads = grad(out, wanted, cotangents[k], True, create_graph=recorded, allow_unused=True)
                for i, g in zip(called, grads, strict=True):
                    which = f"output {k}: " if several else ""
                    what = f"gradcheck: {name}, order {level}: {which}the gradient of {called[i]}"
                    _compare(what + (", with create_graph=True" if recorded else ""), g, numeric[i][k], atol, rtol)
        func = _derivative(func, list(called), list(outputs))
        for k, v in cotangents.items():
            called[len(inputs)] = f"the cotangent{f' of output {k}' if several else ''}"
            inputs.append(Tensor(v, True))
    return True


def _outputs(result: Any) -> tuple[dict[int, Tensor], bool]:
    """The outputs of a function that require grad, by their position, and whether there may be several."""
    found = {k: t for k, t in enumerate(_flat(result)) if isinstance(t, Tensor) and t.requires_grad}
    return found, isinstance(result, (tuple, list))


def _flat(result: Any) -> Iterator[Any]:
    """What nested sequences hold."""
    if isinstance(result, (tuple, list)):
        for value in result:
            yield from _flat(value)
    elif isinstance(result, Mapping):
        raise TypeError(f"gradcheck: func returned a {type(result).__name__}; return a Tensor, or a sequence of them")
    else:
        yield result


def _compare(what: str, g: Any, numeric: torch.Tensor, atol: float, rtol: float) -> None:
    """Refuse a gradient that differs from its finite difference; None stands for zeros."""
    analytic = torch.zeros_like(numeric) if g is None else raw(g)
    if not numeric.isfinite().all():
        element = tuple((~numeric.isfinite()).nonzero()[0].tolist())
        raise GradcheckError(
            f"{what}, shape {shape_text(numeric.shape)}, cannot be checked at {list(element)}: the finite difference "
            f"is {numeric[element].item():g}, for func is not finite near there; keep away from where it ends"
        )
    wrong = ~torch.isclose(analytic, numeric, rtol=rtol, atol=atol)
    if wrong.any():
        element = tuple(wrong.nonzero()[0].tolist())
        raise GradcheckError(
            f"{what}, shape {shape_text(numeric.shape)}, is wrong in {int(wrong.sum())} of {wrong.numel()} elements; "
            f"at {list(element)} analytic {analytic[element].item():.9g}, numeric {numeric[element].item():.9g}"
        )


def _cotangent(out: Tensor, k: int) -> torch.Tensor:
    """Random numbers, the same each time, but others for each output."""
    generator = torch.Generator().manual_seed(k)
    return torch.randn(out.shape, generator=generator, dtype=out.dtype).to(out.device)


def _derivative(func: Callable[..., Any], wanted: Sequence[int], outputs: Sequence[int]) -> Callable[..., Tensor]:
    """The gradients of a function with respect to some of its inputs, in one vector, given cotangents as well."""

    def derivative(*args: Any) -> Tensor:
        xs, cotangents = args[: -len(outputs)], args[-len(outputs) :]
        out, _ = _outputs(func(*xs))
        leaves = [xs[i] for i in wanted]
        grads = grad([out[k] for k in outputs], leaves, cotangents, create_graph=True, allow_unused=True)
        # Zeros tie a constant gradient, as of a linear function, to the inputs: if it should depend, that is found.
        zeros = [x.reshape(-1) * 0.0 for x in (*leaves, *cotangents)]
        flat = [g.reshape(-1) for g in grads if g is not None]
        # Complex ones as two real numbers each, so that one vector holds them all.
        flat = [torch.view_as_real(g.resolve_conj()).reshape(-1) if g.is_complex() else g for g in (*flat, *zeros)]
        return torch.cat(flat)  # type: ignore[return-value]  # torch says: its own tensor

    return derivative


def _central_differences(
    func: Callable[..., Any], inputs: list[Any], i: int, cotangents: Mapping[int, torch.Tensor], eps: float
) -> dict[int, torch.Tensor]:
    """For each output, the derivative of its product with its cotangent."""
    x = inputs[i]._data
    numeric = {k: torch.zeros_like(x, memory_format=torch.contiguous_format) for k in cotangents}
    axes = (1.0, 1j) if x.is_complex() else (1.0,)
    for element, axis in product(range(x.numel()), axes):
        ends = []
        for step in (eps, -eps):
            moved = x.clone(memory_format=torch.contiguous_format)
            moved.view(-1)[element] += step * axis
            outputs, _ = _outputs(func(*inputs[:i], Tensor(moved, True), *inputs[i + 1 :]))
            ends.append({k: (outputs[k].data * v.conj()).sum().real for k, v in cotangents.items()})
        for k in cotangents:
            numeric[k].view(-1)[element] += (ends[0][k] - ends[1][k]) / (2 * eps) * axis
    return numeric
