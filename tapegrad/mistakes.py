"""What to say of a call that failed in one of torch's kernels: which op, given what, and what would fit.

Torch's words come first, for they are what people search for. The operands are said by the names of the user's
variables, where the calling code has some for them.
"""

from __future__ import annotations

import dis
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import Any

import torch

from tapegrad.tracebacks import trim, users_frame

PLAIN_TYPES = (int, float, complex, bool, str, torch.dtype, torch.device)

_KERNELS = (RuntimeError, IndexError, TypeError, ValueError, NotImplementedError)  # what they raise; not their kinds
_NAMED = re.compile(r"[\w.<>]+(\(\)|:)")  # "permute(): ...", "linalg.inv: ..."
_ABOUT_DTYPES = re.compile(r"dtype|type|Float|Double|Long|Half|Int\b|Bool", re.IGNORECASE)
_MOST = 6  # operands that are told of a sequence

# The variables that a frame can see, with the tensors in them; inspect/ sets it.
variables: Callable[[FrameType], Iterable[tuple[str, Any]]] = lambda frame: ()


def explain(
    error: Exception, name: str, signature: Any, args: Sequence[Any], kwargs: dict[str, Any] | None = None
) -> None:
    """Complete an error that a call has met, and ``trim`` its traceback; it is to be raised again.

    If it was a kernel's, its message then names the op, its operands with their shapes, and where a dimension of size 1
    would have made them fit, how to keep or to make one.

    Args:
        error: what was caught.
        name: of the op.
        signature: of the op, or a function that has it; None if there is none.
        args: what it was given, in that order.
        kwargs: what it was given by name.
    """
    if type(error) in _KERNELS and len(error.args) == 1 and type(error.args[0]) is str:
        name = name.strip("_") if name.startswith("__") else name.lstrip("_").removesuffix("_dim")
        inner = vars(error).get("_told")  # by an op of which this one consists
        if inner is None:
            message = error.args[0].rstrip(". \n")
            if not _NAMED.match(message):
                message = f"{name}(): {message}"
            if vars(error).setdefault("_of_a_kernel", not _deliberate(error)):
                message += _operands(message, _given(signature, args, kwargs or {}))
            inner = vars(error)["_told"] = message
        is_told = inner.startswith((f"{name}()", f"{name.replace('_', '.')}:"))
        error.args = (inner if is_told else f"{name}(), in {inner}",)
    trim(error, depth=2)


def is_of_a_kernel(error: BaseException) -> bool:
    """Whether an error that was completed is torch's own, and not in words of ours."""
    return bool(vars(error).get("_of_a_kernel"))


def _deliberate(error: BaseException) -> bool:
    """Whether an error comes from a ``raise`` of ours, and has words that were chosen for it."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or not str(last.tb_frame.f_globals.get("__name__")).startswith("tapegrad."):
        return False
    return last.tb_frame.f_code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _given(signature: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[str, Any]]:
    """The arguments with their names, "" where that is not known; without those that are as they are by default."""
    signature = inspect.signature(signature) if callable(signature) else signature
    parameters = [] if signature is None else list(signature.parameters.values())
    kinds = {p.kind for p in parameters}
    whole = len(args) == len(parameters) and inspect.Parameter.VAR_KEYWORD not in kinds  # an op's, in canonical order
    listed = [p for p in parameters if whole or p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = [p.name for p in listed] + [""] * len(args)
    default = {p.name: p.default for p in listed if type(p.default) in (int, float, bool, str)}
    given = [*zip(names, args, strict=False), *kwargs.items()]
    return [(n, v) for n, v in given if not (n in default and type(v) is type(default[n]) and v == default[n])]


def _operands(message: str, given: list[tuple[str, Any]]) -> str:
    """The operands, after a message that does not say their shapes already."""
    try:
        return _told(message, given)
    except Exception:  # a tensor that has no shape, say: the error itself matters more
        return ""


def _told(message: str, given: list[tuple[str, Any]]) -> str:
    tensors = [value for _, value in given if _is_tensor(value)]
    listed = [v for _, value in given if type(value) in (tuple, list) for v in value if _is_tensor(v)]
    if not tensors and not listed:
        return ""
    known = _known_names()
    with_dtype = len({t.dtype for t in (*tensors, *listed)}) > 1 or _ABOUT_DTYPES.search(message) is not None
    told = "".join(f", {text}" for n, value in given if (text := _operand(n, value, known, with_dtype)))
    advice = _fitting(given, known) if "must match the size of tensor" in message else ""
    return f"; given {told[2:]}{advice}"


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor) or hasattr(type(value), "record")


def _operand(argument: str, value: Any, known: dict[int, str], with_dtype: bool) -> str:
    """One operand: ``other: s (5,)``."""
    prefix = f"{argument}: " if argument else ""
    if _is_tensor(value):
        name = known.get(id(value)) or _made_by(value)
        return f"{prefix}{name}{' ' * bool(name)}{tuple(value.shape)}{f' {value.dtype}' * with_dtype}"
    if type(value) in (tuple, list) and any(map(_is_tensor, value)):
        items = [_operand("", v, known, with_dtype) for v in value[:_MOST]]
        return f"{prefix}[{', '.join([*items, *['...'] * (len(value) > _MOST)])}]"
    if _is_plain(value) and len(text := repr(tuple(value) if type(value) is torch.Size else value)) <= 80:
        return f"{prefix}{text}"
    return f"{prefix}a {type(value).__name__}" if value is not None else ""


def _is_plain(value: Any) -> bool:
    """Whether to print a value runs no code of a user's."""
    if type(value) in (tuple, list, torch.Size):
        return len(value) < 40 and all(map(_is_plain, value))
    return value is not None and type(value) in (*PLAIN_TYPES, type(...), slice)


