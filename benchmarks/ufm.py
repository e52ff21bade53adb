"""The deep linear unconstrained feature model: a network whose collapse, Hessian and gradients are known in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from gradsift.errors import SettingError


@dataclass(frozen=True)
class Optimum:
    """The global minimum of the model, in numbers (Garrod and Keating, arXiv 2404.06106).

    Attributes:
        gain: End-to-end gain ``gamma = sigma^L s``: every sample's output is ``gamma e_c``.
        singular_value: ``sigma``, the K equal singular values of every layer.
        mean_norm: ``s``, the length of every class's feature.
        loss: Objective with both decays.
        outlier: The K^2 equal eigenvalues of every layer's Hessian of the data loss, ``lambda_W gamma / (1 - gamma)``; all
            others are zero.
        gram: The K equal eigenvalues of ``W_l^T W_l``, ``sigma^2 = (lambda_H / lambda_W) n s^2``.
    """

    gain: float
    singular_value: float
    mean_norm: float
    loss: float
    outlier: float
    gram: float


def optimum(
    *, num_classes: int, samples_per_class: int, num_layers: int, weight_decay: float, feature_decay: float
) -> Optimum:
    """Closed form of the minimum of :class:`DeepLinearUFM`.

    The gain is the root nearest to one of ``gamma^(L-1) (1 - gamma)^(L+1) = (lambda_W K)^L (lambda_H K n)``; then
    ``sigma^2 = gamma (1 - gamma) / (lambda_W K)`` and ``s^2 = gamma (1 - gamma) / (lambda_H K n)``.

    Args:
        num_classes: K, at least 2.
        samples_per_class: n.
        num_layers: L, at least 1.
        weight_decay: ``lambda_W`` of every layer.
        feature_decay: ``lambda_H`` of the features.

    Returns:
        The optimum.

    Raises:
        SettingError: A number is out of its range, or the decay is so strong that only zero weights are optimal.
    """
    if num_classes < 2 or samples_per_class < 1 or num_layers < 1 or not (weight_decay > 0 and feature_decay > 0):
        raise SettingError(
            "the model needs num_classes >= 2, samples_per_class >= 1, num_layers >= 1 and decays above 0; given "
            f"{num_classes}, {samples_per_class}, {num_layers}, {weight_decay}, {feature_decay}"
        )
    depth, total = num_layers, num_classes * samples_per_class
    strength = (total * weight_decay**depth * feature_decay) ** (1 / depth)
    limit = (depth - 1) ** ((depth - 1) / depth) / (num_classes * depth**2)
    if not strength < limit:
        raise SettingError(
            f"with these decays zero weights are the minimum: (K n lambda_W^L lambda_H)^(1/L) is {strength:.3g}, and must "
            f"be below {limit:.3g}"
        )
    log_right = depth * np.log(weight_decay * num_classes) + np.log(feature_decay * total)

    def above(gain: float) -> bool:
        return bool((depth - 1) * np.log(gain) + (depth + 1) * np.log1p(-gain) > log_right)

    # The left side falls from its greatest value, at (L - 1) / 2L, to zero at one.
    low, high = (depth - 1) / (2 * depth), 1.0
    if depth == 1:
        low = 1e-300
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if middle < 1 and above(middle) else (low, middle)
    gain = (low + high) / 2
    sigma = np.sqrt(gain * (1 - gain) / (weight_decay * num_classes))
    mean_norm = np.sqrt(gain * (1 - gain) / (feature_decay * total))
    decay = depth * weight_decay * num_classes * sigma**2 + feature_decay * total * mean_norm**2
    return Optimum(
        gain=gain,
        singular_value=float(sigma),
        mean_norm=float(mean_norm),
        loss=float((1 - gain) ** 2 / 2 + decay / 2),
        outlier=weight_decay * gain / (1 - gain),
        gram=float(sigma**2),
    )


class DeepLinearUFM(nn.Module):
    """Free features under a chain of layers without biases: the deep linear unconstrained feature model, or its ReLU kin.

    ``L(H, W_1..W_L) = 1/(2 K n) |W_L ... W_1 H - Y|^2 + lambda_W/2 sum_l |W_l|^2 + lambda_H/2 |H|^2`` with one-hot Y. A
    sample is its number: ``model(torch.arange(3))`` gives the outputs of the first three; sample i has class ``i // n``.

    Args:
        num_classes: K.
        samples_per_class: n.
        num_layers: L.
        width: d, at least K.
        weight_decay: ``lambda_W``.
        feature_decay: ``lambda_H``.
        activation: ``"linear"``, or ``"relu"`` between the layers.
        seed: Seed of the initial values, ``N(0, 1/d)``.
        dtype: Precision.

    Raises:
        SettingError: The width is below K, or the activation is unknown.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        samples_per_class: int,
        num_layers: int,
        width: int,
        weight_decay: float,
        feature_decay: float,
        activation: Literal["linear", "relu"] = "linear",
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if width < num_classes or activation not in ("linear", "relu"):
            raise SettingError(
                f"width must be at least the {num_classes} classes and activation linear or relu; given {width}, "
                f"{activation!r}"
            )
        self.num_classes, self.samples_per_class, self.activation = num_classes, samples_per_class, activation
        self.weight_decay, self.feature_decay = weight_decay, feature_decay
        generator = torch.Generator().manual_seed(seed)

        def initial(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=dtype) / width**0.5

        self.features = nn.Parameter(initial(num_classes * samples_per_class, width))
        sizes = [(width, width)] * (num_layers - 1) + [(width, num_classes)]
        self.layers = nn.ModuleList(nn.Linear(one, other, bias=False, dtype=dtype) for one, other in sizes)
        for layer in self._linears:
            layer.weight = nn.Parameter(initial(*layer.weight.shape))

    @property
    def _linears(self) -> list[nn.Linear]:
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    @property
    def labels(self) -> Tensor:
        """Class of every sample, shape (K n,)."""
        return torch.arange(self.num_classes).repeat_interleave(self.samples_per_class)

    def forward(self, positions: Tensor) -> Tensor:
        """Outputs of some samples.

        Args:
            positions: Which, shape (m,).

        Returns:
            Shape (m, K).
        """
        hidden = self.features[positions]
        for place, layer in enumerate(self.layers):
            hidden = layer(hidden if place == 0 or self.activation == "linear" else hidden.relu())
        return hidden

    def objective(self) -> Tensor:
        """Data loss with both decays; a scalar."""
        targets = nn.functional.one_hot(self.labels, self.num_classes).to(self.features)
        error = self(torch.arange(len(self.features))) - targets
        weights = torch.stack([layer.weight.square().sum() for layer in self._linears]).sum()
        decay = self.weight_decay * weights + self.feature_decay * self.features.square().sum()
        return error.square().sum() / (2 * len(self.features)) + decay / 2

    def descend(self, steps: int, *, rate: float = 0.1) -> float:
        """Full-batch gradient descent.

        Args:
            steps: How many.
            rate: Learning rate.

        Returns:
            The objective at the end.
        """
        optimizer = torch.optim.SGD(self.parameters(), lr=rate)
        for _ in range(steps):
            optimizer.zero_grad()
            self.objective().backward()
            optimizer.step()
        return float(self.objective().detach())

    def at_optimum(self, *, seed: int = 0) -> DeepLinearUFM:
        """Sets features and weights to a global minimum; one of many, up to rotations of each layer's space.

        Args:
            seed: Seed of the rotations.

        Returns:
            The model itself.

        Raises:
            SettingError: The model is not linear, or has no minimum but zero.
        """
        if self.activation != "linear":
            raise SettingError("only the linear model has a closed form: choose activation='linear'")
        found = optimum(
            num_classes=self.num_classes,
            samples_per_class=self.samples_per_class,
            num_layers=len(self.layers),
            weight_decay=self.weight_decay,
            feature_decay=self.feature_decay,
        )
        generator = torch.Generator().manual_seed(seed)
        frames = [self._frame(layer.in_features, generator) for layer in self._linears]
        frames.append(torch.eye(self.num_classes, dtype=self.features.dtype))
        with torch.no_grad():
            self.features.copy_(found.mean_norm * frames[0].T[self.labels])
            for layer, inward, outward in zip(self._linears, frames[:-1], frames[1:], strict=True):
                layer.weight.copy_(found.singular_value * outward @ inward.T)
        return self

    def _frame(self, size: int, generator: torch.Generator) -> Tensor:
        """K orthonormal columns, shape (size, K)."""
        square = torch.randn((size, self.num_classes), generator=generator, dtype=self.features.dtype)
        return torch.linalg.qr(square).Q
