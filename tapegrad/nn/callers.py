"""Libraries that training code calls, and that ask for torch's own class, learn that a Tensor is one to them."""

from __future__ import annotations

import importlib
import importlib.util

import torch
from torch.nn.utils import parametrizations, parametrize
from torch.utils.data._utils import collate

from tapegrad.engine.tensor import Tensor
from tapegrad.nn.quiet import quiet


def introduce() -> None:
    """Tell DataLoader, ``torch.load`` and einops of Tensors, and let torch rebuild modules without being recorded."""
    collate.default_collate_fn_map[Tensor] = lambda batch, **_: torch.stack(batch)
    torch.serialization.add_safe_globals([Tensor])  # for weights_only=True: to make one runs no code of others
    # To give a parameter a parametrization is no computation: torch tries it, and drops the result.
    for cls in (parametrize.ParametrizationList, parametrizations._SpectralNorm):
        cls.__init__ = quiet(cls.__init__)  # type: ignore[method-assign]
    for name in ("register_parametrization", "remove_parametrizations"):
        setattr(parametrize, name, quiet(getattr(parametrize, name)))
    if importlib.util.find_spec("einops"):
        backends.append(_einops_backend())


backends: list[type] = []  # einops finds the subclasses of its own that somebody holds


def _einops_backend() -> type:
    torchs = importlib.import_module("einops._backends").TorchBackend  # it takes 3 milliseconds
    is_ours = lambda self, tensor: type(tensor) is Tensor
    return type("TapegradBackend", (torchs,), {"framework_name": "tapegrad", "is_appropriate_type": is_ours})
