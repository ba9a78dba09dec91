"""Values that are torch's to the bit where a composition's are not: torch has a kernel of its own for them."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.torch_api.raw import raw


def with_bits_of(exact: torch.Tensor, out: Any) -> Any:
    """``out``, rounded as torch's own result is; its gradient stays what it is.

    The two are so near that their difference, and then the sum, are exact (Sterbenz 1974).
    """
    difference = exact - raw(out)
    return out + torch.where(difference.isfinite(), difference, 0.0) if difference.any() else out
