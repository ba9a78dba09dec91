"""The functions of ``torch.autograd.functional``: products with Jacobians and Hessians, and the matrices themselves.

Products on the left, v J, are a walk. Those on the right, J v, are two: what a walk gives is linear in the cotangent,
so that its gradient with respect to the cotangent, at v, is J v.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tapegrad.engine.backward import grad
from tapegrad.engine.tensor import Tensor, raw
from tapegrad.inspect.grad_mode import in_grad_mode
from tapegrad.tracebacks import trimmed

Function = Callable[..., Any]


@trimmed
def vjp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The product of a cotangent with the Jacobian: as ``torch.autograd.functional.vjp``.

    Args:
        func: takes ``inputs``, returns a Tensor or a tuple of them.
        inputs: a tensor, or a tuple: torch's or Tensors, of any shape.
        v: a cotangent of the shape of each output; may be left out if the output has one element.
        create_graph: give Tensors that can be differentiated again.
        strict: refuse an output that does not depend on an input, which otherwise has a gradient of zeros.

    Returns:
        What ``func`` returns, and for each input a tensor of its shape.

    Raises:
        RuntimeError: a cotangent is missing or does not fit, or with ``strict`` an input is not used.

    Example:
        >>> x = torch.tensor([1.0, 2.0])
        >>> tapegrad.vjp(lambda x: x * x, x, torch.ones(2))[1]
        tensor([2., 4.])
    """
    xs, outs, one_in, one_out = _run("vjp", func, inputs, create_graph)
    found = _walk("vjp", outs, xs, _given("vjp", v, outs), create_graph, strict)
    return _as(outs, one_out, create_graph), _as(found, one_in, create_graph)


@trimmed
def jvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The product of the Jacobian with a tangent: as ``torch.autograd.functional.jvp``.

    Args:
        func: as for ``vjp``.
        inputs: likewise.
        v: a tangent of the shape of each input; may be left out if the input has one element.
        create_graph: as for ``vjp``.
        strict: likewise.

    Returns:
        What ``func`` returns, and for each output a tensor of its shape.

    Raises:
        RuntimeError: as for ``vjp``.

    Example:
        >>> x = torch.tensor([1.0, 2.0])
        >>> tapegrad.jvp(lambda x: x * x, x, torch.tensor([1.0, 0.0]))[1]
        tensor([2., 0.])
    """
    xs, outs, _, one_out = _run("jvp", func, inputs, create_graph)
    vs = _given("jvp", v, xs)
    # Where it is taken does not matter to what is linear; some formulas take the logarithm of the cotangent, say.
    us = [Tensor(torch.ones_like(raw(out)), True) for out in outs]
    back = _walk("jvp", outs, xs, us, True, strict)
    found = _walk("jvp", back, us, vs, create_graph, False)
    return _as(outs, one_out, create_graph), _as(found, one_out, create_graph)


@trimmed
def jacobian(func: Function, inputs: Any, create_graph: bool = False, strict: bool = False) -> Any:
    """The Jacobian: as ``torch.autograd.functional.jacobian``.

    Args:
        func: as for ``vjp``.
        inputs: likewise.
        create_graph: likewise.
        strict: likewise.

    Returns:
        For each output a tuple with a tensor for each input, of the output's shape and then the input's; without the
        tuples where there is one output or one input.

    Example:
        >>> tapegrad.jacobian(torch.sin, torch.zeros(2))
        tensor([[1., 0.],
                [0., 1.]])
    """
    xs, outs, one_in, one_out = _run("jacobian", func, inputs, create_graph)
    rows = []
    for out in outs:
        n = raw(out).numel()
        units = torch.eye(n, dtype=out.dtype, device=out.device).view(n, *out.shape)
        each = [_walk("jacobian", [out], xs, [unit], create_graph, strict) for unit in units]
        columns = [torch.stack([g[i] for g in each]).view(*out.shape, *x.shape) for i, x in enumerate(xs)] if n else []
        columns = columns or [torch.zeros(*out.shape, *x.shape, dtype=x.dtype, device=x.device) for x in xs]
        rows.append(_as(columns, one_in, create_graph))
    return rows[0] if one_out else tuple(rows)


@trimmed
def hessian(func: Function, inputs: Any, create_graph: bool = False, strict: bool = False) -> Any:
    """The Hessian of a function with one element: as ``torch.autograd.functional.hessian``.

    Args:
        func: as for ``vjp``.
        inputs: likewise.
        create_graph: likewise.
        strict: likewise.

    Returns:
        A tuple of tuples of tensors, of one input's shape and then the other's; for one input, a tensor.

    Example:
        >>> tapegrad.hessian(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    one = isinstance(inputs, (Tensor, torch.Tensor))
    full = jacobian(_gradient_of("hessian", func, strict), (inputs,) if one else tuple(inputs), create_graph, strict)
    return full[0][0] if one else full


@trimmed
def hvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The product of the Hessian with a vector: as ``torch.autograd.functional.hvp``.

    Args:
        func: takes ``inputs``, returns a Tensor of one element.
        inputs: as for ``vjp``.
        v: of the shape of each input.
        create_graph: as for ``vjp``.
        strict: likewise.

    Returns:
        What ``func`` returns, and for each input a tensor of its shape.

    Example:
        >>> tapegrad.hvp(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]), torch.ones(2))[1]
        tensor([ 6., 12.])
    """
    one = isinstance(inputs, (Tensor, torch.Tensor))
    xs, vs = ((inputs,) if one else inputs), ((v,) if one and v is not None else v)
    found = jvp(_gradient_of("hvp", func, strict), xs, vs, create_graph)[1]
    value = func(*xs)
    return value if create_graph else raw(value), found[0] if one else found


@trimmed
def vhp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The product of a vector with the Hessian, which is symmetric: as ``torch.autograd.functional.vhp``.

    Args:
        func: as for ``hvp``.
        inputs: likewise.
        v: likewise.
        create_graph: likewise.
        strict: likewise.

    Returns:
        What ``func`` returns, and for each input a tensor of its shape.

    Example:
        >>> tapegrad.vhp(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]), torch.ones(2))[1]
        tensor([ 6., 12.])
    """
    one = isinstance(inputs, (Tensor, torch.Tensor))
    xs, vs = ((inputs,) if one else inputs), ((v,) if one and v is not None else v)
    found = vjp(_gradient_of("vhp", func, strict), xs, vs, create_graph)[1]
    value = func(*xs)
    return value if create_graph else raw(value), found[0] if one else found


