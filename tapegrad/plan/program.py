"""Programs: the calls of a section as a Python function, and the arenas whose buffers it works on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import count
from threading import Lock
from typing import Any

import torch

from tapegrad.fast.compiled import compiled
from tapegrad.plan.buffers import Chunk, Layout
from tapegrad.plan.recording import Call, Value, values_in
from tapegrad.plan.spelling import Out, Spelled, Trial

_number = count()
_PLAIN = (int, bool, str, type(None), type(...))


class Program:
    """A section as source: ``name(given)``, where ``given`` is a tuple of tensors, returns a tuple.

    Args:
        name: what it is called.
        layout: its calls, and where in an arena they write.
        given: the values that it is given, in order.
        results: what it returns, in order: Values, or None.

    Attributes:
        source: the text.
        fixed: the values that it finds in the arena, by their names.
        views: views of these that no call of the recording takes, by their names.
        scope: what else the text refers to.
    """

    def __init__(
        self, name: str, layout: Layout, given: Sequence[Value], results: Sequence[Value | None]
    ) -> None:
        self.name, self.layout, self.given, self.results = name, layout, list(given), list(results)
        self.fixed: dict[str, Value] = {}
        self.scope: dict[str, Any] = {"below_autograd": below_autograd}
        self.views: dict[str, tuple[Spelled, tuple[Value, ...]]] = {}
        self._constants: dict[int, str] = {}
        self._last = {v: i for i, call in enumerate(layout.calls) for v in (*call.reads, *call.outs)}
        lines = self._body()
        self.source = "\n".join([f"def {name}(given):", "    with below_autograd():", *[f"        {x}" for x in lines], ""])
        self._code = compile(self.source, f"{__file__[:-3]}/{name}_{next(_number)}.py", "exec")

    def bind(self, arena: Arena) -> Callable[[tuple[torch.Tensor, ...]], tuple[Any, ...]]:
        """The function, on the buffers of an arena."""
        scope = self.scope | {name: arena.tensor(v) for name, v in self.fixed.items()}
        scope |= {name: _made(call, outs, arena) for name, (call, outs) in self.views.items()}
        file = f"{__file__[:-3]}/{self.name}_{next(_number)}.py"
        return compiled(self.source, self.name, scope, file)

    # --- the text ---

    def _body(self) -> list[str]:
        layout = self.layout
        wanted = {v for call in layout.calls for v in self._read_by(call)} | set(self.results)
        lines = [f"{self._text(v)} = given[{i}]" for i, v in enumerate(self.given) if v in wanted]
        self._own = {v for v in self.results if v is not None}
        for i, call in enumerate(layout.calls):
            lines += self._lines(call)
            over = [v for v in dict.fromkeys((*call.reads, *call.outs)) if self._last[v] == i and self._is_local(v)]
            if over:
                lines.append(f"{' = '.join([self._text(v) for v in over])} = None")
        returned = [self._text(v) for v in self.results]
        return [*lines, f"return ({', '.join(returned)}{',' * (len(returned) == 1)})"]

    def _is_local(self, v: Value) -> bool:
        return v.made and not self.layout.is_fixed(v) and v not in self._own and v not in self.given

    def _read_by(self, call: Call) -> list[Value]:
        return [] if call.view and all(map(self.layout.is_fixed, call.outs)) else call.reads

    def _lines(self, call: Call) -> list[str]:
        if call.view and all(map(self.layout.is_fixed, call.outs)):
            return []  # the arena has it
        if call in self.layout.into:
            return [line for s in call.into or () for line in self._statement(s, call.outs)]
        text = self._spelled(call.fresh, ())
        new = [v for v in call.outs if v not in call.writes and not self.layout.is_fixed(v)]
        if not new:
            return [text]
        if call.places is None:
            return [f"{self._text(call.outs[0])} = {text}"]
        outs = dict(zip(call.places, call.outs, strict=True))
        names = [self._text(outs[i]) if i in outs else "_" for i in range(max(call.places) + 1)]
        return [f"{', '.join(names)}, *_ = {text}"]

    def _statement(self, call: Spelled | Trial, outs: Sequence[Value]) -> list[str]:
        if type(call) is Trial:
            quick, sure = self._spelled(call.quick, outs), self._spelled(call.sure, outs)
            return [f"try: {quick}", f"except (IndexError, RuntimeError): {sure}"]
        return [self._spelled(call, outs)]  # type: ignore[arg-type]  # it is no Trial

    def _spelled(self, call: Spelled, outs: Sequence[Value]) -> str:
        args = [self._text(a, outs) for a in call.args]
        kwargs = [f"{k}={self._text(v, outs)}" for k, v in call.kwargs.items()]
        if type(call.target) is str:
            return f"{args[0]}.{call.target}({', '.join([*args[1:], *kwargs])})"
        return f"{self._global(call.target, _function_name(call.target))}({', '.join([*args, *kwargs])})"

    def _text(self, value: Any, outs: Sequence[Value] = ()) -> str:
        """Source of an argument."""
        if type(value) is Value:
            return self._name(value)
        if type(value) is Out:
            return self._name(outs[value.index])
        if type(value) is Spelled:
            if not all(map(self.layout.is_fixed, values_in(value))) or type(value.target) is not str:
                return self._spelled(value, outs)
            self.views[name := f"w{len(self.views)}"] = value, tuple(outs)  # a view, made once for an arena
            return name
        if type(value) in (tuple, list, torch.Size):
            if type(value) is tuple and value and all(self._is_static(v) for v in value):
                return self._tuple(value)
            items = [self._text(item, outs) for item in value]
            return f"[{', '.join(items)}]" if type(value) is list else f"({', '.join(items)}{',' * (len(items) == 1)})"
        if type(value) in _PLAIN or (type(value) is float and math.isfinite(value)):
            return repr(value)
        return self._global(value, type(value).__name__)

    def _is_static(self, value: Any) -> bool:
        return type(value) is Value and self.layout.is_fixed(value)

    def _tuple(self, values: tuple[Value, ...]) -> str:
        return f"({', '.join([self._name(v) for v in values])},)"

    def _name(self, v: Value) -> str:
        if self.layout.is_fixed(v):
            name = f"{'c' if v.storage.origin == 'constant' else 'b'}{v.index}"
            self.fixed[name] = v
            return name
        return f"{'v' if v.made else 'x'}{v.index}"

    def _global(self, value: Any, hint: str) -> str:
        if id(value) not in self._constants:
            name = f"{hint}_{len(self._constants)}"
            self._constants[id(value)] = name
            self.scope[name] = value
        return self._constants[id(value)]


def _made(call: Spelled, outs: tuple[Value, ...], arena: Arena) -> Any:
    """A view of an arena's buffers."""
    args = [arena.tensor(outs[a.index] if type(a) is Out else a) if type(a) in (Out, Value) else a for a in call.args]
    return Spelled(call.target, tuple(args)).run()


