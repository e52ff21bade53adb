"""Convolutions in one and two dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from gradsift.gradients.forms import Dense, Factored, Form
from gradsift.gradients.projection import Sketch

if TYPE_CHECKING:
    from gradsift.gradients.reductions import Reductions


def conv_rule(module: nn.Conv1d | nn.Conv2d, inputs: Tensor, output_gradient: Tensor) -> dict[str, Form]:
    """A convolution is a linear map of patches: ``sum_t dy_t patch_t^T`` over output positions t, group by group.

    Args:
        module: The layer; any stride, padding (also "same", and circular, reflect or replicate modes), dilation, groups.
        inputs: Shape (n, in, length) or (n, in, height, width).
        output_gradient: Shape (n, out, ...).

    Returns:
        ``weight`` and ``bias``.
    """
    forms: dict[str, Form] = {"weight": Convolved(module, inputs, output_gradient)}
    if module.bias is not None:
        forms["bias"] = Dense(output_gradient.flatten(2).sum(dim=2))
    return forms


class Convolved(Form):
    """Gradients of a convolution's weight, held as its padded input and the gradient of its output.

    Args:
        module: The layer.
        inputs: Its input.
        output_gradient: Gradient of its output.
    """

    def __init__(self, module: nn.Conv1d | nn.Conv2d, inputs: Tensor, output_gradient: Tensor) -> None:
        padding = list(module._reversed_padding_repeated_twice)  # from the last axis backwards, for every padding mode
        if any(padding):
            inputs = functional.pad(inputs, padding, mode=_MODES.get(module.padding_mode, module.padding_mode))
        if inputs.ndim == 3:  # Conv1d: one more axis of length 1
            inputs, output_gradient = inputs[:, :, None], output_gradient[:, :, None]
        one = (1,) * (2 - len(module.kernel_size))
        self._kernel, self._stride = one + module.kernel_size, one + module.stride
        self._dilation, self._groups = one + module.dilation, module.groups
        self._inputs, self._output_gradient = inputs, output_gradient
        self.shape = tuple(module.weight.shape)

    def dense(self) -> Tensor:
        """The gradients, shape ``(n, *shape)``, as one grouped convolution: every sample is a group of its own."""
        size, channels = self._inputs.shape[:2]
        outputs = self._output_gradient.shape[1]
        gradient = conv2d_weight(
            self._inputs.reshape(1, size * channels, *self._inputs.shape[2:]),
            (size * outputs, channels // self._groups, *self._kernel),
            self._output_gradient.reshape(1, size * outputs, *self._output_gradient.shape[2:]),
            stride=self._stride,
            dilation=self._dilation,
            groups=size * self._groups,
        )
        return gradient.reshape(size, *self.shape)

    def factored(self) -> Factored:
        """The same gradients in factors, output gradients and unfolded patches: q / C times the input's memory."""
        patches = functional.unfold(self._inputs, self._kernel, dilation=self._dilation, stride=self._stride)
        size = len(patches)
        left = self._output_gradient.reshape(size, self._groups, self.shape[0] // self._groups, -1)
        right = patches.reshape(size, self._groups, patches.shape[1] // self._groups, -1)
        return Factored(left.transpose(2, 3), right.transpose(2, 3), self.shape)

    def cheapest(self, reductions: Reductions) -> Form:
        """Held whole; in factors where positions are few (ghost form); as it is where only a projection is wanted."""
        positions = self._output_gradient[0, 0].numel()
        p, q = self.shape[0] // self._groups, self._inputs.shape[1] // self._groups * self._kernel[0] * self._kernel[1]
        if not reductions.needs_entries:
            if reductions.l2 and positions * (p + q) < p * q:
                return self.factored()
            if not reductions.l2 and not reductions.directions and self._groups == 1:
                rows, columns = reductions.projection.sides if reductions.projection else (0, 0)
                if positions * (q * columns + p * rows) < positions * p * q:
                    return self
        return Dense(self.dense())

    def l1(self) -> Tensor:
        """Sum of absolute values, shape (n,)."""
        return Dense(self.dense()).l1()

    def l2_squared(self) -> Tensor:
        """Sum of squares, shape (n,)."""
        return Dense(self.dense()).l2_squared()

    def project(self, sketch: Sketch) -> Tensor:
        """The projection, shape (n, sketch.dim): patches are projected by a convolution with random filters."""
        if sketch.kind != "kronecker" or self._groups > 1:
            return sketch.dense(self.dense())
        filters = sketch.right(self._inputs).reshape(-1, self._inputs.shape[1], *self._kernel)
        right = functional.conv2d(self._inputs, filters, stride=self._stride, dilation=self._dilation).flatten(2)
        # "same" padding of an even kernel can leave one position more than the layer has.
        left = torch.matmul(sketch.left(self._output_gradient), self._output_gradient.flatten(2))
        return torch.matmul(left, right.transpose(1, 2)).flatten(1)


_MODES = {"zeros": "constant"}
