"""Convolutions in one and two dimensions, and transposed ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from gradsift.gradients.forms import Dense, Factored, Form
from gradsift.gradients.pieces import Pieces, cut, outer_products, sum_norms
from gradsift.gradients.projection import Sketch

_MODES = {"zeros": "constant"}
SMALL_MAP = 200
"""Positions up to which patches are unfolded on a CPU: measured, 7 x 7 and 8 x 8 gain half, 16 x 16 and more lose."""
MANY_GROUPS = 2**14
"""Entries of a weight below which one grouped convolution for many samples beats one convolution a sample."""


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


def transposed_conv_rule(
    module: nn.ConvTranspose1d | nn.ConvTranspose2d, inputs: Tensor, output_gradient: Tensor
) -> dict[str, Form]:
    """A transposed convolution's weight has the gradient of a convolution that maps its output back to its input.

    Args:
        module: The layer; any stride, padding, output padding, dilation, groups.
        inputs: Shape (n, in, length) or (n, in, height, width).
        output_gradient: Shape (n, out, ...).

    Returns:
        ``weight`` and ``bias``.
    """
    forms: dict[str, Form] = {"weight": Convolved(module, output_gradient, inputs)}
    if module.bias is not None:
        forms["bias"] = Dense(output_gradient.flatten(2).sum(dim=2))
    return forms


class Convolved(Form):
    """Gradients of a convolution's weight, held as its input and the gradient of its output.

    Args:
        module: The layer.
        inputs: Its input.
        output_gradient: Gradient of its output.
    """

    def __init__(self, module: nn.modules.conv._ConvNd, inputs: Tensor, output_gradient: Tensor) -> None:
        padding = list(module._reversed_padding_repeated_twice)  # from the last axis backwards, for every mode
        if module.padding_mode != "zeros" or padding[::2] != padding[1::2]:
            mode = _MODES.get(module.padding_mode, module.padding_mode)
            inputs, padding = functional.pad(inputs, padding, mode=mode), [0] * len(padding)
        self._padding = (padding[2] if len(padding) > 2 else 0, padding[0])
        if inputs.ndim == 3:  # Conv1d: one more axis of length 1
            inputs, output_gradient = inputs[:, :, None], output_gradient[:, :, None]
        one = (1,) * (2 - len(module.kernel_size))
        self._kernel, self._stride = one + module.kernel_size, one + module.stride
        self._dilation, self._groups = one + module.dilation, module.groups
        self._inputs, self._output_gradient = inputs, output_gradient
        self.shape = tuple(module.weight.shape)

    @property
    def _positions(self) -> int:
        return self._output_gradient[0, 0].numel()

    @property
    def _unfolds(self) -> bool:
        """Whether unfolded patches and a matrix product are quicker than a grouped convolution: where maps are small."""
        few = self._positions <= SMALL_MAP or self._kernel == (1, 1) or self._inputs.device.type != "cpu"
        return few and self._groups == 1 and not self._groups_well

    @property
    def _groups_well(self) -> bool:
        """Whether one grouped convolution serves many samples well: weights are small, and channels are not last."""
        return (
            math.prod(self.shape) < MANY_GROUPS and self._inputs.is_contiguous() and self._inputs.device.type == "cpu"
        )

    @property
    def _ghost_is_cheaper(self) -> bool:
        p, q = self.shape[0], math.prod(self.shape[1:])
        return self._groups == 1 and self._positions * (p + q) < p * q

    def dense(self) -> Tensor:
        """The gradients, shape ``(n, *shape)``."""
        return self._product(slice(None))

    def pieces(self) -> Pieces:
        """All entries, a piece at a time."""
        numbers, patches = math.prod(self.shape), self._positions * math.prod(self.shape[1:])
        if self._unfolds:
            many, _ = cut(self._inputs, max(numbers, patches), 1)
        else:
            many = len(self._inputs) if self._groups_well else 1
        for start in range(0, len(self._inputs), many):
            part = slice(start, start + many)
            if self._unfolds:
                for _, entries in outer_products(self._maps(part)[:, None], self._patches(part)[:, None]):
                    yield part, entries
            else:
                yield part, self._product(part)

    def l1(self) -> Tensor:
        """Sum of absolute values, shape (n,)."""
        return sum_norms(self.pieces(), self._inputs, l1=True, l2=False)[0]

    def l2_squared(self) -> Tensor:
        """Sum of squares, shape (n,); in ghost form where positions are few."""
        if not self._ghost_is_cheaper:
            return sum_norms(self.pieces(), self._inputs, l1=False, l2=True)[1]
        everything = slice(None)
        maps, patches = self._maps(everything), self._patches(everything)
        return Factored(maps[:, None], patches[:, None], (maps.shape[2], patches.shape[2])).l2_squared()

    def both_norms(self) -> tuple[Tensor, Tensor]:
        """Both from one look at the entries, shape (n,) each."""
        return sum_norms(self.pieces(), self._inputs, l1=True, l2=True)

    def project(self, sketch: Sketch) -> Tensor:
        """The projection, shape (n, sketch.dim): patches are projected by a convolution with random filters."""
        if sketch.kind != "kronecker" or self._groups > 1:
            return sketch.dense(self.dense())
        filters = sketch.right_matrix(self._inputs).reshape(-1, self._inputs.shape[1], *self._kernel)
        right = functional.conv2d(self._inputs, filters, None, self._stride, self._padding, self._dilation).flatten(2)
        left = sketch.left(self._output_gradient.movedim(1, -1)).flatten(1, -2)
        return sketch.fold(torch.matmul(left.transpose(1, 2), right.transpose(1, 2)))

    def _product(self, part: slice) -> Tensor:
        """The weight's gradients of some samples, shape ``(n, *shape)``."""
        inputs, output_gradient = self._inputs[part], self._output_gradient[part]
        size, channels, outputs = len(inputs), inputs.shape[1], self.shape[0]
        if self._unfolds:
            product = torch.matmul(self._maps(part).transpose(1, 2), self._patches(part))
            return product.reshape(size, outputs, *self._kernel, channels).movedim(-1, 2).reshape(size, *self.shape)
        if size > 1:  # every sample is a group of its own
            inputs = inputs.reshape(1, size * channels, *inputs.shape[2:])
            output_gradient = output_gradient.reshape(1, size * outputs, *output_gradient.shape[2:])
        gradient = conv2d_weight(
            inputs,
            (size * outputs, channels // self._groups, *self._kernel),
            output_gradient,
            stride=self._stride,
            padding=self._padding,
            dilation=self._dilation,
            groups=size * self._groups,
        )
        return gradient.reshape(size, *self.shape)

    def _maps(self, part: slice) -> Tensor:
        """Output gradients of some samples by position, shape (n, T, p)."""
        return self._output_gradient[part].movedim(1, -1).flatten(1, -2)

    def _patches(self, part: slice) -> Tensor:
        """Unfolded patches of some samples, shape (n, T, kernel height x kernel width x channels)."""
        height, width = self._padding
        inputs = functional.pad(self._inputs[part].movedim(1, -1), (0, 0, width, width, height, height)).contiguous()
        (sample, *steps, channel), places = inputs.stride(), self._output_gradient.shape[2:]
        windows = inputs.as_strided(
            (len(inputs), *places, *self._kernel, inputs.shape[-1]),
            (
                sample,
                *(step * stride for step, stride in zip(steps, self._stride, strict=True)),
                *(step * dilation for step, dilation in zip(steps, self._dilation, strict=True)),
                channel,
            ),
        )
        return windows.reshape(len(inputs), self._positions, -1)
