"""Multi-head attention, which keeps three maps in one packed weight and calls no layer for them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gradsift.gradients.layers.linear_map import LinearMap, NotRewritableError


def attention_forward(
    module: nn.MultiheadAttention,
    linear: LinearMap,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """``softmax(q k^T / sqrt(d) + mask) v`` by heads, as ``nn.MultiheadAttention`` computes it.

    Args:
        module: The layer.
        linear: Applies a linear map of the layer to a tensor whose first axis is the sample.
        query: Shape (n, t, E), or (t, n, E) without ``batch_first``.
        key: Shape (n, s, ·), likewise.
        value: Shape (n, s, ·), likewise.
        key_padding_mask: Shape (n, s); true, or minus infinity, where a key is padding.
        need_weights: Whether weights are wanted beside the output.
        attn_mask: Shape (t, s) or (n x heads, t, s); true, or minus infinity, where no attention is paid.
        average_attn_weights: Whether weights are averaged over heads.
        is_causal: A hint on ``attn_mask``, which says the same.

    Returns:
        The output, of the query's shape, and the weights or ``None``.

    Raises:
        NotRewritableError: The layer has learnt biases of keys, or there is no axis of samples.
    """
    del is_causal
    if module.bias_k is not None or module.add_zero_attn or query.ndim != 3 or query.is_nested:
        raise NotRewritableError("attention with biases of keys, or without an axis of samples")
    if module.training and module.dropout:
        raise NotRewritableError("attention with dropout in train mode")
    queries, keys, values = _projected(module, linear, *_samples_first(module, query, key, value))
    size, heads = len(queries), module.num_heads
    q, k, v = (x.unflatten(-1, (heads, module.head_dim)).transpose(1, 2) for x in (queries, keys, values))
    mask = _mask(attn_mask, key_padding_mask, size, heads, q.dtype)
    weights = None
    if need_weights:
        scores = q @ k.transpose(-2, -1) / math.sqrt(module.head_dim)
        weights = (scores if mask is None else scores + mask).softmax(dim=-1)
        mixed = weights @ v
        weights = weights.mean(dim=1) if average_attn_weights else weights
    else:
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    output = module.out_proj(mixed.transpose(1, 2).flatten(2))
    return (output if module.batch_first else output.transpose(0, 1)), weights


def _samples_first(module: nn.MultiheadAttention, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors with the sample as first axis; what was one tensor stays one."""
    if module.batch_first:
        return tensors
    turned = {id(tensor): tensor.transpose(0, 1) for tensor in tensors}
    return tuple(turned[id(tensor)] for tensor in tensors)


def _projected(
    module: nn.MultiheadAttention, linear: LinearMap, query: Tensor, key: Tensor, value: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, in as few products as the module itself needs."""
    width, bias = module.embed_dim, "in_proj_bias" if module.in_proj_bias is not None else None
    thirds = [slice(part * width, (part + 1) * width) for part in range(3)]
    if module.in_proj_weight is None:
        names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        q, k, v = (
            linear(tensor, name, bias, bias_rows=rows)
            for tensor, name, rows in zip((query, key, value), names, thirds, strict=True)
        )
    elif query is key and key is value:
        q, k, v = linear(query, "in_proj_weight", bias).chunk(3, dim=-1)
    elif key is value:
        q = linear(query, "in_proj_weight", bias, rows=thirds[0], bias_rows=thirds[0])
        both = slice(width, 3 * width)
        k, v = linear(key, "in_proj_weight", bias, rows=both, bias_rows=both).chunk(2, dim=-1)
    else:
        q, k, v = (
            linear(tensor, "in_proj_weight", bias, rows=rows, bias_rows=rows)
            for tensor, rows in zip((query, key, value), thirds, strict=True)
        )
    return q, k, v


def _mask(attention: Tensor | None, padding: Tensor | None, size: int, heads: int, dtype: torch.dtype) -> Tensor | None:
    """What is added to the scores, of a shape that broadcasts to (n, heads, t, s)."""
    parts = []
    if attention is not None:
        added = _added(attention, dtype)
        parts.append(added.unflatten(0, (size, heads)) if added.ndim == 3 else added)
    if padding is not None:
        parts.append(_added(padding, dtype)[:, None, None, :])
    return sum(parts[1:], parts[0]) if parts else None


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(mask, -torch.inf)
