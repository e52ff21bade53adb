"""Normalisations: ``y = weight * normalised(x) + bias``, the normalised input is computed anew."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from gradsift.gradients.forms import Dense, Form


def layer_norm_rule(module: nn.LayerNorm, inputs: Tensor, output_gradient: Tensor) -> dict[str, Form]:
    """LayerNorm: sums over all axes between the sample and the normalised ones.

    Args:
        module: The layer.
        inputs: Shape ``(n, ..., *normalized_shape)``.
        output_gradient: The same shape.

    Returns:
        ``weight`` and ``bias``, as far as they exist.
    """
    normalised = functional.layer_norm(inputs, module.normalized_shape, eps=module.eps)
    return _over_trailing(module, module.normalized_shape, normalised, output_gradient)


def rms_norm_rule(module: nn.RMSNorm, inputs: Tensor, output_gradient: Tensor) -> dict[str, Form]:
    """RMSNorm: as LayerNorm, without a mean and a bias.

    Args:
        module: The layer.
        inputs: Shape ``(n, ..., *normalized_shape)``.
        output_gradient: The same shape.

    Returns:
        ``weight``.
    """
    normalised = functional.rms_norm(inputs, list(module.normalized_shape), eps=module.eps)
    return _over_trailing(module, module.normalized_shape, normalised, output_gradient)


def group_norm_rule(module: nn.GroupNorm, inputs: Tensor, output_gradient: Tensor) -> dict[str, Form]:
    """GroupNorm: sums over all positions of a channel.

    Args:
        module: The layer.
        inputs: Shape (n, channels, ...).
        output_gradient: The same shape.

    Returns:
        ``weight`` and ``bias``.
    """
    return _over_channels(functional.group_norm(inputs, module.num_groups, eps=module.eps), output_gradient)


def batch_norm_rule(module: _BatchNorm, inputs: Tensor, output_gradient: Tensor) -> dict[str, Form]:
    """BatchNorm in eval mode, where it is a fixed affine map of each channel.

    Args:
        module: The layer, with running statistics.
        inputs: Shape (n, channels, ...).
        output_gradient: The same shape.

    Returns:
        ``weight`` and ``bias``.
    """
    if module.running_mean is None or module.running_var is None:  # the probe refuses such a model with the reason
        return {}
    bias, products = _sums(output_gradient), _sums(output_gradient * inputs)
    # sum dy (x - mean), without a tensor of the size of the layer's input for x - mean
    weight = (products - bias * module.running_mean) * torch.rsqrt(module.running_var + module.eps)
    return {"weight": Dense(weight), "bias": Dense(bias)}


def _over_channels(normalised: Tensor, output_gradient: Tensor) -> dict[str, Form]:
    return {"weight": Dense(_sums(output_gradient * normalised)), "bias": Dense(_sums(output_gradient))}


def _sums(values: Tensor) -> Tensor:
    """Sums over all positions, shape (n, channels)."""
    return values.sum(dim=tuple(range(2, values.ndim))) if values.ndim > 2 else values


def _over_trailing(
    module: nn.LayerNorm | nn.RMSNorm, shape: tuple[int, ...], normalised: Tensor, output_gradient: Tensor
) -> dict[str, Form]:
    size = len(output_gradient)
    gradient = output_gradient.reshape(size, -1, *shape)
    forms: dict[str, Form] = {"weight": Dense((gradient * normalised.reshape(size, -1, *shape)).sum(dim=1))}
    if getattr(module, "bias", None) is not None:
        forms["bias"] = Dense(gradient.sum(dim=1))
    return forms
