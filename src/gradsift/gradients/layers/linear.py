"""Linear layers, also over sequences."""

from __future__ import annotations

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
        forms["bias"] = Dense(left.sum(dim=(1, 2)))
    return forms