def _known_names() -> dict[int, str]:
    """What the user calls tensors, by their ids."""
    frame = users_frame()
    found: dict[int, str] = {}
    for name, value in variables(frame) if frame is not None else ():
        found.setdefault(id(value), name)
        if (record := getattr(value, "record", None)) is not None:
            found.setdefault(id(record), name)
    return found


def _made_by(value: Any) -> str:
    """What a tensor without a name is: ``c.sum(1)`` is told as "sum()"."""
    record = getattr(value, "record", None)
    return "" if record is None else f"{record.op.name}()"


def _fitting(given: list[tuple[str, Any]], known: dict[int, str]) -> str:
    """The advice to keep or make a dimension, if two operands would broadcast then, which do not as they are."""
    operands = [(name, value) for name, value in given if _is_tensor(value)]
    if len(operands) != 2 or _broadcast(*[tuple(t.shape) for _, t in operands]):
        return ""
    for (argument, t), (_, other) in (operands, operands[::-1]):
        name = known.get(id(t)) or argument
        for how, shape in _with_a_dimension(t, known):
            if _broadcast(shape, tuple(other.shape)) == tuple(other.shape):
                return f"; {how.format(name)} is of shape {shape}, which fits"
    return ""


def _with_a_dimension(t: Any, known: dict[int, str]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """What would give a tensor one more dimension, of size 1, and its shape then."""
    record = getattr(t, "record", None)
    if record is not None and record.args and "keepdim" in record.op.parameters:
        options = dict(zip(record.op.parameters, record.args, strict=True))
        dim, source = options.get("dim"), record.parents[0] if record.parents else None
        if dim is not None and source is not None and options["keepdim"] is False:
            dims = {d % len(source.shape) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))}
            kept = tuple([1 if d in dims else size for d, size in enumerate(source.shape)])
            function = record.op.name.removesuffix("_dim").lstrip("_")
            of = f"{known[id(source)]}." if id(source) in known else ""
            yield f"{of}{function}({dim}, keepdim=True){'.values' * bool(record.op.aux)}", kept
            return
    shape = tuple(t.shape)
    for d in range(1, len(shape) + 1):
        yield f"{{0}}.unsqueeze({d}), or what it was computed by with keepdim=True,", (*shape[:d], 1, *shape[d:])


def _broadcast(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...] | None:
    """The shape that two broadcast to; None if they do not."""
    a, b = (*[1] * (len(b) - len(a)), *a), (*[1] * (len(a) - len(b)), *b)
    if any(m != n and 1 not in (m, n) for m, n in zip(a, b, strict=True)):
        return None
    return tuple([n if m == 1 else m for m, n in zip(a, b, strict=True)])
