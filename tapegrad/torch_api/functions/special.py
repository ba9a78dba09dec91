"""Special functions in terms of others, or with their arguments in another order."""

from __future__ import annotations

import math
from typing import Any

import torch

from tapegrad.engine.table import TABLE, composition
from tapegrad.rules import special

# --- the error function and the normal distribution ---


@composition(torch.special.ndtr)
def ndtr(input: Any) -> Any:
    return (1 + torch.erf(input * math.sqrt(0.5))) * 0.5


# --- the gamma function and its derivatives ---

TABLE[torch.Tensor.polygamma] = lambda input, n: special.polygamma(n, input)  # a method's self comes first