def _function_name(function: Any) -> str:
    name = str(getattr(function, "__name__", type(function).__name__))
    return "".join([c if c.isalnum() else "_" for c in name])


# What torch.no_grad() is for, and quicker: calls skip autograd's part of the dispatcher.
below_autograd: Callable[[], Any] = getattr(torch._C, "_AutoDispatchBelowAutograd", torch.no_grad)


class Arena:
    """One set of a plan's buffers, with the programs that work on it.

    Args:
        chunks: the memory that programs use; more may be taken later.
    """

    def __init__(self) -> None:
        self.lock = Lock()  # a tape that is retained may be walked by two threads
        self._chunks: dict[Chunk, torch.Tensor] = {}
        self._programs: dict[Program, Callable[[tuple[Any, ...]], tuple[Any, ...]]] = {}
        self._tensors: dict[Value, torch.Tensor] = {}
        self._layout: Layout | None = None

    def run(self, program: Program, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """Run a program on these buffers."""
        function = self._programs.get(program)
        if function is None:
            function = self.function(program)
        return function(given)

    def function(self, program: Program) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
        """A program as a function on these buffers."""
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


def used(values: Sequence[Any]) -> list[Value]:
    """The Values in some arguments, each once."""
    return list(dict.fromkeys(values_in(list(values))))
