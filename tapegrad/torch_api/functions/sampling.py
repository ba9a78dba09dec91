"""Random draws that a gradient goes through, with torch's generator moved on as torch does."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.rules import sampling
from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.raw import raw


def default_generator(device: torch.device) -> torch.Generator:
    """The generator that torch draws from on a device."""
    if device.type == "cpu":
        return torch.default_generator
    generators: Any = getattr(torch, device.type).default_generators
    generator: torch.Generator = generators[device.index or 0]
    return generator


def drawn(op: Any, draw: Any, input: Any, generator: torch.Generator | None) -> Any:
    """What ``op`` draws from a copy of the generator, which is then moved on by drawing once more."""
    generator = default_generator(input.device) if generator is None else generator
    result = op(input, generator.clone_state())
    draw(raw(input), generator)
    return result


@composition(torch._standard_gamma)
def standard_gamma(input: Any, generator: torch.Generator | None = None) -> Any:
    return drawn(sampling.standard_gamma, torch._standard_gamma, input, generator)


@composition(F.gumbel_softmax)
def gumbel_softmax(logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Any:
    noise = -torch.empty_like(raw(logits), memory_format=torch.legacy_contiguous_format).exponential_().log()
    soft = ((logits + noise) / tau).softmax(dim)
    if not hard:
        return soft
    chosen = torch.zeros_like(soft.data).scatter_(dim, soft.data.argmax(dim, keepdim=True), 1.0)
    return chosen - soft.detach() + soft  # straight through


def dirichlet(concentration: Any) -> Any:
    """Shares of a whole, in place of torch's own ``torch.autograd.Function``."""
    return drawn(sampling.sample_dirichlet, torch._sample_dirichlet, concentration, None)
