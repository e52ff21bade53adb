"""Embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradsift.gradients.forms import Form, Indexed


def embedding_rule(module: nn.Embedding, inputs: Tensor, output_gradient: Tensor) -> dict[str, Form]:
    """A table look-up: the gradient of row v is ``sum_{t: id_t = v} dy_t``; the padding row's is zero.

    Args:
        module: The layer; ``max_norm`` couples samples, such a layer fails its check against the one-sample loop and is
            left to the loop.
        inputs: Indices, shape (n, ...).
        output_gradient: Shape (n, ..., width).

    Returns:
        ``weight`` as indexed rows.

    Raises:
        ValueError: Gradients are scaled by how often a row is looked up.
    """
    _refuse_scaling(module)
    size = len(output_gradient)
    index = inputs.reshape(size, -1).long()
    rows = output_gradient.reshape(size, -1, module.embedding_dim)
    if module.padding_idx is not None:
        rows = rows * (index != module.padding_idx)[..., None]
    return {"weight": Indexed(index, rows, module.weight.shape)}


def scaled_embedding_rule(module: Any, inputs: Tensor, output_gradient: Tensor) -> dict[str, Form]:
    """A look-up times a number, as Gemma and Bart have it: without this rule the gradient of a whole table is formed.

    Args:
        module: An embedding with ``embed_scale``, a number or a tensor of one.
        inputs: Indices, shape (n, ...).
        output_gradient: Shape (n, ..., width).

    Returns:
        ``weight`` as indexed rows.
    """
    scale = module.embed_scale
    scale = scale.to(module.weight.dtype) if isinstance(scale, Tensor) else scale
    return embedding_rule(module, inputs, output_gradient * scale)


def embedding_bag_rule(module: nn.EmbeddingBag, inputs: Tensor, output_gradient: Tensor) -> dict[str, Form]:
    """The sum, mean or largest entries of the rows that a sample looks up.

    Args:
        module: The layer, called with one bag a sample; bags by offsets, and weights of words, are left to the fallbacks.
        inputs: Indices, shape (n, T).
        output_gradient: Shape (n, width).

    Returns:
        ``weight`` as indexed rows.

    Raises:
        ValueError: Gradients are scaled by how often a row is looked up.
    """
    _refuse_scaling(module)
    index = inputs.long()
    kept = torch.ones_like(index, dtype=torch.bool) if module.padding_idx is None else index != module.padding_idx
    rows = output_gradient[:, None] * kept[..., None]
    if module.mode == "mean":
        rows = rows / kept.sum(dim=1).clamp(min=1)[:, None, None]
    elif module.mode == "max":
        entries = module.weight.detach()[index].masked_fill(~kept[..., None], -torch.inf)
        largest = functional.one_hot(entries.argmax(dim=1), index.shape[1]).transpose(1, 2)
        rows = rows * largest
    return {"weight": Indexed(index, rows, module.weight.shape)}


def _refuse_scaling(module: nn.Embedding | nn.EmbeddingBag) -> None:
    """Refuses what shows only in samples that look a row up twice, so perhaps in none of those that are tried."""
    if module.scale_grad_by_freq:
        raise ValueError("scale_grad_by_freq=True divides gradients by how often a row is looked up")
