"""Rules of scaled dot-product attention."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from tapegrad.engine.table import rule


def attention_weights(query: Any, key: Any, mask: Any, is_causal: bool, scale: float) -> Any:
    """How much each query attends to each key; not at all where all keys are masked, as in torch."""
    scores = query @ key.mT * scale
    if is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype is torch.bool else scores + mask
    blind = (scores == -math.inf).all(-1, keepdim=True)
    return F.softmax(scores.masked_fill(blind, 0.0), -1).masked_fill(blind, 0.0)


def attention_gradients(g: Any, out: Any, tensors: Any, is_causal: bool, scale: float) -> list[Any]:
    """The gradients of query, key, value and mask; without ``out``, p.d is computed from p."""
    query, key, value, mask = tensors
    p = attention_weights(query, key, mask, is_causal, scale)
    d = g @ value.mT
    ds = p * (d - (p * d if out is None else g * out).sum(-1, keepdim=True))
    return [ds @ key * scale, ds.mT @ query * scale, p.mT @ g, None if mask is None or mask.dtype is torch.bool else ds]


# O = P V with P = softmax(s Q K^T + mask). A row p of P that gets the gradient d passes p (d - p.d) on, and p.d = g.o.
@rule(tensors=attention_gradients)
def attention(tensors: Any, is_causal: bool, scale: float) -> Any:
    """Attention of ``query, key, value, mask``; the mask may be missing."""
    query, key, value, mask = tensors
    return F.scaled_dot_product_attention(query, key, value, mask, is_causal=is_causal, scale=scale)
