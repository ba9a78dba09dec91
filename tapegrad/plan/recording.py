"""Recording: every ATen call that a function makes, and that the walk behind it makes, in a straight line.

It is done below the tape, where torch's own Python code, updates in place, random numbers and ``no_grad`` have already
become calls of kernels. The same calls on tensors of the same layout give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import local
from typing import Any
from weakref import ref

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tapegrad.engine.tensor import Tensor
from tapegrad.errors import CompileError
from tapegrad.inspect.anomaly import user_line
from tapegrad.kernels.scalar import OPERANDS
from tapegrad.plan import spelling
from tapegrad.plan.calls import Call, Storage, Value
from tapegrad.plan.spelling import Out, Spelled
from tapegrad.torch_api import composition

aten = torch.ops.aten


# What a plan cannot hold, for it has no place for what depends on elements.
_READS_ELEMENTS = {"tolist", "numpy", "__array__", "__dlpack__", "data_ptr", "__reduce_ex__", "__repr__", "__format__"}
_VIEWS_IN_PLACE = {"unsqueeze_", "squeeze_", "t_", "transpose_", "swapaxes_", "swapdims_"}
_REPLACES_MEMORY = {"resize_", "resize_as_", "set_", "as_strided_", "set_data"}
_WAY_OUT = "compute it outside, and pass it as an argument; or leave this part out of the compiled function"


_local = local()  # .recorder: of this thread


@contextmanager
def unseen() -> Iterator[None]:
    """Within it this thread's recorder, if there is one, records nothing."""
    recorder = getattr(_local, "recorder", None)
    if recorder is None:
        yield
        return
    paused, recorder.paused = recorder.paused, True
    try:
        yield
    finally:
        recorder.paused = paused


composition.unseen = unseen


def is_recording() -> bool:
    """Whether this thread records."""
    return getattr(_local, "recorder", None) is not None


