"""Attention by elementary operations, whatever kernel the code around it chose: fused ones are differentiable once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ATTENTION", "scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Returns softmax(query keyᵀ · scale + mask) value, (…, L, E), as torch's math kernel does."""
    found = torch.ops.aten._scaled_dot_product_attention_math(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )
    return found[0]


# The function as torch reports it -> its name in messages, its composition.
ATTENTION: dict[Any, tuple[str, Callable[..., Any]]] = {
    F.scaled_dot_product_attention: ("scaled_dot_product_attention", scaled_dot_product_attention)
}
