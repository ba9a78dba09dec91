"""Several processes: torch's own DistributedDataParallel serves, and what would let processes drift apart is refused.

Nothing here talks to another process. A bound leaf's gradient goes through torch's AccumulateGrad, where the reducer of
DistributedDataParallel waits for it; so it is given there as soon as it is complete, and a bucket that is full is on
its way while the walk goes on.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from functools import cache, wraps
from typing import Any
from weakref import WeakSet

import torch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.weak import WeakIdKeyDictionary

from tapegrad.engine import backward
from tapegrad.engine.gradients import Gradients
from tapegrad.engine.tape import Record, parents_of, reached
from tapegrad.engine.tensor import Tensor
from tapegrad.engine.walk import walk
from tapegrad.errors import MissingRule
from tapegrad.nn.leaves import deliver
from tapegrad.nn.quiet import is_recording


class AsTheyCome(Gradients):
    """The gradients of a walk, of which bound leaves get theirs when the last part has come.

    Args:
        start: the record that the walk starts from.
    """

    def __init__(self, start: Record) -> None:
        super().__init__(in_place=True)
        nodes = [p for record in reached([start]) for p in parents_of(record)]
        self.missing = Counter(p for p in nodes if type(p) is Tensor and p._holder is not p._data and not p.hooks)

    def give(self, node: Any, part: Any, record: Any = None, argument: str = "") -> bool:
        """As ``Gradients.give``."""
        first = super().give(node, part, record, argument)
        if node in self.missing:
            self.missing[node] -= 1
            if not self.missing[node] and node._requires_grad:
                self.sums.discard(node)
                deliver([(node._holder, self.pending.pop(node))])
        return first


def _has_processes() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def install() -> None:
    """Watch for a module of DistributedDataParallel: programs that have none pay nothing."""
    _guard(DistributedDataParallel, "_pre_forward", _check)


@cache
def _give_in_time() -> None:
    """Have ``backward`` give gradients as they come, where there are several processes."""
    written_walk = backward.written_walk

    def in_time(start: Record, g: Any, retain_graph: bool) -> dict[Any, Any] | None:
        if _has_processes():
            return walk([(start, g)], retain_graph=retain_graph, gradients=AsTheyCome(start))
        return None if written_walk is None else written_walk(start, g, retain_graph)

    backward.written_walk = in_time


def guard_shards() -> None:
    """Refuse modules of ``fully_shard``, if anybody has imported it."""
    if module := sys.modules.get("torch.distributed.fsdp._fully_shard._fsdp_param_group"):
        _guard(module.FSDPParamGroup, "pre_forward", _refuse_shards)


def _guard(owner: type, name: str, refuse: Callable[[Any], None]) -> None:
    """Have a method of torch's refuse something first, where tapegrad records."""
    method = getattr(owner, name)
    if hasattr(method, "refuses"):
        return

    @wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        if is_recording() and torch.is_grad_enabled():
            refuse(self)
        return method(self, *args, **kwargs)

    guarded.refuses = refuse  # type: ignore[attr-defined]  # a mark
    setattr(owner, name, guarded)


_known = WeakSet[DistributedDataParallel]()
_reduced: Any = WeakIdKeyDictionary()  # their parameters


def _check(self: Any) -> None:
    """Refuse what walks along torch's own graph, where it would find nothing: other gradients would come out."""
    for option in ("static_graph", "find_unused_parameters"):
        if getattr(self, option):
            raise MissingRule(
                f"DistributedDataParallel({option}=True): it looks at torch.autograd's graph, where tapegrad's tape "
                f"is not; leave it out, or use DistributedDataParallel(tapegrad.as_torch(module), {option}=True) "
                f"outside recording()"
            )

    if self not in _known:
        _give_in_time()
        _known.add(self)
        _reduced.update(dict.fromkeys(self.parameters()))


def refuse_write(p: torch.Tensor) -> None:
    """Refuse to write the ``grad`` of a parameter that DistributedDataParallel reduces: other processes would not know.

    Raises:
        MissingRule: it is one.
    """
    if p in _reduced:
        raise MissingRule(
            f"grad: this parameter, of shape {tuple(p.shape)}, is of DistributedDataParallel, and what is written to "
            f"its grad is not averaged over the processes, which would drift apart; use loss.backward(), and change "
            f"p.grad in place, or write it under torch.no_grad() if all processes write the same"
        )


def _refuse_shards(self: Any) -> None:
    raise MissingRule(
        "fully_shard: its gradients are reduced by hooks of torch.autograd, which does not see tapegrad's tape, and "
        "processes would drift apart; shard tapegrad.as_torch(block) for each block, and run it outside recording()"
    )
