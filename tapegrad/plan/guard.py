"""Guards: whether a plan is for this call, and which tensors it then works on; written as source, for speed."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from inspect import signature
from itertools import count
from typing import Any

import torch

from tapegrad.engine.tape import observers
from tapegrad.engine.tensor import Tensor, node
from tapegrad.plan.reach import Scope
from tapegrad.written import compiled, identifier

_number = count()
_MISSED = "(AttributeError, IndexError, KeyError, TypeError, ValueError)"


def modes() -> tuple[Any, ...]:
    """What else decides which calls torch makes."""
    autocast = None
    if torch._C._is_any_autocast_enabled():
        kinds = ("cpu", "cuda")
        autocast = tuple([(torch.is_autocast_enabled(k), torch.get_autocast_dtype(k)) for k in kinds])
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
        autocast,
    )


def is_watched() -> bool:
    """Whether something looks on that must see each op."""
    return bool(observers) or torch._C._len_torch_dispatch_stack() > 0 or torch._C._len_torch_function_stack() > 0


def layout(t: torch.Tensor) -> tuple[Any, ...]:
    """What of a tensor decides which calls torch makes."""
    return type(t), tuple(t.shape), t.stride(), t.dtype, t.device, t.requires_grad


def _checker(tensors: list[torch.Tensor]) -> Callable[..., bool]:
    """Whether tensors are distinct, and have the layouts of these: in C++, where torch has that."""
    guards: Any = getattr(getattr(torch._C, "_dynamo", None), "guards", None)
    if hasattr(guards, "TensorGuards") and tensors:
        check: Callable[..., bool] = guards.TensorGuards(
            *tensors, dynamic_dims_sizes=None, dynamic_dims_strides=None
        ).check
        return check
    expected = [layout(t) for t in tensors]
    return lambda *given: len({*map(id, given)}) == len(given) and [layout(t) for t in given] == expected


class Guard:
    """What must hold of a call for a plan to be the right one.

    Args:
        function: what is compiled.
        scope: what it can reach.
        used: ids of the torch tensors, of those that are no arguments, that the plan reads.
        nodes: the nodes that gradients go to, in order.
        objects: what else ``enter`` is to give: tensors of either kind that the function returns as it was given them.

    Attributes:
        enter: (args, kwargs) -> None if the plan is not for this call; otherwise the torch tensors that it reads, the
            nodes, and the objects.
        source: its text.
        tensors: the torch tensors that it was made with, in the order in which ``enter`` gives them.
    """

    def __init__(
        self, function: Any, scope: Scope, used: Collection[int], nodes: list[Any], objects: Sequence[Any]
    ) -> None:
        self.function, self.scope = function, scope
        self.tensors: list[torch.Tensor] = []
        self._paths: list[str] = []
        self._names = scope.names | {"Tensor": Tensor, "modes": modes, "expected_modes": modes()}
        self._raw: dict[int, str] = {}
        self._node: dict[Any, str] = {}
        self._computed = False
        lines = self._modes() + [line for line, _ in scope.lines]
        seen: dict[int, str] = {}
        wanted = {*used, *map(id, objects)}
        taking = {id(n) for n in nodes}  # Tensors are compared element by element
        for i, (path, value) in enumerate(scope.tensors):
            raw = value._data if type(value) is Tensor else value
            if (
                i < scope.arguments
                or {id(raw), id(value)} & wanted
                or (type(value) is Tensor and id(node(value)) in taking)
            ):
                lines += self._tensor(path, value, raw, seen)
        self._names["check"] = _checker(self.tensors)
        tests = [f"check({', '.join(self._raw.values())})"] if self._raw else []
        if self._computed:  # leaves are distinct if their tensors are
            tests.append(f"len({{{', '.join(self._node.values())}}}) == {len(self._node)}")
        missing = [n for n in nodes if n not in self._node]
        if missing:
            raise LookupError(missing)
        returned = [[*self._raw.values()], [self._node[n] for n in nodes], [seen[id(value)] for value in objects]]
        texts = [f"({', '.join(names)}{',' * (len(names) == 1)})" for names in returned]
        body = [*lines, *([f"if not ({' and '.join(tests)}): return None"] if tests else [])]
        self.source = "\n".join(
            [
                "def enter(args, kwargs):",
                "    try:",
                *[f"        {line}" for line in [*body, f"return {', '.join(texts)}"]],
                f"    except {_MISSED}:",
                "        return None",
                "",
            ]
        )
        file = f"{__file__[:-3]}/{identifier(getattr(function, '__name__', 'function'))}_{next(_number)}.py"
        self.enter: Callable[[Any, Any], Any] = compiled(self.source, "enter", dict(self._names), file)

    def _modes(self) -> list[str]:
        """Checks of what ``modes`` tells, without making a tuple."""
        grad, inference, dtype, deterministic, autocast = modes()
        self._names |= {
            "is_grad_enabled": torch.is_grad_enabled,
            "is_inference": torch.is_inference_mode_enabled,
            "default_dtype": torch.get_default_dtype,
            "is_deterministic": torch.are_deterministic_algorithms_enabled,
            "is_autocast": torch._C._is_any_autocast_enabled,
            "dtype": dtype,
        }
        test = f"is_grad_enabled() is {grad} and is_inference() is {inference} and default_dtype() is dtype"
        test += f" and is_deterministic() is {deterministic} and is_autocast() is {autocast is not None}"
        lines = [f"if not ({test}): return None"]
        return lines if autocast is None else [*lines, "if modes() != expected_modes: return None"]

    def _tensor(self, path: str, value: Any, raw: torch.Tensor, seen: dict[int, str]) -> list[str]:
        """Check one tensor, and give it a name."""
        if id(value) in seen:
            return [f"if {path} is not {seen[id(value)]}: return None"]
        name = seen[id(value)] = f"x{len(seen)}"
        lines = [f"{name} = {path}"]
        data = name
        if type(value) is Tensor:
            data = f"{name}._data"
            own = node(value)
            if own is None:
                lines.append(f"if type({name}) is not Tensor or {name}.record or {name}._requires_grad: return None")
            elif own is value:
                self._node[own] = name
                lines.append(
                    f"if type({name}) is not Tensor or {name}.record or not {name}._requires_grad: return None"
                )
            else:
                self._node[own], self._computed = f"n{name}", True
                lines += [f"n{name} = {name}.record", f"if n{name} is None or type({name}) is not Tensor: return None"]
        if id(raw) in self._raw:
            self._computed = True
            return [*lines, f"if {data} is not {self._raw[id(raw)]}: return None"]
        self._raw[id(raw)] = t = f"t{len(self.tensors)}"
        self.tensors.append(raw)
        self._paths.append(path)
        return [*lines, f"{t} = {data}"]

    def why(self, args: Any, kwargs: Any) -> str:
        """Which argument, or what else, makes a call another one than the plan is for."""
        scope: dict[str, Any] = dict(self._names) | {"args": args, "kwargs": kwargs}
        if modes() != scope["expected_modes"]:
            return "the grad mode, or another mode of torch's,"
        for line, path in self.scope.lines:
            try:
                if line.startswith("if not ("):
                    if not eval(line.removeprefix("if not (").removesuffix("): return None"), scope):
                        return self.readable(path)
                else:
                    exec(line, scope)
            except Exception:
                return self.readable(path)
        for t, path in zip(self.tensors, self._paths, strict=True):
            try:
                value = eval(path, scope)
                raw = value._data if type(value) is Tensor else value
                if layout(raw) != layout(t):
                    return f"{self.readable(path)}, of shape {tuple(raw.shape)} now and {tuple(t.shape)} before,"
            except Exception:
                return self.readable(path)
        return "which tensors take a gradient, or are the same,"

    def readable(self, path: str) -> str:
        """A path as the user would write it."""
        bound = {m[1]: m[2] for line, _ in self.scope.lines if (m := re.match(r"(p\d+) = (.*)", line))}
        while m := re.match(r"p\d+", path):
            path = bound[m[0]] + path[m.end() :]
        path = re.sub(r"_\d+\.cell_contents", "", path)
        path = re.sub(r"globals_\d+\['(\w+)'\]", r"\1", path)
        path = re.sub(r"kwargs\['(\w+)'\]", r"\1", path)
        if m := re.match(r"args\[(\d+)\]", path):
            try:
                names = [p.name for p in signature(self.function).parameters.values() if p.kind < p.VAR_POSITIONAL]
                path = names[int(m[1])] + path[m.end() :]
            except (IndexError, TypeError, ValueError):
                pass
        return path
