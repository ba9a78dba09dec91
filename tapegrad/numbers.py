"""Numbers that are not Python's: NumPy's, of every dtype, its arrays, and any object that has ``__index__``.

Rules know Python's numbers: ``np.int64(0)`` is no int, and ``-np.uint8(2)`` is 254.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index as whole
from typing import Any

import numpy as np
import torch

NUMPYS = (np.generic, np.ndarray)
_KNOWN = (int, float, complex, str, bytes, list, tuple, dict, torch.Tensor, *NUMPYS)
_REFLECTED = {
    "add": "__radd__",
    "sub": "__rsub__",
    "mul": "__rmul__",
    "div": "__rtruediv__",
    "remainder": "__rmod__",
    "pow": "__rpow__",
}
COPIED = (tuple, list)  # a caller may change a list


def is_whole(value: Any) -> bool:
    """Whether a value stands for one whole number, such as a dim: also a tensor or an array without dimensions."""
    return isinstance(value, int) or (hasattr(value, "__index__") and not getattr(value, "ndim", 0))


def is_foreign_number(value: Any) -> bool:
    """Whether a value is a number, but not one of Python's: also an array of one whole number, but no tensor."""
    if isinstance(value, np.generic):
        return not isinstance(value, np.bool_)  # to torch 1.0 as an operand, and True as an option
    if isinstance(value, np.ndarray):
        return value.ndim == 0 and value.dtype.kind in "iu"
    other = isinstance(value, int) or hasattr(value, "__torch_function__")
    return not other and hasattr(type(value), "__index__")


def has_foreign_numbers(value: Any) -> bool:
    """Whether there are such numbers among arguments, or in sequences of them."""
    if isinstance(value, (list, tuple)):
        return any(map(has_foreign_numbers, value))
    return is_foreign_number(value)


def pythons(value: Any) -> Any:
    """Arguments with Python's numbers in place of others."""
    if isinstance(value, (list, tuple)) and has_foreign_numbers(value):
        items = [pythons(v) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if not is_foreign_number(value):
        return value
    if not isinstance(value, np.generic):
        return whole(value)
    number = value.item()  # of a long double, itself
    return number if not isinstance(number, np.generic) else complex(value) if np.iscomplexobj(value) else float(value)


def constant(op: Any, args: Sequence[Any], i: int) -> Any:
    """An argument of an op as a record keeps it: Python's numbers for NumPy's, an array as a tensor, a list as a tuple.

    Raises:
        TypeError: an array is of another dtype than the Tensors, or not of floating point: then NumPy and torch do not
            agree on the dtype of the result.
    """
    value = args[i]
    if isinstance(value, np.bool_) and op.parameters[i] in op.formulas:
        return float(value)
    if type(value) in COPIED:
        return tuple([pythons(v) if isinstance(v, np.generic) else v for v in value])
    if not isinstance(value, np.ndarray) or is_foreign_number(value):
        return pythons(value)
    dtypes = {str(a.dtype).removeprefix("torch.") for a in args if hasattr(a, "__torch_function__")}
    if dtypes == {str(value.dtype)} and np.issubdtype(value.dtype, np.floating):
        return torch.tensor(value)  # a copy: nobody can tell when NumPy changes an array
    raise TypeError(
        f"{op.name}(): {op.parameters[i]} is a numpy.ndarray of shape {value.shape} and {value.dtype}, beside a tensor "
        f"of {' and '.join(sorted(dtypes))}; give torch.from_numpy(array), in the dtype that you mean"
    )


def is_stranger(operand: Any) -> bool:
    """Whether neither torch nor NumPy knows an operand: it may answer to Python's operators by methods of its own."""
    kind = type(operand)
    return not (
        kind.__module__ == "builtins"
        or isinstance(operand, _KNOWN)
        or hasattr(kind, "__torch_function__")
        or hasattr(kind, "__index__")
    )


def reflected(op: Any, args: Sequence[Any]) -> Any:
    """What an operand that torch does not know makes of the other itself: ``x ** Fraction(1, 2)`` is ``x ** 0.5``.

    Python asks the right operand where the left one cannot tell; ``NotImplemented`` if that cannot, either.
    """
    name = _REFLECTED.get(op.name)
    if name is None or len(args) < 2 or not is_stranger(args[1]):
        return NotImplemented
    method = getattr(type(args[1]), name, None)
    return NotImplemented if method is None else method(args[1], args[0])
