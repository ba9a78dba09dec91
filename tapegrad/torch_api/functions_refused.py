"""What hands its arguments to torch.autograd without asking ``__torch_function__`` refuses Tensors.

These are torch.autograd.Function, and the hooks that modules run in torch's backward pass.
"""

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
    """Have both refuse Tensors that require grad; nothing else about them changes."""
    guard_functions()
    guard_module_hooks()


def guard_module_hooks() -> None:
    """Backward hooks of modules would not be run, without a word."""
    setup = torch.utils.hooks.BackwardHook.setup_output_hook
    if hasattr(setup, "__wrapped__"):
        return

    @wraps(setup)
    def guarded(self: Any, args: Any) -> Any:
        if torch.is_grad_enabled() and any(isinstance(t, Tensor) and t.requires_grad for t in tensors_in(args)):
            raise MissingRule(
                f"{type(self.module).__name__}: backward hooks of modules are run by torch.autograd, which does not "
                f"see the tape; take them away, and let a forward hook call register_hook on the output"
            )
        return setup(self, args)  # type: ignore[no-untyped-call]  # torch has not typed it

    torch.utils.hooks.BackwardHook.setup_output_hook = guarded  # type: ignore[method-assign]


def guard_functions() -> None:
    """Have ``torch.autograd.Function.apply`` refuse Tensors.

    It runs the function's ``forward`` with recording off and lets torch's own tape take the gradient over, which knows
    nothing of a Tensor: the result would be a constant, and its gradient lost without a word.
    """
    apply = torch.autograd.Function.__dict__["apply"]  # a classmethod: of Python's, or from torch 2.14 on of C's
    if hasattr(getattr(apply, "__func__", None), "__wrapped__"):
        return

    @wraps(getattr(apply, "__func__", apply))
    def guarded(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            for t in tensors_in((args, kwargs)):
                if isinstance(t, Tensor) and t.requires_grad:
                    if cls in WITH_RULES:
                        return WITH_RULES[cls](*args, **kwargs)
                    raise MissingRule(refusal(cls.__name__, t))
        return apply.__get__(None, cls)(*args, **kwargs)

    torch.autograd.Function.apply = classmethod(guarded)  # type: ignore[assignment,method-assign]


def refusal(name: str, t: Tensor) -> str:
    """What to say of a Tensor that a function of torch.autograd's was given."""
    instead = "give its forward and backward to tapegrad.rule, write it in terms of torch's functions"
    if name in ("CheckpointFunction", "_NoopSaveInputs"):  # torch.utils.checkpoint's: reentrant, and early others
        instead = "use tapegrad.checkpoint"
    return (
        f"{name}.apply(): a torch.autograd.Function does not see tapegrad's tape, and the gradient of its argument of "
        f"shape {tuple(t.shape)} would be lost; {instead}, or .detach() the argument if it is a constant"
    )
