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
    shape = (1, -1) + (1,) * (inputs.ndim - 2)
    if module.running_mean is None or module.running_var is None:  # the probe refuses such a model with the reason
        return {}
    forms = _over_channels(inputs - module.running_mean.reshape(shape), output_gradient)
    weight = forms["weight"].dense() * torch.rsqrt(module.running_var + module.eps)
    return forms | {"weight": Dense(weight)}


def _over_channels(normalised: Tensor, output_gradient: Tensor) -> dict[str, Form]:
    size, channels = output_gradient.shape[:2]
    gradient = output_gradient.reshape(size, channels, -1)
    weight = (gradient * normalised.reshape(size, channels, -1)).sum(dim=2)
    return {"weight": Dense(weight), "bias": Dense(gradient.sum(dim=2))}


def _over_trailing(
    module: nn.LayerNorm | nn.RMSNorm, shape: tuple[int, ...], normalised: Tensor, output_gradient: Tensor
) -> dict[str, Form]:
    size = len(output_gradient)
    gradient = output_gradient.reshape(size, -1, *shape)
    forms: dict[str, Form] = {"weight": Dense((gradient * normalised.reshape(size, -1, *shape)).sum(dim=1))}
    if getattr(module, "bias", None) is not None:
        forms["bias"] = Dense(gradient.sum(dim=1))
    return forms
