"""The influence function with the exact inverse of the whole damped Hessian, for small models."""

from __future__ import annotations

import torch

from gradsift.errors import SettingError
from gradsift.influence.damped import DampedInfluence, Spectrum
from gradsift.influence.sample_gradients import Directions, flattened, unflattened

LARGEST = 4000
"""Most parameters of which the Hessian is formed."""


class ExactInfluence(DampedInfluence):
    """Influence ``I_j = + v^T (H + lambda I)^-1 g_j``, H formed and decomposed (Koh and Liang, arXiv 1703.04730).

    Forming costs p products with the Hessian, decomposing p^3 operations and ``16 p^2`` bytes, once; each target is then
    two products of matrices. ``report_`` holds ``smallest_eigenvalue``, ``largest_eigenvalue`` and ``damping``.

    Args:
        damping: As in :class:`~gradsift.influence.damped.DampedInfluence`, with exact eigenvalues.
        curvature: As there.
        subsample: As there.
        seed: As there.
        settings: As in :class:`~gradsift.influence.base.Influence`.

    Raises:
        SettingError: On ``fit``: there are more than 4,000 parameters, or the damped matrix is singular.
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
        matrix = self._operator.dense().double()
        if not torch.isfinite(matrix).all():
            self._damp(Spectrum(float("nan"), float("nan"), float("nan")))
        values, self._vectors = torch.linalg.eigh(matrix)
        self._damp(Spectrum(float(values[0]), float(values[-1]), float(values.abs().mean())))
        damped = values + self._lambda
        precision = 10 * torch.finfo(self.gradients_.dtype).eps
        if damped.abs().min() <= precision * damped.abs().max():
            raise SettingError(
                f"the Hessian with damping {self._lambda:.3g} is singular (eigenvalues from {float(damped.min()):.3g} to "
                f'{float(damped.max()):.3g}): give a larger damping, or "auto"'
            )
        self._inverse = 1 / damped

    def _solve(self, directions: Directions) -> Directions:
        vectors = flattened(directions).to(self._vectors)
        solved = (vectors @ self._vectors * self._inverse) @ self._vectors.T
        return unflattened(solved.to(self.gradients_.dtype), directions)
