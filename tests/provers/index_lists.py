"""Random indices of every kind that torch takes, nested in each other, on tapegrad and on torch.

    python -m tests.provers.index_lists 20000

Each index is read from, and assigned to: values and gradients have to be torch's, and what torch refuses has to be
refused. What disagrees is printed, as Python would write it.
"""

from __future__ import annotations

import random
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

import tapegrad

SHAPE = (3, 2, 4)
counts: Counter[str] = Counter()


class Indices:
    """Draws indices.

    Args:
        seed: of the random numbers.
    """

    def __init__(self, seed: int):
        self.random = random.Random(seed)

    def whole(self) -> Any:
        """What stands between the brackets."""
        kind = self.random.random()
        if kind < 0.35:
            return self.sequence(2)
        if kind < 0.6:
            return tuple([self.entry(1) for _ in range(self.random.randint(0, 4))])
        return self.entry(2)

    def entry(self, depth: int) -> Any:
        """One index."""
        draw = self.random.choice
        simple = [
            lambda: self.number(), lambda: self.bounds(), lambda: None, lambda: ..., lambda: draw([True, False]),
            lambda: draw([np.int64, np.int32])(self.number()), lambda: torch.tensor(self.number()),
            lambda: range(*sorted([draw([0, 1, 2]), draw([0, 1, 2])])), lambda: self.array(), lambda: self.tensor(),
            lambda: torch.tensor(draw([True, False])), lambda: self.ints(),
        ]  # fmt: skip
        return self.sequence(depth) if depth and self.random.random() < 0.5 else draw(simple)()

    def sequence(self, depth: int) -> Any:
        """A list, or a tuple, of indices that may be sequences themselves."""
        n = self.random.choice([0, 1, 1, 2, 2, 2, 3])
        items = [self.entry(depth - 1) for _ in range(n)]
        if self.random.random() < 0.5:  # as one would write them: of one kind and one length
            items = [self.ints() for _ in range(n)]
        if self.random.random() < 0.03:
            items = items * 40
        return items if self.random.random() < 0.7 else tuple(items)

    def number(self) -> int:
        return self.random.choice([0, 0, 1, 1, -1, 2])

    def bounds(self) -> slice:
        draw = self.random.choice
        start, stop = (draw([None, 0, 1, -1, np.int64(1), torch.tensor(1)]) for _ in range(2))
        return slice(start, stop, draw([None, None, 1, 2]))

    def ints(self) -> list[Any]:
        kind = self.random.choice([int, int, int, bool, np.int64, torch.tensor])
        return [kind(self.random.choice([0, 1])) for _ in range(self.random.choice([1, 2, 2, 2, 3]))]

    def array(self) -> np.ndarray[Any, Any]:
        shape = self.random.choice([(), (2,), (2, 2), (3,), (0,)])
        # In a tuple, torch counts an array without dimensions as one index even where it is a mask.
        dtype = self.random.choice([np.int64, np.int32, np.uint8, bool][: 4 if shape else 2])
        drawn = [self.random.choice([0, 1]) for _ in range(int(np.prod(shape)))]
        return np.array(drawn, dtype).reshape(shape)

    def tensor(self) -> Any:
        t = torch.as_tensor(self.array())
        return tapegrad.tensor(t) if self.random.random() < 0.3 else t


def raw(index: Any) -> Any:
    """The index for torch: it may hold Tensors."""
    if isinstance(index, tapegrad.Tensor):
        return index.data
    if isinstance(index, (list, tuple)):
        return type(index)([raw(i) for i in index])
    return index


def read(x: Any, index: Any) -> Any:
    return x[index]


def assign(x: Any, index: Any) -> Any:
    y = x.clone()
    y[index] = 7.0
    return y


def assign_tensor(x: Any, index: Any) -> Any:
    y = x.clone()
    y[index] = x.sum(0, keepdim=True)[..., :1, :1] * 2
    return y


def outcome(program: Any, leaf: Any, index: Any, grad: Any) -> Any:
    """Value and gradient, or the error."""
    x = leaf(torch.arange(24.0, dtype=torch.float64).reshape(SHAPE))
    try:
        y = program(x, index)
        v = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        (g,) = grad([y], [x], [v])
    except Exception as error:
        return error
    return (y.data if isinstance(y, tapegrad.Tensor) else y.detach()), g


def disagreement(program: Any, index: Any) -> str | None:
    """What differs; None if nothing does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine = outcome(program, lambda data: tapegrad.tensor(data, requires_grad=True), index, tapegrad.grad)
        yours = outcome(program, lambda data: data.requires_grad_(), raw(index), torch.autograd.grad)
    if isinstance(yours, Exception):
        counts["refused by torch"] += 1
        return None if isinstance(mine, Exception) else f"torch refuses it: {str(yours).splitlines()[0]}"
    counts["taken by torch"] += 1
    if isinstance(mine, Exception):
        return f"torch takes it: {type(mine).__name__}: {mine}"
    if mine[0].shape != yours[0].shape or not torch.equal(mine[0], yours[0]):
        return f"another value: {tuple(mine[0].shape)}, torch has {tuple(yours[0].shape)}"
    return None if torch.allclose(mine[1], yours[1]) else "another gradient"


def search(n: int, seed: int = 0) -> Iterator[str]:
    """The disagreements among ``n`` random indices, in words."""
    for k in range(n):
        index = Indices(seed + k).whole()
        for program in (read, assign, assign_tensor):
            if found := disagreement(program, index):
                yield f"{program.__name__} x[{index!r}]: {found}"


def main() -> int:
    """Search, and print what is found."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    found = 0
    for text in search(n):
        print(text, flush=True)
        found += 1
    print(f"{n} indices, each read and assigned to: {dict(counts)}; {found} disagreements")
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
