"""The influence function with the exact inverse of the whole damped Hessian, for small models."""

from __future__ import annotations

import numpy as np

from gradsift.curvature import CurvatureOperator, Eigendecomposition
from gradsift.errors import SettingError
from gradsift.influence.damped import DampedInfluence, Solve

LARGEST = 4000
"""Most parameters of which the Hessian is formed."""


class ExactInfluence(DampedInfluence):
    """Influence ``I_j = + v^T (H + lambda I)^-1 g_j``, H formed and decomposed (Koh and Liang, arXiv 1703.04730).

    Forming costs p products with the Hessian, decomposing p^3 operations and ``16 p^2`` bytes, once; each target is then
    two products of matrices. ``report_`` holds ``smallest_eigenvalue`` and ``largest_eigenvalue``, too.

    Args:
        settings: As in :class:`~gradsift.influence.damped.DampedInfluence`; automatic damping knows the exact eigenvalues.

    Raises:
        SettingError: On ``fit``: there are more than 4,000 parameters, or the damped matrix is singular.

    Example:
        >>> import torch
        >>> from gradsift.influence import ExactInfluence
        >>> torch.manual_seed(0) and None
        >>> data = torch.randn(30, 4), torch.randint(3, (30,))
        >>> method = ExactInfluence(damping=0.01, show_progress=False).fit(torch.nn.Linear(4, 3).eval(), data)
        >>> method.self_influence().shape
        (30,)
    """

    def _prepare(self) -> None:
        size = self.gradients_.size
        if size > LARGEST:
            raise SettingError(
                f"{size:,} parameters: their Hessian and its eigenvectors would take {16 * size**2 / 2**30:,.1f} GiB; "
                f"ExactInfluence takes at most {LARGEST:,}. Choose fewer (layers='last'), or ConjugateGradient, which "
                "forms no matrix"
            )
        super()._prepare()

    def _solver_of(self, operator: CurvatureOperator, positions: np.ndarray) -> Solve:
        matrix = Eigendecomposition.of(operator.dense(show_progress=self.gradients_.show_progress))
        return matrix.damped(self._damping(matrix.density)).solve