# --- what they share ---


def _run(name: str, func: Function, inputs: Any, create_graph: bool) -> tuple[list[Tensor], list[Any], bool, bool]:
    """Run a function on inputs that take gradients; and whether there is one input, and one output."""
    one_in = isinstance(inputs, (Tensor, torch.Tensor))
    xs = []
    for x in (inputs,) if one_in else inputs:
        keep = create_graph and isinstance(x, Tensor) and x.requires_grad
        xs.append(x.view_as(x) if keep else Tensor(raw(x).detach(), True))
    out = in_grad_mode(True, lambda: func(*xs))
    one_out = isinstance(out, (Tensor, torch.Tensor))
    outs = [out] if one_out else list(out)
    for i, each in enumerate(outs):
        if not isinstance(each, (Tensor, torch.Tensor)):
            raise TypeError(f"{name}(): output {i} of func is a {type(each).__name__}; return tensors")
    return xs, outs, one_in, one_out


def _given(name: str, v: Any, like: Sequence[Any]) -> list[Any]:
    """The vectors that were given; 1, where one element needs none."""
    if v is None:
        if len(like) != 1 or raw(like[0]).numel() != 1:
            raise RuntimeError(f"{name}(): v may be left out for one tensor of one element; give one of each shape")
        return [torch.ones_like(raw(like[0]))]
    vs = [v] if isinstance(v, (Tensor, torch.Tensor)) else list(v)
    if [tuple(each.shape) for each in vs] != [tuple(each.shape) for each in like]:
        shapes = [tuple(each.shape) for each in vs]
        raise RuntimeError(f"{name}(): v has shapes {shapes}, expected {[tuple(each.shape) for each in like]}")
    return vs


def _walk(name: str, outs: Sequence[Any], xs: Sequence[Any], vs: Any, create_graph: bool, strict: bool) -> list[Any]:
    """The gradients of outputs with respect to inputs, zeros where there is no way."""
    pairs = [(out, v) for out, v in zip(outs, vs, strict=True) if isinstance(out, Tensor) and out.requires_grad]
    found: Sequence[Any] = [None] * len(xs)
    if pairs:
        starts, cotangents = zip(*pairs, strict=True)
        found = in_grad_mode(True, lambda: grad(starts, xs, cotangents, True, create_graph, True))
    if strict and any(g is None for g in found):
        raise RuntimeError(f"{name}(): strict, and the outputs do not depend on every input")
    return [torch.zeros_like(raw(x)) if g is None else g for x, g in zip(xs, found, strict=True)]


def _gradient_of(name: str, func: Function, strict: bool) -> Function:
    """The gradient of a function with one element, as a function; it is recorded."""

    def gradient(*xs: Any) -> tuple[Any, ...]:
        out = func(*xs)
        if not isinstance(out, (Tensor, torch.Tensor)) or raw(out).numel() != 1:
            raise RuntimeError(f"{name}(): func must return a tensor of one element; sum it")
        return tuple(_walk(name, [out], xs, [torch.ones_like(raw(out))], True, strict))

    return gradient


def _as(values: Sequence[Any], one: bool, create_graph: bool) -> Any:
    """A tensor, or a tuple of them: torch's, unless they are to be differentiated again."""
    shown = tuple(values) if create_graph else tuple([raw(value) for value in values])
    return shown[0] if one else shown
