"""Scaled dot-product attention, by torch's kernel where it has one, and written out elsewhere."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend

from tapegrad.rules import attention
from tapegrad.rules.opmath import in_float32
from tapegrad.torch_api.composition import composition
from tapegrad.torch_api.raw import raw


def has_kernel(query: Any, key: Any, value: Any, mask: Any, dropout_p: float, is_causal: bool, scale: float) -> bool:
    """Whether torch has a fused kernel for this call; it writes the others out."""
    if mask is not None and mask.requires_grad:
        return False
    q, k, v, m = raw((query, key, value, mask))
    return torch._fused_sdp_choice(q, k, v, m, dropout_p, is_causal, scale=scale) != int(SDPBackend.MATH.value)


def repeat_heads(x: Any, heads: int) -> Any:
    """Each head of keys or values, as often as it takes for ``heads`` in all."""
    *batch, n, length, width = x.shape
    return x.unsqueeze(-3).expand(*batch, n, heads // n, length, width).reshape(*batch, heads, length, width)


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
        key, value = repeat_heads(key, query.shape[-3]), repeat_heads(value, query.shape[-3])
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    if is_causal and attn_mask is not None:
        raise RuntimeError("scaled_dot_product_attention(): give attn_mask or is_causal, not both")
    if has_kernel(query, key, value, attn_mask, dropout_p, is_causal, scale):
        return attention.attention([query, key, value, attn_mask], is_causal, scale)
    dtype = query.dtype
    if key.dtype is dtype is value.dtype:  # otherwise the products refuse them
        query, key, value = in_float32((query, key, value))
    root = math.sqrt(abs(scale))  # torch's order of operations
    p = attention.attention_weights(query * math.copysign(root, scale), key * root, attn_mask, is_causal, 1.0)
    return (F.dropout(p, dropout_p) @ value).to(dtype)
