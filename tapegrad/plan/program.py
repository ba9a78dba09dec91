"""Programs: the calls of a section as a Python function, and the arenas whose buffers it works on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from threading import Lock
from typing import Any

import torch

from tapegrad.plan.buffers import Chunk, Layout
from tapegrad.plan.calls import Call, Value, values_in
from tapegrad.plan.lowering import CannotLower, Lowered, Run, can_lower, unseen_by_torch
from tapegrad.plan.spelling import Out, Spelled
from tapegrad.written import compiled

_number = count()

Step = tuple[Call, Spelled, Sequence[Value], "tuple[int, ...] | None"]


class Program:
    """A section: a function of a tuple of tensors, that returns a tuple.

    Args:
        name: what it is called.
        layout: its calls, and where in an arena they write.
        given: the values that it is given, in order.
        results: what it returns, in order: Values, or None.

    Attributes:
        steps: what is called, one after another: the call recorded, the call made, what that gives anew, and where
            among its results.
        source: the program as Python source.
        lowered: the program for torch's interpreter; None if that cannot run it.
    """

    def __init__(self, name: str, layout: Layout, given: Sequence[Value], results: Sequence[Value | None]) -> None:
        self.name, self.layout, self.given, self.results = name, layout, list(given), list(results)
        self.steps: list[Step] = [step for call in layout.calls for step in self._steps(call)]
        self._fixed: dict[str, Value] = {}
        self._scope: dict[str, Any] = {"aten": torch.ops.aten, "unseen_by_torch": unseen_by_torch}
        self._names: dict[int, str] = {}
        self.source = "\n".join([f"def {name}(given):", *[f"    {line}" for line in self._lines()], ""])
        self.lowered: Lowered | None = None
        if can_lower():
            with suppress(CannotLower):
                self.lowered = Lowered(layout, given, results, self.steps)

    def bind(self, arena: Arena) -> Run:
        """The function, on the buffers of an arena."""
        if self.lowered is not None:
            return self.lowered.bind(arena.tensor)
        scope = self._scope | {name: arena.tensor(v) for name, v in self._fixed.items()}
        return compiled(self.source, self.name, scope, f"{__file__[:-3]}/{self.name}_{next(_number)}.py")

    def _steps(self, call: Call) -> list[Step]:
        """What is called for a call: nothing for a view of fixed memory, which an arena has from the start."""
        if call.view and all(map(self.layout.is_fixed, call.outs)):
            return []
        if call in self.layout.into:
            return [(call, spelled, (), None) for spelled in call.into or ()]
        new = [v if v not in call.writes and not self.layout.is_fixed(v) else None for v in call.outs]
        if None in new:
            return [(call, call.fresh, (), None)]
        return [(call, call.fresh, call.outs, call.places)]

    # --- as Python source ---

    def _lines(self) -> list[str]:
        wanted = {v for _, spelled, _, _ in self.steps for v in values_in(spelled)} | set(self.results)
        lines = [f"{self._text(v)} = given[{i}]" for i, v in enumerate(self.given) if v in wanted]
        last = {v: i for i, (call, *_) in enumerate(self.steps) for v in (*call.reads, *call.outs)}
        stay = {*self.given, *self.results}
        for i, (call, spelled, outs, places) in enumerate(self.steps):
            lines.append(self._line(call, spelled, outs, places))
            local = [v for v in dict.fromkeys((*call.reads, *call.outs)) if not self.layout.is_fixed(v)]
            over = [self._text(v) for v in local if last[v] == i and v not in stay and v.made]
            lines += [f"{' = '.join(over)} = None"] if over else []
        returned = [self._text(v) for v in self.results]
        result = f"return ({', '.join(returned)}{',' * (len(returned) == 1)})"
        return ["with unseen_by_torch():", *[f"    {line}" for line in [*lines, result]]]

    def _line(self, call: Call, spelled: Spelled, outs: Sequence[Value], places: Sequence[int] | None) -> str:
        args = [self._text(a, call.outs) for a in spelled.args]
        kwargs = [f"{k}={self._text(v, call.outs)}" for k, v in spelled.kwargs.items()]
        text = f"{spelled.func}({', '.join([*args, *kwargs])})"
        if not outs:
            return text
        if places is None:
            return f"{self._text(outs[0])} = {text}"
        of = dict(zip(places, outs, strict=True))
        return f"{', '.join([self._text(of[i]) if i in of else '_' for i in range(max(places) + 1)])}, *_ = {text}"

    def _text(self, value: Any, outs: Sequence[Value] = ()) -> str:
        """Source of an argument."""
        if type(value) is Value:
            return self._name(value)
        if type(value) is Out:
            return self._name(outs[value.index])
        if type(value) in (tuple, list, torch.Size):
            return f"[{', '.join([self._text(item, outs) for item in value])}]"
        if type(value) in (int, bool, str, type(None)) or (type(value) is float and math.isfinite(value)):
            return repr(value)
        name = self._names.setdefault(id(value), f"{type(value).__name__}_{len(self._names)}")
        self._scope[name] = value
        return name

    def _name(self, v: Value) -> str:
        if not self.layout.is_fixed(v):
            return f"{'v' if v.made else 'x'}{v.index}"
        name = f"{'c' if v.storage.origin == 'constant' else 'b'}{v.index}"
        self._fixed[name] = v
        return name


class Arena:
    """One set of a plan's buffers, with the programs that work on it.

    Args:
        chunks: the memory that programs use; more may be taken later.
    """

    def __init__(self) -> None:
        self.lock = Lock()  # a tape that is retained may be walked by two threads
        self._chunks: dict[Chunk, torch.Tensor] = {}
        self._programs: dict[Program, Run] = {}
        self._tensors: dict[Value, torch.Tensor] = {}
        self._layout: Layout | None = None

    def function(self, program: Program) -> Run:
        """A program on these buffers."""
        function = self._programs.get(program)
        if function is None:
            self._layout = program.layout
            function = self._programs[program] = program.bind(self)
        return function

    def tensor(self, v: Value) -> torch.Tensor:
        """The tensor that stands for a value of fixed memory."""
        if v.storage.origin == "constant":
            assert v.tensor is not None
            return v.tensor
        found = self._tensors.get(v)
        if found is None:
            assert self._layout is not None
            block = self._layout.blocks[v.storage]
            memory = self._chunks.get(block.chunk)
            if memory is None:
                size = block.chunk.size
                memory = torch.empty(size, dtype=torch.uint8, device=block.chunk.device)
                self._chunks[block.chunk] = memory
            start = block.offset // v.dtype.itemsize + v.offset
            found = torch.empty(0, dtype=v.dtype, device=v.device)
            found.set_(memory.untyped_storage(), start, v.shape, v.stride)
            self._tensors[v] = found
        return found

    @property
    def nbytes(self) -> int:
        """The memory that is taken."""
        return sum(memory.nbytes for memory in self._chunks.values())
