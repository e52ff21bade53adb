"""Bilinear layers, which take two inputs: a linear map of their outer product."""

from __future__ import annotations

from torch import Tensor, nn

from gradsift.gradients.layers.linear_map import LinearMap


def bilinear_forward(module: nn.Bilinear, linear: LinearMap, input1: Tensor, input2: Tensor) -> Tensor:
    """``y_k = x^T W_k z + b_k`` as ``W (x z^T) + b``.

    Args:
        module: The layer.
        linear: Applies a linear map of the layer to a tensor whose first axis is the sample.
        input1: x, shape (n, ..., in1).
        input2: z, shape (n, ..., in2).

    Returns:
        Shape (n, ..., out).
    """
    products = (input1[..., :, None] * input2[..., None, :]).flatten(-2)
    return linear(products, "weight", "bias" if module.bias is not None else None)
