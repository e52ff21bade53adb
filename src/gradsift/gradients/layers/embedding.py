"""Embeddings."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gradsift.gradients.forms import Form, Indexed


def embedding_rule(module: nn.Embedding, inputs: Tensor, output_gradient: Tensor) -> dict[str, Form]:
    """A table look-up: the gradient of row v is ``sum_{t: id_t = v} dy_t``; the padding row's is zero.

    Args:
        module: The layer; ``scale_grad_by_freq`` and ``max_norm`` couple samples, such a layer fails its check against
            the one-sample loop and is left to the loop.
        inputs: Indices, shape (n, ...).
        output_gradient: Shape (n, ..., width).

    Returns:
        ``weight`` as indexed rows.
    """
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
