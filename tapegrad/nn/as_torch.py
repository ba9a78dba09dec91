"""``as_torch``: what tapegrad records, as one torch.autograd.Function, for those who stay on torch.autograd's side."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from tapegrad.engine.tape import Record, parents_of, reached
from tapegrad.engine.tensor import Tensor, tensor
from tapegrad.engine.walk import walk
from tapegrad.errors import MissingRule
from tapegrad.nn.quiet import is_recording
from tapegrad.nn.recording import recording
from tapegrad.tracebacks import trimmed


@trimmed
def as_torch(module_or_function: Any) -> Any:
    """A module, or a function, whose forward pass tapegrad records and torch.autograd sees as one function.

    It takes and returns torch tensors, and is part of torch's graph: ``loss.backward()``, hooks of modules, reentrant
    and non-reentrant ``torch.utils.checkpoint``, ``DistributedDataParallel`` and ``fully_shard`` treat it as any other.
    The gradients inside are tapegrad's. Inside ``recording()`` it does nothing, for all is recorded there.

    Args:
        module_or_function: a ``torch.nn.Module``, or a function of torch tensors. What it uses of torch leaves that
            require grad, such as parameters, gets gradients as well.

    Returns:
        A module, which holds the given one as its ``module``, or a function.

    Raises:
        MissingRule: in the forward pass, a torch function has no rule, or a leaf of ours is used inside.
        RuntimeError: in the backward pass, under ``create_graph=True``: it cannot be differentiated again.

    Example::

        model = tapegrad.as_torch(torch.nn.Linear(3, 2))
        model(torch.randn(4, 3)).sum().backward()  # torch's backward; model.module.weight.grad is set
    """
    if isinstance(module_or_function, torch.nn.Module):
        return AsTorch(module_or_function)

    @trimmed
    @wraps(module_or_function)
    def seen_by_torch(*args: Any, **kwargs: Any) -> Any:
        return _call(module_or_function, args, kwargs)

    return seen_by_torch


class AsTorch(torch.nn.Module):
    """A module whose forward pass is one function of torch's.

    Args:
        module: what runs, recorded.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module returns."""
        return _call(self.module, args, kwargs)


def _call(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    if not torch.is_grad_enabled() or is_recording():
        return function(*args, **kwargs)
    given, structure = tree_flatten((args, kwargs))
    origins: dict[Any, torch.Tensor] = {}  # a leaf of ours -> the torch tensor that it stands for
    for i, t in enumerate(given):
        if isinstance(t, torch.Tensor) and t.requires_grad:
            given[i] = tensor(t.detach(), requires_grad=True)
            origins[given[i]] = t
    args, kwargs = tree_unflatten(given, structure)
    with recording():
        out = function(*args, **kwargs)
    results, structure = tree_flatten(out)
    computed = [i for i, t in enumerate(results) if isinstance(t, Tensor) and t.record is not None]
    if computed:
        graph = _Graph([results[i] for i in computed], origins)
        seen = _Function.apply(graph, *graph.inputs)  # type: ignore[no-untyped-call]  # torch has not typed it
        for i, t in zip(computed, seen, strict=True):
            results[i] = t
    results = [origins.get(t, t.data) if isinstance(t, Tensor) else t for t in results]
    return tree_unflatten(results, structure)


class _Graph:
    """What a forward pass has recorded.

    The values that the rules need are handed to torch, to save: so torch frees them, checks their versions, and its
    non-reentrant checkpoint drops them and computes them again.

    Attributes:
        starts: the records of the outputs.
        records: all that ran.
        leaves, inputs: where gradients go, ours and torch's.
        results: the outputs, until torch has taken them.
    """

    def __init__(self, outputs: list[Any], origins: dict[Any, torch.Tensor]) -> None:
        self.starts: list[Record] = [t.record for t in outputs]
        self.results: list[torch.Tensor] = [t.data.detach() for t in outputs]
        self.records = reached(self.starts)
        nodes = dict.fromkeys(p for r in self.records for p in parents_of(r) if isinstance(p, Tensor))
        self.leaves = list(nodes)
        self.inputs = [origins[leaf] if leaf in origins else _origin(leaf) for leaf in self.leaves]

    def give_away(self) -> list[torch.Tensor]:
        """The saved tensors, which the records hold no longer."""
        given: list[torch.Tensor] = []
        for record in self.records:
            record.saved = tuple([_given(value, given) for value in record.saved])
            record.watched = ()
        return given

    def take_back(self, tensors: tuple[torch.Tensor, ...]) -> list[tuple[Any, ...]]:
        """Give the records what they had saved, and return what they have instead until then."""
        before = [record.saved for record in self.records]
        for record in self.records:
            record.saved = tuple([_taken(value, tensors) for value in record.saved])
        return before


class _Place(int):
    """Where a tensor is among those given to torch."""


def _given(value: Any, given: list[torch.Tensor]) -> Any:
    if type(value) is tuple:
        return tuple([_given(v, given) for v in value])
    if not isinstance(value, torch.Tensor):
        return value
    given.append(value)
    return _Place(len(given) - 1)


def _taken(value: Any, tensors: tuple[torch.Tensor, ...]) -> Any:
    if type(value) is tuple:
        return tuple([_taken(v, tensors) for v in value])
    return tensors[value] if type(value) is _Place else value


def _origin(leaf: Tensor) -> torch.Tensor:
    """The torch leaf that a bound leaf stands for."""
    if leaf._holder is leaf.data:
        raise MissingRule(
            f"as_torch: a leaf of tapegrad's own, of shape {tuple(leaf.shape)}, is used inside, which torch does not "
            f"see; let it be a torch leaf, torch.nn.Parameter(t.data)"
        )
    return leaf._holder


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, graph: _Graph, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.graph, results = graph, graph.results
        graph.results = []
        ctx.save_for_backward(*graph.give_away())
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor | None) -> tuple[Any, ...]:
        if torch.is_grad_enabled():  # create_graph=True; torch's once_differentiable may give a constant instead
            raise RuntimeError(
                "as_torch: its backward pass cannot be differentiated again; leave create_graph out, or compute inside "
                "tapegrad.recording(), where tapegrad.grad(..., create_graph=True) records the walk"
            )
        graph = ctx.graph
        starts = [(r, g) for r, g in zip(graph.starts, cotangents, strict=True) if g is not None]
        places = graph.take_back(ctx.saved_tensors)
        try:
            found = walk(starts, graph.leaves, retain_graph=True) if starts else {}
        finally:
            for record, saved in zip(graph.records, places, strict=True):
                record.saved = saved
        gradients = [found.get(leaf) for leaf in graph.leaves]
        return (None, *[g if t.requires_grad else None for g, t in zip(gradients, graph.inputs, strict=True)])
