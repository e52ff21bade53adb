"""Inner product of gradients: the influence function with the identity for the Hessian."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gradsift.curvature.vectors import Directions
from gradsift.influence.base import Influence
from gradsift.influence.targets import as_target


class InnerProduct(Influence):
    """Influence ``I_j = + <v, g_j>`` with the target's gradient v at one model (Yang et al., arXiv 2405.17490).

    To first order, a step of gradient descent on sample j with learning rate eta lowers the target by ``eta I_j``. Its
    self-influence is the squared L2 norm, so outlier gradient analysis by L2 is self-influence with this method.

    Args:
        cosine: Whether to divide by both gradients' lengths.
        settings: As in :class:`~gradsift.influence.base.Influence`.
    """

    def __init__(self, *, cosine: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self.cosine = cosine

    def influence(self, target: Any, *, each: bool = False) -> np.ndarray:
        """Influence of every training sample; see :meth:`Influence.influence`."""
        products = super().influence(target, each=each)
        if not self.cosine:
            return products
        lengths = np.sqrt(self.gradients_.squares())
        return _divided(products, np.multiply.outer(lengths, self._lengths(target, each)).reshape(products.shape))

    def self_influence(self) -> np.ndarray:
        """Squared length of every sample's gradient, shape (n,); one where it is a cosine."""
        squares = self._fitted().squares()
        return _divided(squares, squares) if self.cosine else squares

    def _solve(self, directions: Directions) -> Directions:
        return directions

    def _lengths(self, target: Any, each: bool) -> np.ndarray:
        gradients, target = self.gradients_, as_target(target)
        if each:
            return np.concatenate([_norms(gradient) for gradient in target.directions(gradients)])
        return _norms(target.direction(gradients.model, gradients.task, gradients.parameters, gradients.precision))


def _norms(directions: Directions) -> np.ndarray:
    squares = sum(direction.double().flatten(1).square().sum(dim=1) for direction in directions.values())
    return torch.as_tensor(squares).sqrt().cpu().numpy()


def _divided(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    return np.divide(values, by, out=np.zeros_like(values), where=by > 0)
