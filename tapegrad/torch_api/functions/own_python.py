"""Functions that torch itself writes in Python, in terms of others: its own text, run on Tensors."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch.nn.functional as F

from tapegrad.engine.table import TABLE
from tapegrad.torch_api.composition import asking


def own_python(function: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of a torch function that does not ask whether an argument overrides it: the functions it calls do."""
    assert isinstance(function, FunctionType)
    asked = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    scope = function.__globals__ | dict.fromkeys(asked, lambda *args: False)
    scope["_none_or_dtype"] = lambda x: None if x is None else x.dtype  # torch's asks for the class as well
    copy = FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


for _function in (
    F.affine_grid,
    F.ctc_loss,
    F.embedding_bag,
    F.grid_sample,
    F.gumbel_softmax,
    F.multi_head_attention_forward,
    F.upsample,
    F.upsample_bilinear,
    F.upsample_nearest,
):
    TABLE[_function] = asking(_function, own_python(_function))  # torch.ctc_loss is another function than F.ctc_loss
