"""Linear layers, also over sequences, and GPT-2's, whose weight is transposed."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gradsift.gradients.forms import Dense, Factored, Form


def linear_rule(module: nn.Linear, inputs: Tensor, output_gradient: Tensor) -> dict[str, Form]:
    """``y_t = W x_t + b``: the weight's gradient is ``sum_t dy_t x_t^T``, the bias's ``sum_t dy_t``.

    Args:
        module: The layer.
        inputs: Shape (n, ..., in).
        output_gradient: Shape (n, ..., out).

    Returns:
        ``weight`` in factors over all inner positions, and ``bias``.
    """
    size = len(output_gradient)
    left = output_gradient.reshape(size, 1, -1, module.out_features)
    right = inputs.reshape(size, 1, -1, module.in_features)
    forms: dict[str, Form] = {"weight": Factored(left, right, module.weight.shape)}
    if module.bias is not None:
        forms["bias"] = Dense(output_gradient if output_gradient.ndim == 2 else left.sum(dim=(1, 2)))
    return forms


def transposed_linear_rule(module: Any, inputs: Tensor, output_gradient: Tensor) -> dict[str, Form]:
    """``y_t = x_t W + b``, the ``Conv1D`` of transformers: the weight's gradient is ``sum_t x_t dy_t^T``.

    Args:
        module: The layer; its weight has the shape (in, out).
        inputs: Shape (n, ..., in).
        output_gradient: Shape (n, ..., out).

    Returns:
        ``weight`` in factors and ``bias``.
    """
    size, (width_in, width_out) = len(output_gradient), module.weight.shape
    left = inputs.reshape(size, 1, -1, width_in)
    right = output_gradient.reshape(size, 1, -1, width_out)
    return {"weight": Factored(left, right, (width_in, width_out)), "bias": Dense(right.sum(dim=(1, 2)))}
