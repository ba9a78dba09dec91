"""``recording()``: inside it, torch leaves that require grad are recorded, so that modules train as they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from tapegrad.engine.table import TABLE
from tapegrad.engine.tensor import Tensor
from tapegrad.engine.versions import PLAIN_TYPES
from tapegrad.errors import MissingRule
from tapegrad.nn import quiet
from tapegrad.nn.leaves import bound
from tapegrad.nn.processes import guard_shards, refuse_write
from tapegrad.torch_api.dispatch import call, missing, tensors_in, writes
from tapegrad.tracebacks import trim

F = TypeVar("F", bound=Callable[..., Any])
_is_grad_enabled = torch.is_grad_enabled
# What is no function of the table, and is recorded all the same.
_MEMBERS = {getattr(torch.Tensor, name).__get__: name for name in ("T", "mT", "H", "mH", "real", "imag")}
_MEMBERS[torch.Tensor.__getitem__] = "__getitem__"
_SET_GRAD = vars(torch._C.TensorBase)["grad"].__set__


class recording(TorchFunctionMode):
    """Record what is computed from torch leaves that require grad, such as the parameters of a module.

    Inside it, a training loop that was written for torch runs on tapegrad's tape, with no other change: what a module
    computes is a ``Tensor``, ``loss.backward()`` is tapegrad's, and the gradients are in the parameters' own ``grad``,
    where torch's optimizers, ``zero_grad``, ``clip_grad_norm_`` and schedulers find them. Nothing in a module is
    swapped. It is a context manager, and a decorator of functions.

    Raises:
        MissingRule: a torch function has no rule, and torch.autograd would have recorded it.

    Example::

        model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        optimizer = torch.optim.AdamW(model.parameters())
        with tapegrad.recording():
            for x, y in [(torch.randn(4, 2), torch.randn(4, 1))] * 10:
                loss = torch.nn.functional.mse_loss(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    """

    def __enter__(self) -> recording:
        self.nested = quiet.is_recording()
        if not self.nested:
            super().__enter__()  # type: ignore[no-untyped-call]  # torch has not typed it
            quiet.begin()
            guard_shards()
        return self

    def __exit__(self, *exception: Any) -> None:
        if not self.nested:
            quiet.end()
            super().__exit__(*exception)  # type: ignore[no-untyped-call]  # as above

    def __call__(self, function: F) -> F:
        """The function, recording whenever it runs."""
        if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
            raise TypeError("recording: a generator or coroutine runs later, outside; write `with recording():` in it")

        @wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return recorded  # type: ignore[return-value]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            if func is torch.as_tensor and type(args[0]) is Tensor:
                return args[0].to(**{name: value for name, value in (kwargs or {}).items() if value is not None})
            if not _is_grad_enabled():
                return func(*args, **kwargs) if kwargs else func(*args)
            entry = TABLE.get(func)
            if entry is None:
                return _without_rule(func, args, kwargs or {})
            args, ours = leaves_bound(args)
            if kwargs:
                kwargs, among = leaves_bound(kwargs)
                if ours or among:
                    return call(func, args, kwargs)
                return func(*args, **kwargs)
            return entry(*args) if ours else func(*args)
        except Exception as error:
            trim(error)
            raise


quiet.MODE = recording


def leaves_bound(value: Any) -> tuple[Any, bool]:
    """Arguments with bound leaves for torch leaves that require grad, and whether there is any Tensor among them."""
    found = False
    if type(value) is dict:
        values, found = leaves_bound(tuple(value.values()))
        return dict(zip(value, values, strict=True)), found
    items = []
    for item in value:
        kind = type(item)
        if kind is Tensor:
            found = True
        elif kind in PLAIN_TYPES:
            pass
        elif isinstance(item, torch.Tensor):
            if item.requires_grad and item.is_leaf:
                item, found = bound(item), True
        elif kind is tuple or kind is list:
            item, among = leaves_bound(item)
            found = found or among
        items.append(item)
    return (items if type(value) is list else tuple(items)), found


def _without_rule(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """A function that is not in the table: torch runs it, if nothing is recorded there."""
    if func == _SET_GRAD and args[1] is not None:
        refuse_write(args[0])
    if func in _MEMBERS and args[0].requires_grad and args[0].is_leaf:
        member = getattr(bound(args[0]), _MEMBERS[func])
        return member(*args[1:]) if len(args) > 1 else member
    given = list(tensors_in((args, kwargs)))
    if any(type(t) is Tensor for t in given):
        return func(*args, **kwargs)
    if writes(func) and any(t.requires_grad for t in given[1:]):
        return call(func, *[leaves_bound(a)[0] for a in (args, kwargs)])
    result = func(*args, **kwargs)
    if any(t.requires_grad and not t.is_leaf for t in tensors_in(result)) and not any(
        t.requires_grad and not t.is_leaf for t in given
    ):
        raise MissingRule(missing(func))
    return result
