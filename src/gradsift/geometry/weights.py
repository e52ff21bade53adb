"""What a network's weights alone say: how low their rank is, and how balanced neighbouring layers are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LayerWeights:
    """Singular values of one layer's weight, as a matrix (outputs, inputs x kernel).

    Attributes:
        name: The module.
        shape: Of the matrix.
        stable_rank: ``|W|_F^2 / |W|_2^2``, between 1 and the rank.
        top_energy: Share of the K largest singular values in ``|W|_F^2``; of a collapsed layer, one.
        balance: ``|W^T W - V V^T|_F / |W^T W|_F`` with V the weight of the layer before, where their shapes fit; zero in
            the minimum of a deep linear network with equal weight decay. ``None`` elsewhere.
    """

    name: str
    shape: tuple[int, int]
    stable_rank: float
    top_energy: float
    balance: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def weight_geometry(modules: dict[str, nn.Module], num_classes: int) -> list[LayerWeights]:
    """Singular values of linear and convolutional layers.

    Args:
        modules: Name to module, in the order in which they run; those without a matrix for a weight are passed over.
        num_classes: K.

    Returns:
        One for each layer.
    """
    found, before = [], None
    for name, module in modules.items():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim < 2:
            before = None
            continue
        matrix = weight.detach().flatten(1).double()
        if type(module).__name__ == "Conv1D":  # GPT-2 keeps (inputs, outputs)
            matrix = matrix.T
        squares = torch.linalg.svdvals(matrix).square()
        total = float(squares.sum())
        balance = None
        if before is not None and before.shape[0] == matrix.shape[1] and isinstance(module, nn.Linear) and total > 0:
            own = matrix.T @ matrix
            balance = float((own - before @ before.T).norm() / own.norm())
        found.append(
            LayerWeights(
                name=name,
                shape=(matrix.shape[0], matrix.shape[1]),
                stable_rank=total / float(squares[0]) if total > 0 else 0.0,
                top_energy=float(squares[:num_classes].sum()) / total if total > 0 else 1.0,
                balance=balance,
            )
        )
        before = matrix if isinstance(module, nn.Linear) else None
    return found
