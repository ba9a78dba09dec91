"""The rule of scaled dot-product attention."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend

from tapegrad.op import composition, rule
from tapegrad.tensor import raw


# O = P V with P = softmax(s Q K^T + mask). A row p of P that gets the gradient d passes p (d - p.d) on, and p.d = g.o.
@rule(tensors=lambda g, out, tensors, is_causal, scale: attention_gradients(g, out, tensors, is_causal, scale))
def attention(tensors: Any, is_causal: bool, scale: float) -> Any:
    """Attention of ``query, key, value, mask``; the mask may be missing."""
    query, key, value, mask = tensors
    return F.scaled_dot_product_attention(query, key, value, mask, is_causal=is_causal, scale=scale)


def attention_gradients(g: Any, out: Any, tensors: Any, is_causal: bool, scale: float) -> list[Any]:
    """The gradients of query, key, value and mask."""
    query, key, value, mask = tensors
    p = weights(query, key, mask, is_causal, scale)
    ds = p * (g @ value.mT - (g * out).sum(-1, keepdim=True))
    return [ds @ key * scale, ds.mT @ query * scale, p.mT @ g, None if mask is None or mask.dtype is torch.bool else ds]


def weights(query: Any, key: Any, mask: Any, is_causal: bool, scale: float) -> Any:
    """How much each query attends to each key; not at all where all keys are masked, as in torch."""
    scores = query @ key.mT * scale
    if is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype is torch.bool else scores + mask
    blind = (scores == -math.inf).all(-1, keepdim=True)
    return F.softmax(scores.masked_fill(blind, 0.0), -1).masked_fill(blind, 0.0)


@composition(F.scaled_dot_product_attention)
def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    if enable_gqa:  # a group of queries shares a key and a value
        key, value = shared(key, query.shape[-3]), shared(value, query.shape[-3])
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    if is_causal and attn_mask is not None:
        raise RuntimeError("scaled_dot_product_attention(): give attn_mask or is_causal, not both")
    if fused(query, key, value, attn_mask, dropout_p, is_causal, scale):
        return attention([query, key, value, attn_mask], is_causal, scale)
    root = math.sqrt(abs(scale))  # torch's order of operations
    p = weights(query * math.copysign(root, scale), key * root, attn_mask, is_causal, 1.0)
    return F.dropout(p, dropout_p) @ value


def fused(query: Any, key: Any, value: Any, mask: Any, dropout_p: float, is_causal: bool, scale: float) -> bool:
    """Whether torch has a kernel for this call; it writes the others out."""
    if mask is not None and mask.requires_grad:
        return False
    q, k, v, m = raw((query, key, value, mask))
    return torch._fused_sdp_choice(q, k, v, m, dropout_p, is_causal, scale=scale) != int(SDPBackend.MATH.value)


def shared(x: Any, heads: int) -> Any:
    """Each head of keys or values, as often as it takes for ``heads`` in all."""
    *batch, n, length, width = x.shape
    return x.unsqueeze(-3).expand(*batch, n, heads // n, length, width).reshape(*batch, heads, length, width)
