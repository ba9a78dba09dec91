"""Torch leaves that require grad, such as a module's parameters, as leaves of ours.

A *bound* leaf shares memory, version counter and ``grad`` with the torch leaf that it stands for. It lives as long as a
tape refers to it; the next forward pass binds anew, so that nothing is swapped in a module and nothing is kept.
"""

from __future__ import annotations

from weakref import WeakValueDictionary

import torch

from tapegrad.engine import gradients
from tapegrad.engine.tensor import Tensor, adopters, kind, wrap
from tapegrad.errors import MissingRule, StaleTensor

_bound: WeakValueDictionary[int, Tensor] = WeakValueDictionary()  # id of a torch leaf -> the leaf that stands for it
_find = _bound.get


def bound(leaf: torch.Tensor) -> Tensor:
    """The leaf of ours that stands for a torch leaf that requires grad: the same one while a tape refers to it.

    If the torch leaf was given other data since (``p.data = ...``, ``module.to()``), it is another one.
    """
    ours = _find(id(leaf))
    if ours is None or ours._holder is not leaf or not _same_memory(ours._data, leaf):
        ours = _bound[id(leaf)] = _bind(leaf)
    return ours


def _same_memory(ours: torch.Tensor, leaf: torch.Tensor) -> bool:
    if ours.dtype is not leaf.dtype:
        return False
    try:
        return ours.is_set_to(leaf)
    except RuntimeError:  # on the meta device, and of subclasses
        if ours.shape != leaf.shape or ours.stride() != leaf.stride():
            return False
        return bool(ours.untyped_storage()._cdata == leaf.untyped_storage()._cdata)


def _bind(leaf: torch.Tensor) -> Tensor:
    if leaf.is_complex():
        raise MissingRule(f"recording(): a leaf is {leaf.dtype}, and the rules are for real numbers")
    ours = wrap(leaf.detach(), None)
    ours._holder, ours._requires_grad = leaf, True
    return ours


def deliver(gradients: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Have torch accumulate gradients in the ``grad`` of torch leaves.

    ``torch.autograd.backward`` on a leaf runs its AccumulateGrad, and nothing else: hooks that users, optimizers and
    DistributedDataParallel have registered there are run as ever.

    Raises:
        StaleTensor: a leaf was given data of another shape or dtype since it was used.
    """
    wanted = [(leaf, g) for leaf, g in gradients if leaf.requires_grad]  # it may have been switched off since
    for leaf, g in wanted:
        if kind(leaf) != kind(g):
            raise StaleTensor(
                f"backward: a leaf of torch's was given other data since it was used, now {kind(leaf)} and then "
                f"{kind(g)}; call backward() before that, or compute the loss anew"
            )
    if wanted:
        leaves, parts = zip(*wanted, strict=True)
        torch.autograd.backward(leaves, parts)


adopters.append(bound)
gradients.deliver = deliver
