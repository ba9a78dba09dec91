"""Lowering: a program as a graph for torch's own interpreter, which makes the same calls without Python between them.

The interpreter optimizes nothing here: it makes the calls one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tapegrad.plan.buffers import Layout
from tapegrad.plan.calls import Call, Value
from tapegrad.plan.spelling import Out, Spelled

Run = Callable[[tuple[torch.Tensor, ...]], tuple[Any, ...]]


# What torch.no_grad() is for, and quicker: calls skip autograd's part of the dispatcher.
unseen_by_torch: Callable[[], Any] = getattr(torch._C, "_AutoDispatchBelowAutograd", torch.no_grad)


class CannotLower(Exception):
    """An argument that a graph cannot hold."""


class Lowered:
    """A program as text, of which each arena makes its own graph.

    Args:
        layout: the calls.
        given: the values that it is given, in order.
        results: what it returns: Values, or None.
        lines: for each call what is called, with the results that are new: see ``Program.steps``.

    Raises:
        CannotLower: there is an argument that a graph cannot hold.
    """

    def __init__(self, layout: Layout, given: Sequence[Value], results: Sequence[Value | None], steps: Any) -> None:
        self.layout = layout
        self.inputs: dict[str, str] = {}  # of the graph: name -> type
        self.fixed: dict[str, Value] = {}
        self.constants: dict[str, Any] = {}
        self._known: dict[Any, str] = {}
        self._count = 0
        given_names = []
        for i, v in enumerate(given):
            given_names.append(f"g{i}" if self._is_again(v, given[:i]) else self._value_name(v))
        self.lines: list[str] = []
        for call, spelled, outs, places in steps:
            self._call(call, spelled, outs, places)
        returned = [self._argument(v, "Tensor" if v is not None else "NoneType") for v in results]
        kinds = ", ".join(["Tensor" if v is not None else "NoneType" for v in results])
        self.lines.append(f"%result : ({kinds}) = prim::TupleConstruct({', '.join(returned)})")
        parameters = [f"%{n} : Tensor" for n in given_names]
        placed = [f"%{n} : {t}" for n, t in self.inputs.items()]
        self.given = len(given_names)
        body = "\n".join([f"  {line}" for line in self.lines])
        self.text = f"graph({', '.join([*parameters, *placed])}):\n{body}\n  return (%result)\n"
        self._refuse_other_overloads([spelled.func._schema for _, spelled, _, _ in steps])

    def bind(self, tensor: Callable[[Value], torch.Tensor]) -> Run:
        """The program on the buffers of an arena."""
        graph = torch._C.parse_ir(self.text)
        inputs = list(graph.inputs())
        for i, name in reversed(list(enumerate(self.inputs, self.given))):
            node = graph.create("prim::Constant")  # type: ignore[call-arg]  # torch's stubs leave a form out
            value = tensor(self.fixed[name]) if name in self.fixed else self.constants[name]
            if value is not None:
                getattr(node, _setter(value))("value", value)
            graph.prependNode(node)
            node.output().setType(inputs[i].type())
            inputs[i].replaceAllUsesWith(node.output())
            graph.eraseInput(i)
        function = torch._C._create_function_from_graph("program", graph)

        def run(given: tuple[torch.Tensor, ...]) -> tuple[Any, ...]:
            optimizes = _get_optimize()
            _set_optimize(False)  # it would drop calls that write into buffers which nobody returns
            try:
                with unseen_by_torch():
                    return function(*given)  # type: ignore[no-any-return]
            finally:
                _set_optimize(optimizes)

        return run

    def _refuse_other_overloads(self, schemas: Sequence[Any]) -> None:
        """The text does not say which overload is meant: ``max(a, b)`` could be ``max.other`` for ``max.unary_out``."""
        nodes = [n for n in torch._C.parse_ir(self.text).nodes() if not n.kind().startswith("prim::")]
        for node, schema in zip(nodes, schemas, strict=True):
            if torch._C.parse_schema(node.schema()) != schema:
                raise CannotLower(f"{schema} is read as {node.schema()}")

    # --- the text ---

    def _is_again(self, v: Value, before: Sequence[Value]) -> bool:
        return v in before

    def _call(self, call: Call, spelled: Spelled, outs: Sequence[Value], places: tuple[int, ...] | None) -> None:
        """One call; ``outs`` are the values that it gives, of which fixed ones are there already."""
        schema = spelled.func._schema
        args = []
        for i, a in enumerate(schema.arguments):
            value = spelled.args[i] if i < len(spelled.args) else spelled.kwargs.get(a.name, a.default_value)
            if i >= len(spelled.args) and a.name not in spelled.kwargs and not a.has_default_value():
                raise CannotLower(f"{schema.name} without {a.name}")
            args.append(self._argument(value, str(a.type), call.outs))
        text = f"{schema.name}({', '.join(args)})"
        kinds = [str(r.type) for r in schema.returns]
        if not kinds:
            self.lines.append(f" = {text}")
        elif kinds == ["List[Tensor]"]:
            items = self._new("l")
            self.lines.append(f"%{items} : Tensor[] = {text}")
            names = [f"%{self._out_name(i, outs, places)} : Tensor" for i in range(len(places or ()))]
            self.lines.append(f"{', '.join(names)} = prim::ListUnpack(%{items})")
        else:
            if any(k != "Tensor" for k in kinds):
                raise CannotLower(f"{schema.name} gives {kinds}")
            names = [f"%{self._out_name(i, outs, places)} : Tensor" for i in range(len(kinds))]
            self.lines.append(f"{', '.join(names)} = {text}")

    def _out_name(self, i: int, outs: Sequence[Value], places: tuple[int, ...] | None) -> str:
        position = i if places is None else (places.index(i) if i in places else -1)
        if 0 <= position < len(outs):
            return self._value_name(outs[position])
        return self._new("u")

    def _new(self, hint: str) -> str:
        self._count += 1
        return f"{hint}{self._count}"

    def _value_name(self, v: Value) -> str:
        if v not in self._known:
            fixed = self.layout.is_fixed(v)
            name = self._known[v] = f"{'b' if fixed else 'v'}{v.index}"
            if fixed:
                self.inputs[name] = "Tensor"
                self.fixed[name] = v
        return self._known[v]

    def _argument(self, value: Any, kind: str, outs: Sequence[Value] = ()) -> str:
        if type(value) is Value:
            return f"%{self._value_name(value)}"
        if type(value) is Out:
            return f"%{self._value_name(outs[value.index])}"
        kind = kind.removeprefix("Optional[").removesuffix("]") if kind.startswith("Optional[") else kind
        if isinstance(value, (list, tuple)) and kind in ("List[Tensor]", "List[Optional[Tensor]]"):
            inner = kind.removeprefix("List[").removesuffix("]")
            items = [self._argument(v, inner, outs) for v in value]
            name = self._new("l")
            ir = "Tensor?[]" if inner == "Optional[Tensor]" else "Tensor[]"
            self.lines.append(f"%{name} : {ir} = prim::ListConstruct({', '.join(items)})")
            return f"%{name}"
        return f"%{self._constant(*_constant(value, kind))}"

    def _constant(self, value: Any, ir: str) -> str:
        key = repr(value), ir
        if key not in self._known:
            name = self._known[key] = self._new("k")
            self.inputs[name] = ir
            self.constants[name] = value
        return self._known[key]


def _constant(value: Any, kind: str) -> tuple[Any, str]:
    """A constant as a graph holds it, and its type there."""
    if value is None:
        return None, "NoneType"
    if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
        return _code(value), "int"
    if isinstance(value, torch.device):
        return str(value), "Device"
    if isinstance(value, (list, tuple)) and kind in ("List[int]", "List[float]"):
        item = int if kind == "List[int]" else float
        if not value:
            raise CannotLower("an empty list")
        return [item(v) for v in value], f"{item.__name__}[]"
    if kind == "float" and type(value) in (int, float):
        return float(value), "float"
    if kind in ("int", "number", "Union[int, float, complex]", "Scalar", "bool", "str") or type(value) in (bool, str):
        for t, ir in ((bool, "bool"), (int, "int"), (float, "float"), (str, "str")):
            if type(value) is t:
                return value, ir
    raise CannotLower(f"{value!r} for {kind}")


def _setter(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return "t_"
    if isinstance(value, list):
        return "ival_"
    return {bool: "i_", int: "i_", float: "f_", str: "s_"}[type(value)]


def _code(value: Any) -> int:
    """The number by which torch's C++ knows a dtype, layout or memory format."""
    if isinstance(value, torch.dtype):
        return _codes()[value]
    codes = {
        torch.strided: 0, torch.contiguous_format: 0, torch.preserve_format: 1, torch.channels_last: 2,
        torch.channels_last_3d: 3,
    }  # fmt: skip
    if value not in codes:
        raise CannotLower(str(value))
    return codes[value]


def _codes() -> dict[torch.dtype, int]:
    order = "uint8 int8 int16 int32 int64 float16 float32 float64 complex32 complex64 complex128 bool"
    return {getattr(torch, name): i for i, name in enumerate(order.split())} | {torch.bfloat16: 15}


_get_optimize: Callable[[], bool] = getattr(torch._C, "_get_graph_executor_optimize", lambda: False)
_set_optimize: Callable[[bool], None] = getattr(torch._C, "_set_graph_executor_optimize", lambda value: None)


def can_lower() -> bool:
    """Whether this torch has the interpreter."""
    needed = ("parse_ir", "_create_function_from_graph", "_set_graph_executor_optimize", "_get_graph_executor_optimize")
    return all(hasattr(torch._C, name) for name in needed)
