"""What happens when a torch function is given a Tensor: its rule, or nothing to record, or a clear refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any

import torch

from tapegrad.engine.signature import name_of
from tapegrad.engine.table import TABLE
from tapegrad.engine.tensor import Tensor, adopted, wrap
from tapegrad.errors import InPlaceError, MissingRule
from tapegrad.mistakes import explain
from tapegrad.torch_api.inplace import takes_gradient, update
from tapegrad.torch_api.keywords import torch_names
from tapegrad.torch_api.plain import INSTEAD, MADE, PLAIN, VALUES_FROM
from tapegrad.torch_api.raw import raw
from tapegrad.torch_api.reasons import reason_for
from tapegrad.torch_api.users import entry_of

# A tensor without a past, however it is written.
DETACHING: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.detach: lambda input: input.detach(),
    torch.Tensor.detach: lambda input: input.detach(),
    torch.detach_copy: lambda input: input.detach().clone(),
}


def call(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Run a torch function that was given a Tensor.

    Raises:
        MissingRule: a gradient may be asked for, and the function has no rule.
        InPlaceError: a tensor that requires grad would be written into a plain torch tensor.
    """
    name = name_of(func)
    try:
        if "out" in kwargs and (out := kwargs.pop("out")) is not None:
            if torch.is_grad_enabled():
                raise MissingRule(f"{name}(): out= is not supported; use the result that is returned")
            kwargs.pop("requires_grad", None)  # nn.init.eye_ says it of the tensor that it fills
            func(*raw(args), **raw(kwargs), out=raw(out))
            return out
        if entry := TABLE.get(func) or entry_of(func):
            return entry(*args, **torch_names(kwargs, entry)) if kwargs else entry(*args)
        if func in DETACHING:
            return DETACHING[func](*args, **kwargs)
        if name in PLAIN or name in MADE:
            if name in VALUES_FROM and torch.is_grad_enabled():
                args, kwargs = adopted((args, kwargs), name, "an argument")
                named = {k: v for k, v in kwargs.items() if k not in ("input", "other")}
                refuse_values(name, (args[VALUES_FROM[name] :], named))
            result = func(*raw(args), **raw(kwargs))
            return wrapped(result) if name in MADE else result
        recording = False
        if torch.is_grad_enabled():
            args, kwargs = adopted((args, kwargs), name, "an argument")
            recording = any(t.requires_grad for t in tensors_in((args, kwargs)))
        if getattr(func, "__module__", "") == "torch.nn.init":  # these switch recording off themselves
            func(*raw(args), **raw(kwargs))
            return args[0] if args else kwargs["tensor"]
        if writes(func):
            target = args[0] if args else kwargs.get("input", kwargs.get("tensor"))
            if recording and isinstance(target, Tensor):
                return update(target, name, args[1:], kwargs)
            if recording and takes_gradient(target):
                raise InPlaceError(
                    f"{name}(): a Tensor that requires grad would be written into a plain torch.Tensor, which cannot "
                    f"record it; wrap the target with tapegrad.tensor(...), or write a .detach()ed value"
                )
            func(*raw(args), **raw(kwargs))
            return target
        if recording:
            raise MissingRule(missing(func))
        return wrapped(func(*raw(args), **raw(kwargs)))
    except Exception as error:
        explain(error, name, None, args, kwargs)
        raise


def refuse_values(name: str, values: Any) -> None:
    """Refuse Tensors that require grad for values of which a constant is made."""
    for t in tensors_in(values):
        if isinstance(t, Tensor) and t.requires_grad:
            instead = INSTEAD.get(name, "value.expand(size)")
            raise MissingRule(
                f"{name}(): the result takes no gradient, and that of the value it is made of, of shape "
                f"{tuple(t.shape)}, would be lost; use {instead}, or value.detach() if it is a constant"
            )


def missing(func: Callable[..., Any]) -> str:
    """What to say of a function without a rule."""
    name = name_of(func)
    if str(getattr(func, "__module__", "")).startswith("torch.autograd"):
        return (
            f"torch.autograd.{name}(): torch.autograd does not see tapegrad's tape; use tapegrad.grad, or t.backward()"
        )
    if (reason := reason_for(name)) is not None:
        return f"{name}(): {reason}"
    if isinstance(func, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        return f"{func}(): it is an operator of torch's library, of which torch's functions are made{_instead(func)}"
    near = get_close_matches(name, sorted({name_of(f) for f in TABLE}), n=3)
    nearest = f" The nearest it has: {', '.join(near)}." if near else ""
    return (
        f"{name}(): tapegrad has no rule for this torch function.{nearest} Give it one with tapegrad.rule, write it in "
        f"terms of other functions, or .detach() its inputs if they are constants"
    )


def _instead(operator: Any) -> str:
    """What to write instead of one of torch.ops."""
    name = str(operator).split(".")[1]  # aten.sin.default
    places = {"torch.": torch, "torch.nn.functional.": torch.nn.functional, "torch.Tensor.": torch.Tensor}
    known = [f"{prefix}{name}" for prefix, place in places.items() if getattr(place, name, None) in TABLE]
    return f"; use {known[0]}" if known else "; use those, give it a rule with tapegrad.rule, or .detach() its inputs"


def tensors_in(value: Any) -> Iterator[Tensor | torch.Tensor]:
    """The Tensors and torch tensors among arguments."""
    if isinstance(value, (Tensor, torch.Tensor)):
        yield value
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from tensors_in(v)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def wrapped(value: Any) -> Any:
    """Unrecorded results: those of floating point as Tensors, so that code goes on as it began."""
    if isinstance(value, torch.Tensor):
        return wrap(value, None) if value.is_floating_point() or value.is_complex() else value
    if isinstance(value, (tuple, list)):
        items = [wrapped(v) for v in value]
        return tuple(items) if type(value) is tuple else type(value)(items)
    return value


def writes(func: Callable[..., Any]) -> bool:
    """Whether a function changes its first argument: add_ and the like, ``x[i] = v``, torch.nn.init."""
    name = name_of(func)
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
