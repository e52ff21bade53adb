"""DataInf (Kwon et al., ICLR 2024): the inverse Hessian as a mean of inverses, each in closed form; made for adapters."""

from __future__ import annotations

from typing import Any

from gradsift.curvature.vectors import Directions
from gradsift.errors import SettingError
from gradsift.influence.base import Influence


class DataInf(Influence):
    """Influence with ``H^-1 ~ 1/n sum_i (g_i g_i^T + lambda I)^-1``, parameter by parameter.

    By Sherman and Morrison ``H^-1 v = 1/lambda (v - 1/n sum_i <v, g_i> / (lambda + |g_i|^2) g_i)``, with the authors'
    ``lambda = damping x mean_i |g_i|^2 / p``: one pass for the inner products and one for the weighted sum of gradients, so
    that nothing of size n x p or n x n is formed.

    Args:
        damping: Share of a parameter's mean squared entry that is added to its diagonal; the authors have 0.1.
        settings: As in :class:`~gradsift.influence.base.Influence`.

    Raises:
        SettingError: The damping is not positive.
    """

    def __init__(self, *, damping: float = 0.1, **settings: Any) -> None:
        super().__init__(**settings)
        if not damping > 0:
            raise SettingError(f"damping must be above 0, or the inverses do not exist; given {damping}")
        self.damping = damping

    def _prepare(self) -> None:
        self._squares = self.gradients_.squares_by_parameter()
        sizes = {name: parameter.numel() for name, parameter in self.gradients_.parameters.items()}
        self._regularisers = {n: self.damping * s.mean() / sizes[n] for n, s in self._squares.items()}
        self.report_["damping"] = dict(self._regularisers)

    def _solve(self, directions: Directions) -> Directions:
        reached = {name: one for name, one in self._regularisers.items() if one > 0}  # others get no gradient at all
        products = self.gradients_.products_by_parameter(directions)
        weights = {
            name: product / (reached.get(name, 1.0) + self._squares[name])[:, None] / len(self.gradients_)
            for name, product in products.items()
        }
        corrections = self.gradients_.sums(weights)
        return {
            name: (one - corrections[name]) / reached[name] if name in reached else 0 * one
            for name, one in directions.items()
        }
