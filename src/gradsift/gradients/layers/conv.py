"""Convolutions in one and two dimensions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from gradsift.gradients.forms import Dense, Factored, Form


def conv_rule(module: nn.Conv1d | nn.Conv2d, inputs: Tensor, output_gradient: Tensor) -> dict[str, Form]:
    """A convolution is a linear map of patches: ``sum_t dy_t patch_t^T`` over output positions t, group by group.

    Args:
        module: The layer; any stride, padding (also "same", and circular, reflect or replicate modes), dilation, groups.
        inputs: Shape (n, in, length) or (n, in, height, width).
        output_gradient: Shape (n, out, ...).

    Returns:
        ``weight`` in factors of output gradients and unfolded patches, and ``bias``.
    """
    size, groups = len(output_gradient), module.groups
    left = output_gradient.reshape(size, groups, module.out_channels // groups, -1).transpose(2, 3)
    patches = unfold(module, inputs)
    right = patches.reshape(size, groups, patches.shape[1] // groups, -1).transpose(2, 3)
    forms: dict[str, Form] = {"weight": Factored(left, right, module.weight.shape)}
    if module.bias is not None:
        forms["bias"] = Dense(output_gradient.reshape(size, module.out_channels, -1).sum(dim=2))
    return forms


def unfold(module: nn.Conv1d | nn.Conv2d, inputs: Tensor) -> Tensor:
    """The patch of the input that each output position reads.

    Args:
        module: The convolution.
        inputs: Shape (n, in, ...).

    Returns:
        Shape (n, in * kernel size, output positions).
    """
    if inputs.ndim == 3:
        inputs = inputs[:, :, None]
    # One more axis for Conv1d: kernel, stride and dilation 1 over an axis of length 1.
    one = (1,) * (2 - len(module.kernel_size))
    # (left, right) padding from the last axis backwards, as torch keeps it for every padding mode.
    padding = list(module._reversed_padding_repeated_twice)
    if any(padding):
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        if len(module.kernel_size) == 1:
            inputs = functional.pad(inputs[:, :, 0], padding, mode=mode)[:, :, None]
        else:
            inputs = functional.pad(inputs, padding, mode=mode)
    return functional.unfold(
        inputs, one + module.kernel_size, dilation=one + module.dilation, stride=one + module.stride
    )
