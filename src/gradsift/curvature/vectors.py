"""Vectors in parameter space: parameter by parameter, or as the rows of a matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from gradsift.errors import ModelError

Directions = dict[str, Tensor]
"""m vectors in parameter space: full name to a tensor ``(m, *parameter.shape)``."""


def count(directions: Directions) -> int:
    """Number of vectors.

    Args:
        directions: m vectors.

    Returns:
        m.

    Raises:
        ModelError: There is no parameter.
    """
    if not directions:
        raise ModelError("no parameter is selected: there is nothing to take gradients of")
    return len(next(iter(directions.values())))


def flattened(directions: Directions) -> Tensor:
    """Vectors as a matrix.

    Args:
        directions: m vectors.

    Returns:
        Shape (m, p), parameters in their order.
    """
    return torch.cat([part.reshape(len(part), -1) for part in directions.values()], dim=1)


def unflattened(matrix: Tensor, like: Directions) -> Directions:
    """The reverse of :func:`flattened`.

    Args:
        matrix: Shape (m, p).
        like: Vectors of the wanted shapes, any number of them.

    Returns:
        m vectors.
    """
    parts = matrix.split([vector[0].numel() for vector in like.values()], dim=1)
    return {name: part.reshape(-1, *vector.shape[1:]) for (name, vector), part in zip(like.items(), parts, strict=True)}
