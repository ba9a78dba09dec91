"""Every function that is said to give no gradient: torch's result requires none either, and ours is the same.

``python -m tests.provers.plain`` calls each of them in torch's namespaces with arguments of many forms, those that it
does not take left out. Functions that no form fits have calls of their own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

import tapegrad
from tapegrad.torch_api.plain import MADE, PLAIN
from tests.helpers import raw

Leaf = Callable[[torch.Tensor], Any]
NAMESPACES = (torch.Tensor, torch, F, torch.linalg, torch.special)


def data(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64) + 0.3


WHOLE = torch.tensor([1, 2, 3])
FORMS: list[Callable[[Leaf], tuple[Any, ...]]] = [
    lambda leaf: (leaf(data(3, 3)),),
    lambda leaf: (leaf(data(3)),),
    lambda leaf: (leaf(data(1)),),
    lambda leaf: (leaf(data(3, 3)), leaf(data(3, 3))),
    lambda leaf: (leaf(data(3)), leaf(data(3))),
    lambda leaf: (leaf(data(3, 3)), 2),
    lambda leaf: (leaf(data(3, 3)), (2,)),
    lambda leaf: (leaf(data(3, 3)), (2, 2), (2, 1)),
    lambda leaf: (leaf(data(3)), 1.5),
    lambda leaf: (leaf(data(3, 3)), torch.float32),
    lambda leaf: (leaf(data(3, 3)), torch.float32, torch.float64),
    lambda leaf: (WHOLE.clone(),),
    lambda leaf: (WHOLE.clone(), 1),
    lambda leaf: (WHOLE.clone(), WHOLE.clone()),
    lambda leaf: (WHOLE.clone(), (4, 4)),
    lambda leaf: (leaf(data(3)), torch.ones(3, dtype=torch.int32)),
    lambda leaf: (leaf(data(3)), torch.tensor([0.5, 1.0], dtype=torch.float64)),
    lambda leaf: (torch.float32, torch.float64),
    lambda leaf: (leaf(data(1)[0]),),
    lambda leaf: (leaf(data(3)), (2,), 1.5),
]
KEYWORDS = {"nonzero_static": {"size": 4}}
OF_SPARSE_TENSORS = {"is_coalesced"}  # torch has it for no other


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Each function once, with the name that a user writes; methods as they are called, on whatever tensor it is."""
    seen = {torch.is_tensor}  # which asks for torch's own class
    for namespace in NAMESPACES:
        for name in dir(namespace):
            function = getattr(namespace, name)
            known = not {name, getattr(function, "__name__", None)}.isdisjoint(PLAIN | MADE)
            if callable(function) and known and function not in seen:
                seen.add(function)
                yield f"{namespace.__name__}.{name}", method(name) if namespace is torch.Tensor else function


def method(name: str) -> Callable[..., Any]:
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, name)(*args, **kwargs)

    called.__name__ = name
    return called


def tensors(value: Any) -> Iterator[Any]:
    """The tensors of a result."""
    if isinstance(value, (torch.Tensor, tapegrad.Tensor)):
        yield value
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from tensors(v)


def differences(function: Callable[..., Any]) -> list[str]:
    """What is wrong with a function: a gradient in torch, a Tensor of ours, another value, or no form that fits."""
    taken, wrong = 0, []
    keywords = KEYWORDS.get(function.__name__, {})
    for form in FORMS:
        torch.default_generator.manual_seed(1)
        try:
            yours = function(*form(torch.Tensor.requires_grad_), **keywords)
        except Exception:
            continue
        if yours is NotImplemented:  # an operator with too few arguments
            continue
        taken += 1
        # The gradient of what a histogram counts is 0: torch says only when it is asked.
        if any(t.requires_grad for t in tensors(yours)) and "histogram" not in function.__name__:
            if function.__name__ not in ("new", "new_tensor"):
                wrong.append(f"{form(raw)}: torch's result requires grad")
            continue
        torch.default_generator.manual_seed(1)
        try:
            mine = function(*form(lambda t: tapegrad.tensor(t, True)), **keywords)
        except tapegrad.MissingRule as error:
            if "would be lost" not in str(error):
                wrong.append(f"{form(raw)}: {error}")
            continue
        except Exception as error:
            wrong.append(f"{form(raw)}: {type(error).__name__}: {error}")
            continue
        ours = [a for a in tensors(mine) if isinstance(a, tapegrad.Tensor)]
        if any(a.requires_grad for a in ours) or (ours and function.__name__ not in MADE):
            wrong.append(f"{form(raw)}: {type(mine)} comes back")
            continue
        mine = raw(mine)
        pairs = zip(tensors(mine), tensors(yours), strict=True)
        if type(mine) is not type(yours) or not all(a.dtype == b.dtype and a.shape == b.shape for a, b in pairs):
            wrong.append(f"{form(raw)}: {mine}, torch's is {yours}")
        elif "empty" not in function.__name__ and function.__name__ not in ("new", "data_ptr", "const_data_ptr"):
            same = all(torch.equal(a, b) for a, b in zip(tensors(mine), tensors(yours), strict=True))
            if not same or (isinstance(yours, (bool, int, float)) and mine != yours):
                wrong.append(f"{form(raw)}: {mine}, torch's is {yours}")
    if not taken and function.__name__ not in OF_SPARSE_TENSORS:
        wrong.append("no form fits")
    return wrong


def main() -> None:
    warnings.simplefilter("ignore")
    count = 0
    for name, function in functions():
        count += 1
        for text in differences(function):
            print(f"{name}: {text}")
    print(f"{count} functions")


if __name__ == "__main__":
    main()