class _Methods(TorchFunctionMode):
    """Refuses methods that read elements past the dispatcher."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _READS_ELEMENTS and not self.recorder.paused:
            raise self.recorder.refuse(f"{name.strip('_')}() reads the elements of a tensor")
        if Tensor in types:
            with self:
                return Tensor.__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]  # ours is
        return func(*args, **(kwargs or {}))


class Recorder(TorchDispatchMode):
    """Logs each ATen call within it.

    Args:
        first: how many Values there are already.
        where: what to call the place of each call; by default the user's line.

    It keeps none of the tensors alive that calls give, so that what eager mode does with a tensor that nobody else
    holds it does here as well.

    Attributes:
        calls: what was logged so far in this section.
        inputs: the tensors that were there before: those of the arguments, and those that calls came upon.
        lines: where each input was met.
        refused: the first thing that cannot be recorded; user code may have caught it.
    """

    def __init__(self, first: int = 0, where: str = "") -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has not typed its modes
        self.paused = False
        self.where = where
        self.calls: list[Call] = []
        self.inputs: list[Value] = []
        self.lines: dict[Value, str] = {}
        self.refused: CompileError | None = None
        self._known: dict[int, tuple[ref[torch.Tensor], Value]] = {}
        self._count = first
        self._numbers: dict[tuple[float, torch.dtype], Value] = {}

    def __enter__(self) -> Recorder:
        _local.recorder = self
        self._methods = _Methods(self)
        self._methods.__enter__()  # type: ignore[no-untyped-call]  # as above
        super().__enter__()  # type: ignore[no-untyped-call]  # as above
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # as above
        self._methods.__exit__(*error)  # type: ignore[no-untyped-call]  # as above
        _local.recorder = None

    def refuse(self, what: str, way_out: str = _WAY_OUT) -> CompileError:
        """What to say of something that a plan cannot hold."""
        error = CompileError(
            f"compile: {what}, and a plan holds no elements, only calls; {way_out}\nat {self._where()}"
        )
        self.refused = self.refused or error
        return error

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler, which takes ten seconds

    def _where(self) -> str:
        return self.where or user_line()

    # --- tensors ---

    def value(self, t: torch.Tensor) -> Value:
        """The Value of a tensor; one that no call has given is a new input."""
        found = self.find(t)
        if found is None:
            constant = any(t is kept for kept in OPERANDS.values())
            found = self.constant(t) if constant else self.input(t)
        return found

    def know(self, t: torch.Tensor, value: Value) -> None:
        """Take a tensor for a Value of an earlier recording."""
        self._known[id(t)] = ref(t), value

    def find(self, t: torch.Tensor) -> Value | None:
        """The Value of a tensor, if it is known."""
        found = self._known.get(id(t))
        return found[1] if found is not None and found[0]() is t else None

    def input(self, t: torch.Tensor) -> Value:
        """The Value of a tensor that is there before the plan runs."""
        found = self.find(t)
        if found is None:
            found = self._new(t, self._shared(t, self.inputs) or Storage(_nbytes(t), "input"), t)
            self.inputs.append(found)
            self.lines[found] = self._where()
        return found

    def constant(self, t: torch.Tensor) -> Value:
        """The Value of a tensor that is the same at every run."""
        return self._new(t, Storage(_nbytes(t), "constant"), t)

    @property
    def count(self) -> int:
        """How many Values there are."""
        return self._count

    def alive(self) -> list[tuple[torch.Tensor, Value]]:
        """The tensors that calls have given and somebody holds."""
        found = [(t(), v) for t, v in self._known.values() if v.made]
        return [(t, v) for t, v in found if t is not None]

    def _new(self, t: torch.Tensor, storage: Storage, tensor: torch.Tensor | None = None) -> Value:
        self._count += 1
        offset, made = int(t.storage_offset()), tensor is None
        value = Value(self._count, storage, t.shape, t.stride(), offset, t.dtype, t.device, tensor, made)
        self._known[id(t)] = ref(t), value
        return value

    def _shared(self, t: torch.Tensor, values: Sequence[Value]) -> Storage | None:
        where = t.untyped_storage()._cdata
        for v in values:
            if v.tensor is not None and v.tensor.untyped_storage()._cdata == where:
                return v.storage
        return None

    def _number(self, number: float, like: torch.Tensor) -> torch.Tensor:
        """A number as a constant tensor of one element."""
        key = number, like.dtype
        if key not in self._numbers:
            self._numbers[key] = self.constant(spelling.operand(number, like))
        return self._numbers[key].tensor  # type: ignore[return-value]  # constants have one

    # --- calls ---

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.paused:
            return func(*args, **kwargs)
        self._refuse_call(func, args)
        name = func._schema.name.removeprefix("aten::")
        if func in (aten.lift_fresh.default, aten.lift.default):  # torch.tensor(...): its elements are Python's
            given = args[0]
            out = given.clone()
            with torch._C._DisableTorchDispatch():
                self.constant(given)
            self._log(aten.clone.default, (given,), {}, out)
            self._numbers[float(self._count), torch.bool] = self._known[id(given)][1]  # holds on to it
            return out
        if name in _VIEWS_IN_PLACE:
            return self._view_in_place(func, args, kwargs)
        for t in _tensors_in((args, kwargs)):
            self.value(t)  # inputs are known before they change
        out = func(*args, **kwargs)
        self._log(func, args, kwargs, out)
        return out

    def _refuse_call(self, func: Any, args: tuple[Any, ...]) -> None:
        name, tags = func._schema.name.removeprefix("aten::"), func.tags
        if torch.Tag.data_dependent_output in tags or name in ("_local_scalar_dense", "equal", "is_nonzero"):
            raise self.refuse("a number is read from a tensor (item(), bool(), if, print and the like)")
        if torch.Tag.dynamic_output_shape in tags:
            masks = (torch.bool, torch.uint8)
            if name != "index" or any(i is not None and i.dtype in masks for i in args[1]):
                raise self.refuse(
                    f"the shape of what {name}() gives depends on elements",
                    "use torch.where or masked_fill, which keep the shape, or leave this part out of the function",
                )
        if name in _REPLACES_MEMORY:
            raise self.refuse(f"{name}() gives a tensor other memory", "make a new tensor in its place")

    def _view_in_place(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A tensor whose sizes change in place is from then on another view of its memory."""
        old = self.value(args[0])
        if not old.made:
            raise self.refuse(f"{func._schema.name} changes the shape of an argument", "take a view of it instead")
        before = args[0].view_as(args[0])
        self._known[id(before)] = ref(before), old
        out = func(*args, **kwargs)
        twin = getattr(aten, func._schema.name.removeprefix("aten::").rstrip("_"))
        view = getattr(twin, func._overloadname)
        del self._known[id(args[0])]
        self._log(view, (before, *args[1:]), kwargs, args[0])
        return out

    def _log(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        items = out if isinstance(out, (tuple, list)) else (out,)
        results = [t for t in items if isinstance(t, torch.Tensor)]
        places = tuple([i for i, t in enumerate(items) if isinstance(t, torch.Tensor)])
        given = list(_tensors_in((args, kwargs)))
        for t in (*results, *given):
            if not torch._C._has_storage(t) or t.layout is not torch.strided:
                raise self.refuse(f"{func} works on a tensor of layout {t.layout}", "use strided tensors")
        memory = {t.untyped_storage()._cdata: self.value(t).storage for t in given}
        written = [self.value(t) for t in _written(func, args, kwargs)]
        for v in written:
            v.storage.written = True
        random = torch.Tag.nondeterministic_seeded in func.tags
        new = [self.find(t) is None for t in results]
        view = not written and any(t.untyped_storage()._cdata in memory for t in results)
        into = None
        if not (written or view or random) and results and all(new) and len(results) == len(items):
            into = spelling.into(func, args, kwargs, results, self._number)
        fresh = spelling.fresh(func, args, kwargs, self._number)
        outs = [
            self.find(t) or self._new(t, memory.get(t.untyped_storage()._cdata) or Storage(_nbytes(t), "made"))
            for t in results
        ]
        self.calls.append(
            Call(
                func, self.template(args), self.template(kwargs), tuple(outs), tuple(written), view, random,
                self.template(fresh), self.template(into), self._where(), places if items is out else None,
            )
        )  # fmt: skip

    def template(self, tree: Any) -> Any:
        """Arguments, or spelled calls, with Values in place of tensors."""
        if isinstance(tree, torch.Tensor):
            return self.value(tree)
        if type(tree) is Spelled:
            return Spelled(tree.func, self.template(tree.args), self.template(tree.kwargs))
        if type(tree) is Out:
            return tree
        if isinstance(tree, (tuple, list)):
            return type(tree)([self.template(item) for item in tree])
        return {k: self.template(v) for k, v in tree.items()} if type(tree) is dict else tree


def _nbytes(t: torch.Tensor) -> int:
    return t.untyped_storage().nbytes()


def _tensors_in(tree: Any) -> Iterator[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from _tensors_in(item)
    elif isinstance(tree, dict):
        yield from _tensors_in(list(tree.values()))


# Running statistics, of whose change schemas say nothing.
_UNDECLARED = {
    "native_batch_norm": (3, 4), "cudnn_batch_norm": (3, 4), "miopen_batch_norm": (3, 4),
    "batch_norm_update_stats": (1, 2),
}  # fmt: skip


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """The arguments that an overload changes, by its schema."""
    undeclared = _UNDECLARED.get(spelling.name_of(func), ())
    found = list(_tensors_in([args[i] for i in undeclared]))
    for i, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[i] if i < len(args) else kwargs.get(argument.name)
            found.extend(_tensors_in(given))
    return found
