"""What a plan is made of: calls, the values that they take and give, and the memory of these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from tapegrad.plan.spelling import Spelled


@dataclass(eq=False)
class Storage:
    """Memory that values share: a tensor and its views.

    Attributes:
        nbytes: its size.
        origin: "made" by a call, or there before, as "input" or "constant".
        written: whether a call changes it in place.
    """

    nbytes: int
    origin: str
    written: bool = False


@dataclass(eq=False)
class Value:
    """A tensor of the recording, by what is known of it: all but its elements.

    Attributes:
        index: its number.
        storage: its memory.
        shape, stride, offset, dtype, device: as in torch.
        tensor: the tensor itself, of inputs and constants.
        made: whether a call gives it; otherwise it is an input or a constant.
    """

    index: int
    storage: Storage
    shape: torch.Size
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    device: torch.device
    tensor: torch.Tensor | None = None
    made: bool = True

    def is_whole(self) -> bool:
        """Whether it is all of its storage."""
        span = sum([(n - 1) * s for n, s in zip(self.shape, self.stride, strict=True)]) + 1 if self.shape.numel() else 0
        return self.offset == 0 and span * self.dtype.itemsize == self.storage.nbytes

    def __repr__(self) -> str:
        return f"%{self.index}"


@dataclass(eq=False)
class Call:
    """One ATen call.

    Attributes:
        func: the overload.
        args, kwargs: what it was given, with Values in place of tensors.
        outs: what it gave, in order.
        writes: the values that it changed.
        view: whether what it gives shares the memory of what it was given, and nothing is written.
        random: whether it draws random numbers.
        fresh: how it is made, where it gives new tensors, takes a view, or writes in place.
        into: how it is written into buffers that are there already; None if it cannot be.
        line: the user's line.
        places: of a call that gives several, where each of ``outs`` stands; None if it gives one tensor.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outs: tuple[Value, ...]
    writes: tuple[Value, ...]
    view: bool
    random: bool
    fresh: Spelled
    into: list[Spelled] | None
    line: str
    places: tuple[int, ...] | None = None
    reads: list[Value] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reads = list(values_in((self.args, self.kwargs)))


def values_in(tree: Any) -> Iterator[Value]:
    """The Values in nested sequences and dicts, spelled calls among them."""
    if type(tree) is Value:
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from values_in(item)
    elif type(tree) is dict:
        yield from values_in(list(tree.values()))
    elif type(tree) is Spelled:
        yield from values_in((tree.args, tree.kwargs))
