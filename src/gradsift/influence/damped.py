"""What the methods that solve with a damped Hessian share: which matrix, how much damping, what is reported."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, get_args

import numpy as np
from torch import Tensor

from gradsift.curvature import (
    CurvatureOperator,
    Matrix,
    SolverReport,
    SpectralDensity,
    check_symmetric,
    curvature_operator,
)
from gradsift.curvature.vectors import Directions, flattened, unflattened
from gradsift.data import Samples
from gradsift.errors import ModelError, SettingError
from gradsift.influence.base import Influence

logger = logging.getLogger(__name__)

Damping = float | Literal["auto"]
Solve = Callable[[Tensor], tuple[Tensor, SolverReport]]
"""Takes right-hand sides, shape (m, p), to the vectors that solve a system, and a report."""

SHARE = 0.1
"""Automatic damping, as a share of the mean absolute eigenvalue (Grosse et al., arXiv 2308.03296, section 5)."""
POOR = 0.1
"""Relative residual above which reaching the step limit is worth a warning; random batches never come to zero."""
NO_CURVATURE = "the mean training loss has no curvature at all at these weights: take InnerProduct, or give a damping"


class DampedInfluence(Influence):
    """Influence ``I_j = + v^T (H + lambda I)^-1 g_j`` with H the curvature of the mean training loss.

    The loss holds no weight decay: where the model was trained with a penalty ``c/2 |w|^2``, the damping c is its exact
    curvature. ``"auto"`` is ``lambda = max(0.1 x mean |eigenvalue|, -2 x smallest eigenvalue)``, so that the matrix becomes
    positive definite.

    ``report_`` holds ``curvature``, ``damping``, and of the last question ``residuals`` (``|v - (H + lambda I) x| / |v|``),
    ``steps`` (the most that a side took) and ``ends`` (how many sides ``"converged"``, met ``"negative curvature"``,
    ``"diverged"``, or reached the ``"step limit"``).

    Args:
        damping: Lambda, in the loss's unit per squared parameter, or ``"auto"``.
        curvature: ``"hessian"``, or ``"gauss-newton"``, which has no negative eigenvalue where the loss is convex in the
            model's outputs.
        subsample: How many samples, drawn without replacement, the matrix is the mean of; all where left out.
        seed: Seed of everything that is drawn.
        settings: As in :class:`~gradsift.influence.base.Influence`.

    Raises:
        SettingError: A setting is outside its range.
    """

    def __init__(
        self,
        *,
        damping: Damping = "auto",
        curvature: Matrix = "hessian",
        subsample: int | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if damping != "auto" and not (isinstance(damping, int | float) and 0 <= damping < np.inf):
            raise SettingError(f'damping must be "auto" or a number of 0 or more; given {damping!r}')
        if curvature not in get_args(Matrix):
            raise SettingError(f'curvature must be "hessian" or "gauss-newton"; given {curvature!r}')
        check_subsample(subsample)
        self.damping, self.curvature, self.subsample, self.seed = damping, curvature, subsample, seed

    def solve(self, sides: Tensor) -> tuple[Tensor, SolverReport]:
        """Solves ``(H + lambda I) x = v``.

        Args:
            sides: The right-hand sides v, shape (m, p), parameters in their order.

        Returns:
            The vectors x, shape (m, p), and how they were found.

        Raises:
            SettingError: ``fit`` has not been called.
        """
        self._fitted()
        return self._solver(sides)

    def _prepare(self) -> None:
        positions = subsampled(np.arange(len(self.gradients_)), self.subsample, self.seed)
        self.report_["curvature"] = self.curvature
        check_symmetric(self._matrix(positions[:8]), seed=self.seed)
        self._solver = self._solver_of(self._matrix(positions), positions)

    @abstractmethod
    def _solver_of(self, operator: CurvatureOperator, positions: np.ndarray) -> Solve:
        """What solves damped systems with the mean curvature of some samples; notes the damping in ``report_``."""

    def _matrix(self, positions: np.ndarray) -> CurvatureOperator:
        """The curvature of some samples' mean loss."""
        return curvature_operator(self.gradients_.mean_loss(positions), self.curvature)

    def _damping(self, density: SpectralDensity | None) -> float:
        """Lambda; says what the eigenvalues are, where they are known."""
        if density is None:
            damping = float(self.damping)
            self.report_["damping"] = damping
            return damping
        smallest, largest = density.smallest, density.largest
        automatic = max(SHARE * density.mean_absolute, -2 * smallest)
        damping = automatic if self.damping == "auto" else float(self.damping)
        self.report_ |= {"smallest_eigenvalue": smallest, "largest_eigenvalue": largest, "damping": damping}
        if self.damping == "auto" and damping == 0:
            raise ModelError(NO_CURVATURE)
        if smallest < -1e-6 * max(abs(largest), abs(smallest)):
            logger.warning(
                "the %s of the mean training loss is indefinite at these weights (eigenvalues %.3g to %.3g), so they are "
                "no minimum; damping is %.3g%s", self.curvature, smallest, largest, damping,
                "" if damping > -smallest else ", too little to make it positive definite",
            )  # fmt: skip
        return damping

    @contextmanager
    def _solving(self, samples: Samples) -> Iterator[Callable[[Directions], Directions]]:
        reports: list[SolverReport] = []

        def solve(directions: Directions) -> Directions:
            vectors, report = self.solve(flattened(directions))
            reports.append(report)
            return unflattened(vectors, directions)

        yield solve
        self._conclude(reports)

    def _conclude(self, reports: Sequence[SolverReport]) -> None:
        """Notes how the right-hand sides of one question have ended, and warns of those that are not solved."""
        residuals = [residual for report in reports for residual in report.residuals]
        ends = Counter(end for report in reports for end in report.ends)
        self.report_ |= {
            "residuals": residuals,
            "steps": max((report.steps for report in reports), default=0),
            "ends": dict(ends),
        }
        del ends["converged"]
        if ends and (set(ends) != {"step limit"} or max(residuals) > POOR):
            logger.warning(
                "%s has not solved all systems: %s; the best vectors so far are used (largest relative residual %.2g, see "
                "report_). More damping (now %.3g) or more steps help",
                type(self).__name__, ", ".join(f"{number} x {end}" for end, number in ends.items()), max(residuals),
                self.report_["damping"],
            )  # fmt: skip


def check_subsample(subsample: int | None) -> None:
    """Refuses a number of samples that is no number of samples.

    Args:
        subsample: How many samples; ``None`` for all.

    Raises:
        SettingError: It is below one.
    """
    if subsample is not None and subsample < 1:
        raise SettingError(f"subsample must be at least 1 sample; given {subsample}")


def subsampled(positions: np.ndarray, subsample: int | None, seed: int) -> np.ndarray:
    """Some of the samples, drawn without replacement.

    Args:
        positions: All of them.
        subsample: How many; ``None`` for all.
        seed: Seed of the draw.

    Returns:
        Positions in rising order.
    """
    if subsample is None or subsample >= len(positions):
        return positions
    return np.sort(np.random.default_rng(seed).choice(positions, subsample, replace=False))
