"""The influence function with the damped Hessian inverted by conjugate gradients, without forming it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gradsift.curvature import CurvatureOperator, conjugate_gradients, lanczos
from gradsift.curvature.report import check_limits
from gradsift.influence.damped import DampedInfluence, Solve

DIVERGED = 1e3
"""A residual this many times as long as the right-hand side counts as divergence."""


class ConjugateGradient(DampedInfluence):
    """Influence ``I_j = + v^T (H + lambda I)^-1 g_j``, solved by :func:`~gradsift.curvature.conjugate_gradients`.

    A side is given up where the damped matrix is indefinite, or where its residual grows a thousandfold; the iterate with
    the smallest residual is used. ``residuals`` in ``report_`` are measured by an extra product.

    Args:
        max_steps: Most steps.
        tolerance: Relative residual at which a side is solved.
        settings: As in :class:`~gradsift.influence.damped.DampedInfluence`; automatic damping takes 20 products.

    Raises:
        SettingError: A setting is outside its range.

    Example:
        >>> import torch
        >>> from gradsift.influence import ConjugateGradient
        >>> torch.manual_seed(0) and None
        >>> data = torch.randn(30, 4), torch.randint(3, (30,))
        >>> method = ConjugateGradient(show_progress=False).fit(torch.nn.Linear(4, 3).eval(), data)
        >>> method.influence((torch.randn(5, 4), torch.randint(3, (5,)))).shape, method.report_["ends"]
        ((30,), {'converged': 1})
    """

    def __init__(self, *, max_steps: int = 100, tolerance: float = 1e-4, **settings: Any) -> None:
        super().__init__(**settings)
        check_limits(max_steps, tolerance)
        self.max_steps, self.tolerance = max_steps, tolerance

    def _solver_of(self, operator: CurvatureOperator, positions: np.ndarray) -> Solve:
        density = lanczos(operator, operator.zeros(1), seed=self.seed) if self.damping == "auto" else None
        return partial(
            conjugate_gradients,
            operator,
            damping=self._damping(density),
            max_steps=self.max_steps,
            tolerance=self.tolerance,
            divergence=DIVERGED,
            measure=True,
            show_progress=self.gradients_.show_progress,
        )
