"""torch.autograd.Function, which hands its arguments on without asking ``__torch_function__``, refuses Tensors."""

from __future__ import annotations

from functools import wraps
from typing import Any

import torch

from tapegrad.engine.tensor import Tensor
from tapegrad.errors import MissingRule
from tapegrad.torch_api.dispatch import tensors_in
from tapegrad.torch_api.functions.sampling import dirichlet

# Functions of torch's own that have a rule here.
WITH_RULES = {torch.distributions.dirichlet._Dirichlet: dirichlet}


def guard() -> None:
    """Have ``torch.autograd.Function.apply`` refuse Tensors that require grad; nothing else about it changes.

    It runs the function's ``forward`` with recording off and lets torch's own tape take the gradient over, which knows
    nothing of a Tensor: the result would be a constant, and its gradient lost without a word.
    """
    apply = torch.autograd.Function.apply.__func__  # type: ignore[attr-defined]  # a bound method, to Python
    if hasattr(apply, "__wrapped__"):
        return

    @wraps(apply)
    def guarded(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            for t in tensors_in((args, kwargs)):
                if isinstance(t, Tensor) and t.requires_grad:
                    if cls in WITH_RULES:
                        return WITH_RULES[cls](*args, **kwargs)
                    raise MissingRule(refusal(cls.__name__, t))
        return apply(cls, *args, **kwargs)

    torch.autograd.Function.apply = classmethod(guarded)  # type: ignore[assignment,method-assign]


def refusal(name: str, t: Tensor) -> str:
    """What to say of a Tensor that a function of torch.autograd's was given."""
    instead = "give its forward and backward to tapegrad.rule, write it in terms of torch's functions"
    if name == "CheckpointFunction":
        instead = "use checkpoint(..., use_reentrant=False)"
    return (
        f"{name}.apply(): a torch.autograd.Function does not see tapegrad's tape, and the gradient of its argument of "
        f"shape {tuple(t.shape)} would be lost; {instead}, or .detach() the argument if it is a constant"
    )
